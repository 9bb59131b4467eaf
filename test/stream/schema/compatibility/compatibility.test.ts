// Compatibility as people meet it: events get properties, lose them, and change what they may be.
import { describe, expect, test } from "bun:test";
import { breaks, compare } from "../../../../src/stream/schema/compatibility/compatibility.ts";
import { closed, differences, holds, object } from "./cases.ts";

const string = { type: "string" };
const number = { type: "number" };
const integer = { type: "integer" };

describe("properties", () => {
  holds([
    {
      promise: "an optional property may be added to an open object",
      before: object({ a: string }, "a"),
      after: object({ a: string, b: number }, "a"),
    },
    {
      promise: "a required property that is added is missed by the new reader only",
      before: object({ a: string }),
      after: object({ a: string, email: string }, "email"),
      backward: ["/email is required now, and was not"],
    },
    {
      promise: "a property that becomes optional is missed by the old reader only",
      before: object({ a: string }, "a"),
      after: object({ a: string }),
      forward: ["/a was required, and is not any more"],
    },
    {
      promise: "a property may be taken from an open object, if it was optional",
      before: object({ a: string, b: number }),
      after: object({ a: string }),
    },
    {
      promise: "a property that a closed object loses is in the old data",
      before: closed({ a: string, b: number }),
      after: closed({ a: string }),
      backward: ["/b is not allowed any more"],
    },
    {
      promise: "an object may be closed, since it has no properties but those it speaks of",
      before: object({ a: string }),
      after: closed({ a: string }),
    },
    {
      promise: "additionalProperties true is the same as none",
      before: { ...object({ a: string }), additionalProperties: true },
      after: closed({ a: string }),
    },
    {
      promise: "a map has other properties, which a closed object does not have",
      before: { type: "object", additionalProperties: number },
      after: closed({ a: number }),
      backward: ["/* is not allowed any more"],
    },
    {
      promise: "a property that is taken out of a map keeps its type",
      before: { type: "object", additionalProperties: integer },
      after: { ...object({ total: number, name: string }), additionalProperties: integer },
      backward: ["/name was integer, is string now"],
      forward: ["/total was integer, is number now", "/name was integer, is string now"],
    },
    {
      promise: "a property deep inside is told by its path",
      before: object({ customer: object({ addresses: { type: "array", items: object({ "street/no": string }) } }) }),
      after: object({ customer: object({ addresses: { type: "array", items: object({ "street/no": number }) } }) }),
      backward: ["/customer/addresses/*/street~1no was string, is number now"],
      forward: ["/customer/addresses/*/street~1no was string, is number now"],
    },
    {
      promise: "a property that can never be there does not break",
      before: object({ a: false, b: string }),
      after: object({ a: number, b: string }),
      forward: ["/a is allowed now, and was not"],
    },
    {
      promise: "a required property that nobody declares may be anything",
      before: { type: "object", required: ["a"] },
      after: object({ a: string }, "a"),
      backward: ["/a was anything, is string now"],
    },
    {
      promise: "names of the language are names like any other",
      before: object({ a: string }),
      after: object({ a: string, constructor: string, toString: number }, "constructor"),
      backward: ["/constructor is required now, and was not"],
    },
    {
      promise: "the number of properties is known of what is required and declared",
      before: object({ a: string, b: string }, "a"),
      after: { ...object({ a: string, b: string }, "a"), minProperties: 1, maxProperties: 2 },
    },
    {
      promise: "the number of properties has bounds",
      before: { ...object({ a: string, b: string }), maxProperties: 2 },
      after: { ...object({ a: string, b: string }), minProperties: 1, maxProperties: 1 },
      backward: ["has minProperties 1 now, and had none", "had maxProperties 2, has 1 now"],
    },
    {
      promise: "names are compared where they are known",
      before: closed({ a: string, ab: string }),
      after: { ...closed({ a: string, ab: string }), propertyNames: { maxLength: 2 } },
    },
    {
      promise: "names of a map have to be as before",
      before: { type: "object", additionalProperties: string, propertyNames: { pattern: "^x" } },
      after: { type: "object", additionalProperties: string, propertyNames: { pattern: "^y" } },
      backward: ["propertyNames changed, and cannot be shown to be compatible"],
      forward: ["propertyNames changed, and cannot be shown to be compatible"],
    },
    {
      promise: "what depends on a property that is never there does not matter",
      before: object({ a: string, b: string }),
      after: { ...object({ a: string, b: string }), dependentRequired: { a: ["b"], z: ["a"] } },
      backward: ["/a dependentRequired changed, and cannot be shown to be compatible"],
    },
  ]);
});

