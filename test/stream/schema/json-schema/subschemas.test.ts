// The walk over a schema, and when two schemas are equal.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { canonical } from "../../../../src/stream/schema/json-schema/identity.ts";
import type { JsonSchema } from "../../../../src/stream/schema/json-schema/keywords.ts";
import { subschemas } from "../../../../src/stream/schema/json-schema/subschemas.ts";

const pointers = (schema: JsonSchema) => [...subschemas(schema)].map(({ pointer }) => pointer);

describe("the walk", () => {
  test("it visits every place where a schema stands", () => {
    const one = ["items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"];
    const others = ["unevaluatedItems", "unevaluatedProperties", "contentSchema"];
    const lists = ["prefixItems", "allOf", "anyOf", "oneOf"];
    const maps = ["$defs", "definitions", "properties", "patternProperties", "dependentSchemas"];
    const schema = Object.fromEntries([
      ...[...one, ...others].map((keyword) => [keyword, { title: keyword }]),
      ...lists.map((keyword) => [keyword, [true, {}]]),
      ...maps.map((keyword) => [keyword, { a: {}, b: false }]),
    ]);
    expect(pointers(schema).sort()).toEqual(
      [
        "",
        ...[...one, ...others].map((keyword) => `/${keyword}`),
        ...lists.flatMap((keyword) => [`/${keyword}/0`, `/${keyword}/1`]),
        ...maps.flatMap((keyword) => [`/${keyword}/a`, `/${keyword}/b`]),
      ].sort(),
    );
  });

  test("a schema comes before those inside it, in the order of the text", () => {
    const schema = { properties: { b: { items: { type: "null" } }, a: true }, not: { anyOf: [{}, { not: {} }] } };
    expect([...subschemas(schema)]).toEqual([
      { pointer: "", schema },
      { pointer: "/properties/b", schema: { items: { type: "null" } } },
      { pointer: "/properties/b/items", schema: { type: "null" } },
      { pointer: "/properties/a", schema: true },
      { pointer: "/not", schema: { anyOf: [{}, { not: {} }] } },
      { pointer: "/not/anyOf/0", schema: {} },
      { pointer: "/not/anyOf/1", schema: { not: {} } },
      { pointer: "/not/anyOf/1/not", schema: {} },
    ]);
  });

  test("data and unknown keywords are not visited, and names are escaped", () => {
    const data = { $ref: "#", items: {} };
    const keywords = { const: data, enum: [data], default: data, examples: [data], "x-schema": data, items: [data] };
    expect(pointers({ ...keywords, properties: { "a/b~c": {}, "": {}, enum: {} } })).toEqual([
      "",
      "/properties/a~1b~0c",
      "/properties/",
      "/properties/enum",
    ]);
    expect(pointers(true)).toEqual([""]);
  });

  test("a schema of any depth is visited to its end", () => {
    let schema: JsonSchema = {};
    for (let i = 0; i < 20_000; i++) schema = { not: schema };
    let count = 0;
    for (const _ of subschemas(schema)) if (++count > 20_001) break;
    expect(count).toBe(20_001);
  });
});

describe("canonical text", () => {
  const json = fc.jsonValue({ maxDepth: 4 });
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([name, member]) => [name, shuffled(member)]),
    );
  };

  test("it is JSON of the same value, whatever the order of members", () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = canonical(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonical(shuffled(value))).toBe(text);
      }),
    );
  });

  test("it differs for different values", () => {
    expect(canonical({ b: [1, { d: null, c: "\n" }], a: true })).toBe('{"a":true,"b":[1,{"c":"\\n","d":null}]}');
    const values = [
      { a: [1, 2] },
      { a: [2, 1] },
      { a: "1,2" },
      { "a:": 1 },
      { a: { b: 1 } },
      [{ a: 1 }, { b: 1 }],
      "{}",
    ];
    expect(new Set(values.map(canonical)).size).toBe(values.length);
  });
});
