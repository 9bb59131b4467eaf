// Compatibility of arrays: items, tuples, counts, and what they contain.
import { describe } from "bun:test";
import { holds, object } from "./cases.ts";

const string = { type: "string" };
const number = { type: "number" };
const integer = { type: "integer" };

describe("arrays", () => {
  const array = (keywords: object) => ({ type: "array", ...keywords });
  holds([
    {
      promise: "items are compared",
      before: array({ items: integer }),
      after: array({ items: number }),
      forward: ["/* was integer, is number now"],
    },
    {
      promise: "items without a schema may be anything",
      before: array({}),
      after: array({ items: string }),
      backward: ["/* was anything, is string now"],
    },
    {
      promise: "a tuple is compared item by item, and with the rest",
      before: array({ prefixItems: [string, number], items: false }),
      after: array({ prefixItems: [string], items: number }),
      forward: ["/* is allowed now, and was not"],
    },
    {
      promise: "a closed tuple has no more items than it lists",
      before: array({ prefixItems: [string, number], items: false }),
      after: array({ prefixItems: [string, number], maxItems: 2 }),
    },
    {
      promise: "a tuple that is closed refuses the items behind it",
      before: array({ prefixItems: [string] }),
      after: array({ prefixItems: [string], items: false }),
      backward: ["/* is not allowed any more"],
    },
    {
      promise: "counts may widen",
      before: array({ items: string, minItems: 1, maxItems: 3 }),
      after: array({ items: string, maxItems: 4 }),
      forward: ["had minItems 1, and has none any more", "had maxItems 3, has 4 now"],
    },
    {
      promise: "what must not repeat did repeat",
      before: array({ items: string }),
      after: array({ items: string, uniqueItems: true }),
      backward: ["must not repeat items now"],
    },
    {
      promise: "one item does not repeat",
      before: array({ maxItems: 1 }),
      after: array({ maxItems: 1, uniqueItems: true }),
    },
    {
      promise: "what is contained may become more general, and fewer",
      before: array({ contains: integer, minContains: 2 }),
      after: array({ contains: number }),
      forward: ["contains changed, and cannot be shown to be compatible"],
    },
    {
      promise: "what is contained is also what all items are",
      before: array({ items: object({ b: string }), contains: object({ a: integer }, "a") }),
      after: array({ items: object({ b: string }), contains: object({ a: number, b: number }, "a") }),
      backward: ["contains changed, and cannot be shown to be compatible"],
      forward: ["contains changed, and cannot be shown to be compatible"],
    },
    {
      promise: "items of an earlier draft are not compared",
      before: array({ items: [string], maxItems: 3 }),
      after: array({ items: [string], maxItems: 4 }),
      backward: ["items changed, and cannot be shown to be compatible"],
      forward: ["had maxItems 3, has 4 now", "items changed, and cannot be shown to be compatible"],
    },
  ]);
});
