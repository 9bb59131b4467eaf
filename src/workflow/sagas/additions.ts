// What a step adds to the data of its saga.
import { inWords } from "../../base/violations.ts";
import { checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import type { SagaDefinition } from "./saga.ts";

/** What the data of a saga may take, in bytes. */
const maxDataBytes = 1_048_576;

/** The data with what a handler has returned, as JSON. Throws where they are not what they must be. */
export function withAdditions(definition: SagaDefinition, data: Record<string, unknown>, additions: unknown): string {
  if (additions === undefined) return JSON.stringify(data);
  if (typeof additions !== "object" || additions === null || Array.isArray(additions))
    throw new Defect(
      `it returned ${JSON.stringify(additions)?.slice(0, 100)}, which is no object of additions to the data`,
    );
  const text = JSON.stringify({ ...data, ...additions });
  if (Buffer.byteLength(text) > maxDataBytes) throw new Defect(`the data would have more than ${maxDataBytes} bytes`);
  const violations = checkerOf(definition.data)(JSON.parse(text));
  if (violations !== null) throw new Defect(`the data would not match their schema: ${inWords(violations)}`);
  return text;
}
