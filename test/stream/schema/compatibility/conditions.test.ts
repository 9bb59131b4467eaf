// Compatibility where several schemas speak of the same members, and where keywords are only compared for equality.
import { describe } from "bun:test";
import type { JsonSchema } from "../../../../src/stream/schema/json-schema/keywords.ts";
import { holds, object } from "./cases.ts";

const string = { type: "string" };
const number = { type: "number" };
const integer = { type: "integer" };

/** Not as a literal: an object with a member of that name could be taken for a promise. */
const when = (condition: JsonSchema, consequence: JsonSchema) =>
  Object.fromEntries(["if", "then"].map((keyword, i) => [keyword, [condition, consequence][i]]));

const unproven = (keyword: string) => `${keyword} changed, and cannot be shown to be compatible`;

describe("members that several schemas speak of", () => {
  const a = (properties: Record<string, JsonSchema>) => object({ a: object(properties) });
  const [x, xy] = [{ x: string }, { x: string, y: number }];
  const otherwise = "/a/y was string, is number now";
  const anything = "/a/y was anything, is number now";
  holds([
    {
      promise: "both parts speak of them",
      before: { allOf: [a(x), a({ y: string })] },
      after: a(xy),
      backward: [otherwise],
      forward: [otherwise],
    },
    {
      promise: "two alternatives may speak of them",
      before: { anyOf: [a(x), a({ y: string })] },
      after: a(xy),
      backward: [anything, "/a/x was anything, is string now", otherwise],
    },
    {
      promise: "a condition may speak of them",
      before: { ...a(x), ...when({ required: ["b"] }, a({ y: string })) },
      after: a(xy),
      backward: [anything],
      forward: [unproven("if")],
    },
    {
      promise: "what depends on another property may speak of them",
      before: { ...a(x), dependentSchemas: { b: a({ y: string }) } },
      after: a(xy),
      backward: [anything],
    },
    {
      promise: "two patterns may speak of them",
      before: { type: "object", patternProperties: { "^a": object(x), b$: object({ y: string }) } },
      after: { type: "object", patternProperties: { "^a": object(xy), b$: object({ y: string }) } },
      backward: ["/*/y was anything, is number now"],
    },
    {
      promise: "what an array contains may speak of them",
      before: { type: "array", items: object(x), contains: object({ y: string }) },
      after: { type: "array", items: object(xy) },
      backward: ["/*/y was anything, is number now"],
      forward: [unproven("contains")],
    },
    {
      promise: "a second alternative may speak of items",
      before: { type: "array", anyOf: [{ items: object(x) }, { prefixItems: [object({ y: string })] }] },
      after: { type: "array", items: object(xy) },
      backward: [
        "/*/y was anything, is number now",
        "/0/x was anything, is string now",
        "/0/y was string, is number now",
        "/* was anything, is object now",
        "/*/x was anything, is string now",
      ],
    },
    {
      promise: "what is left over in a part may speak of them",
      before: {
        ...a(x),
        allOf: [{ allOf: [{ properties: { b: string } }], unevaluatedProperties: object({ y: string }) }],
      },
      after: a(xy),
      backward: [anything],
      forward: [otherwise],
    },
  ]);
});

describe("what is only compared for equality", () => {
  const both = (one: object, other: object) => ({
    before: { ...object({ a: integer, b: string }), ...one },
    after: { ...object({ a: number, b: string }), ...other },
  });
  const forward = "/a was integer, is number now";
  const dependent = (schema: JsonSchema) => ({ dependentSchemas: { a: schema } });
  holds([
    {
      promise: "an equal not",
      ...both({ not: { required: ["b"] } }, { not: { required: ["b"] } }),
      forward: [forward],
    },
    {
      promise: "another not",
      ...both({ not: { required: ["b"] } }, { not: { required: ["a"] } }),
      backward: [unproven("not")],
      forward: [forward, unproven("not")],
    },
    {
      promise: "a not that excludes nothing that there was",
      before: { enum: ["a", "b"] },
      after: { type: "string", not: { const: "c" } },
      forward: ['allowed only "a", "b", and allows more now'],
    },
    {
      promise: "equal conditions",
      ...both(when({ required: ["b"] }, { required: ["a"] }), when({ required: ["b"] }, { required: ["a"] })),
      forward: [forward],
    },
    {
      promise: "another condition",
      ...both(when({ required: ["b"] }, { required: ["a"] }), when({ required: ["a"] }, { required: ["b"] })),
      backward: [unproven("if")],
      forward: [forward, unproven("if")],
    },
    {
      promise: "a condition whose consequence always holds",
      before: object({ a: string }, "a"),
      after: { ...object({ a: string }, "a"), ...when({ required: ["b"] }, { required: ["a"] }) },
    },
    {
      promise: "equal dependent schemas",
      ...both(dependent({ required: ["b"] }), dependent({ required: ["b"] })),
      forward: [forward],
    },
    {
      promise: "other dependent schemas",
      ...both(dependent({ required: ["b"] }), dependent({ minProperties: 2 })),
      backward: [`/a ${unproven("dependentSchemas")}`],
      forward: [forward, `/a ${unproven("dependentSchemas")}`],
    },
    {
      promise: "properties that only a condition speaks of may be anything",
      before: { ...object({ a: integer }), ...when({ required: ["a"] }, { properties: { c: integer } }) },
      after: object({ a: integer, c: integer }),
      backward: ["/c was anything, is integer now"],
    },
  ]);
});
