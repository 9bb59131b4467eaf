// What the comparison of one keyword may ask: how parts of the reader's schema stand to the data of the writer.
import type { JsonSchema } from "../json-schema/keywords.ts";
import type { Side, Variant } from "./variants.ts";
import type { Finding } from "./wording.ts";

export type Comparison = {
  reader: Side;
  /** Both assert the same, and what they refer to does. */
  same(reader: JsonSchema, writer: JsonSchema): boolean;
  /** What `reader` may refuse of the writer's variant, in the same place. Empty: nothing. */
  accepts(reader: JsonSchema, variant: Variant): readonly Finding[];
  /** What `reader` may refuse of a member of the writer's data, which is valid by all schemas of the list. */
  covers(reader: JsonSchema, writer: readonly JsonSchema[], side: Side): readonly Finding[];
  /** Notes work that was done; false when no more can be afforded. */
  spend(work: number): boolean;
};

/** As many differences as anybody reads. */
export const maxFindings = 50;
