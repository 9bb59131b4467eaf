// Cases of compatibility, told in one row each: what is promised, the schema before and after, and what breaks.
import { expect, test } from "bun:test";
import { compare } from "../../../../src/stream/schema/compatibility/compatibility.ts";
import type { JsonSchema } from "../../../../src/stream/schema/json-schema/keywords.ts";

/** Differences as "<path> <message>", for readers that come after the writer and for readers that were there before. */
export type Case = {
  promise: string;
  before: JsonSchema;
  after: JsonSchema;
  backward?: string[];
  forward?: string[];
};

export function holds(cases: readonly Case[]): void {
  for (const { promise, before, after, backward = [], forward = [] } of cases) {
    test(promise, () => {
      const expected = { backward, forward };
      expect(differences(before, after)).toEqual(expected);
    });
  }
}

export function differences(before: JsonSchema, after: JsonSchema): { backward: string[]; forward: string[] } {
  const told = (direction: "backward" | "forward") =>
    compare(direction, before, after).map(({ path, message }) => `${path} ${message}`.trim());
  return { backward: told("backward"), forward: told("forward") };
}

/** An open object, with some of its properties required. */
export function object(properties: Record<string, JsonSchema>, ...required: string[]): Record<string, JsonSchema> {
  return { type: "object", properties, required } as unknown as Record<string, JsonSchema>;
}

export function closed(properties: Record<string, JsonSchema>, ...required: string[]): Record<string, JsonSchema> {
  return { ...object(properties, ...required), additionalProperties: false };
}
