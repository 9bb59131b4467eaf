// What a step adds to the data of its saga.
import { Defect } from "../handlers/defect.ts";
import type { SagaDefinition } from "./saga.ts";
import { keptData } from "./saga-data.ts";

/** The data with what a handler has returned, as JSON. Throws where they are not what they must be. */
export function withAdditions(definition: SagaDefinition, data: Record<string, unknown>, additions: unknown): string {
  if (additions === undefined) return JSON.stringify(data);
  if (typeof additions !== "object" || additions === null || Array.isArray(additions))
    throw new Defect(
      `it returned ${JSON.stringify(additions)?.slice(0, 100)}, which is no object of additions to the data`,
    );
  return keptData(definition, { ...data, ...additions });
}