describe("patternProperties", () => {
  const patterns = (patternProperties: Record<string, object>) => ({ type: "object", patternProperties });
  holds([
    {
      promise: "equal patterns are compared, each with itself",
      before: patterns({ "^a": string, "^b": integer }),
      after: patterns({ "^a": string, "^b": number }),
      forward: ["/* was integer, is number now"],
    },
    {
      promise: "a declared property is compared with the patterns that it matches",
      before: object({ ab: string, b: string }),
      after: { ...object({ ab: string, b: string }), patternProperties: { "^a": number } },
      backward: ["/ab was string, is number now"],
    },
    {
      promise: "a pattern that is taken away may leave data behind, in a closed object",
      before: { ...patterns({ "^a": string }), additionalProperties: false },
      after: { ...patterns({}), additionalProperties: false },
      backward: ["/* is not allowed any more"],
    },
    {
      promise: "a property of a pattern gets a schema of its own",
      before: patterns({ "^a": string }),
      after: { ...patterns({ "^a": {} }), properties: { ab: number } },
      backward: ["/ab was string, is number now"],
      forward: ["/ab was string, is number now", "/* was string, is anything now"],
    },
  ]);
});

describe("the direction", () => {
  const before = object({ a: string, b: string }, "a");
  const after = object({ a: string, b: number }, "b");

  test("full asks both ways and says which one", () => {
    expect(compare("full", before, after)).toEqual([
      { direction: "backward", path: "/b", message: "is required now, and was not" },
      { direction: "backward", path: "/b", message: "was string, is number now" },
      { direction: "forward", path: "/a", message: "was required, and is not any more" },
      { direction: "forward", path: "/b", message: "was string, is number now" },
    ]);
  });

  test("breaks tells what a later reader refuses", () => {
    expect(breaks(after, before)).toEqual([
      { path: "/b", message: "is required now, and was not" },
      { path: "/b", message: "was string, is number now" },
    ]);
  });

  test("equal schemas are compatible, whatever their order and what they say to people", () => {
    const one = { type: "object", title: "One", properties: { a: string, b: { ...number, description: "old" } } };
    const other = { properties: { b: { description: "new", ...number }, a: string }, $comment: "x", type: "object" };
    expect(compare("full", one, other)).toEqual([]);
  });

  test("keywords that nobody knows, and annotations, do not matter", () => {
    const annotations = { default: 1, examples: [2], deprecated: true, readOnly: true, writeOnly: true };
    const media = { contentMediaType: "application/json", contentEncoding: "base64", contentSchema: false };
    const after = { ...string, ...annotations, ...media, $id: "urn:x", "x-internal": { type: "number" } };
    expect(compare("full", string, after)).toEqual([]);
  });
});

describe("costs", () => {
  test("not more than fifty differences are told, of both directions", () => {
    const properties = (type: string) => Array.from({ length: 200 }, (_, i) => [`p${i}`, { type }]);
    const wide = (type: string) => object(Object.fromEntries(properties(type)));
    expect(breaks(wide("string"), wide("number"))).toHaveLength(50);
    const both = compare("full", wide("string"), wide("number"));
    expect(both).toHaveLength(50);
    expect(both.filter(({ direction }) => direction === "forward")).toHaveLength(25);
  });

  test("a hundred levels are compared to the end", () => {
    const nested = (inner: object) => {
      let schema: object = inner;
      for (let i = 0; i < 25; i++)
        schema = { type: "array", items: { allOf: [{ anyOf: [object({ a: schema as never })] }] } };
      return schema as never;
    };
    const path = "/*/a".repeat(25);
    expect(differences(nested(integer), nested(number))).toEqual({
      backward: [],
      forward: [`${path} was integer, is number now`],
    });
  });

  test("what would take too long is said to be too large", () => {
    const branches = (limit: number) =>
      Array.from({ length: 3_000 }, (_, i) => object({ [`a${i}`]: { ...string, maxLength: i + limit } }));
    expect(breaks({ anyOf: branches(1) }, { anyOf: branches(2) })).toEqual([
      { path: "", message: "is too large to be compared" },
    ]);
  });

  test("a chain of references without end is said to be too large", () => {
    const $defs = (type: string) =>
      Object.fromEntries(
        Array.from({ length: 5_000 }, (_, i) => [
          `d${i}`,
          object({ next: { $ref: `#/$defs/d${i + 1}` }, v: { type } }),
        ]),
      );
    const chain = (type: string) => ({ $ref: "#/$defs/d0", $defs: { ...$defs(type), d5000: {} } });
    expect(breaks(chain("number"), chain("integer"))).toEqual([{ path: "", message: "is too large to be compared" }]);
    expect(breaks(chain("integer"), chain("integer"))).toEqual([]);
  });
});
