// Compatibility of two versions of a JSON Schema, draft 2020-12: may the data of the one be refused by the other?

import type { JsonSchema } from "../json-schema/keywords.ts";
import type { Compatibility } from "../schema-version.ts";
import { maxFindings } from "./comparison.ts";
import { findingsBetween } from "./differences.ts";

/** One reason why data that are valid by one schema may be refused by another. */
export type Difference = {
  /** JSON Pointer into the data; `*` stands for all items, or all properties without a name in the schemas. */
  path: string;
  /** A short sentence without a subject, such as "is required now, and was not". */
  message: string;
};

export type DirectedDifference = { direction: "backward" | "forward" } & Difference;

/**
 * What `reader` may refuse of the data that are valid by `writer`; at most 50 differences, told as if the reader came
 * later. None means: all such data are valid by `reader`, as long as they have no properties that `writer` does not
 * speak of (unless its `additionalProperties` has a schema for them, or it asks for them otherwise). Where that cannot be
 * shown there is a difference. Both schemas have to be valid; a `format` is taken to be asserted.
 */
export function breaks(reader: JsonSchema, writer: JsonSchema): Difference[] {
  return findingsBetween(reader, writer).map(({ path, backward }) => ({ path, message: backward }));
}

/** Why the next version is not compatible with the previous one; at most 50 differences, none when it is. */
export function compare(compatibility: Compatibility, previous: JsonSchema, next: JsonSchema): DirectedDifference[] {
  const backward: DirectedDifference[] =
    compatibility === "forward"
      ? []
      : breaks(next, previous).map((difference) => ({ direction: "backward", ...difference }));
  const forward: DirectedDifference[] =
    compatibility === "backward"
      ? []
      : findingsBetween(previous, next).map(({ path, forward }) => ({ direction: "forward", path, message: forward }));
  // Neither direction crowds out the other.
  const room = Math.max(maxFindings / 2, maxFindings - forward.length);
  return [...backward.slice(0, room), ...forward].slice(0, maxFindings);
}
