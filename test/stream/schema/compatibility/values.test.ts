// Compatibility of single values: types, lists of values, numbers and strings.
import { describe } from "bun:test";
import { holds } from "./cases.ts";

const string = { type: "string" };
const number = { type: "number" };
const integer = { type: "integer" };

describe("types", () => {
  holds([
    {
      promise: "an integer is a number",
      before: integer,
      after: number,
      forward: ["was integer, is number now"],
    },
    {
      promise: "a number in whole steps is an integer",
      before: { type: "number", multipleOf: 2 },
      after: integer,
      forward: ["had multipleOf 2, and has none any more"],
    },
    {
      promise: "null that is allowed now surprises the old reader",
      before: string,
      after: { type: ["string", "null"] },
      forward: ["was string, is null or string now"],
    },
    {
      promise: "without a type there may be anything",
      before: {},
      after: string,
      backward: ["was anything, is string now"],
    },
    {
      promise: "all types together are no type",
      before: {},
      after: { type: ["null", "boolean", "object", "array", "string", "number"] },
    },
    {
      promise: "a keyword says nothing about values of other types",
      before: number,
      after: { type: "number", minLength: 3, pattern: "^x", required: ["a"], minItems: 1, format: "date" },
    },
    {
      promise: "a keyword without a type says something about its own type",
      before: { type: ["number", "string"] },
      after: { type: ["number", "string"], minLength: 3 },
      backward: ["has minLength 3 now, and had none"],
    },
    { promise: "true allows what false does not", before: true, after: false, backward: ["is not allowed any more"] },
    { promise: "an empty schema is true", before: true, after: {} },
  ]);
});

describe("listed values", () => {
  holds([
    {
      promise: "a value that is taken away is in the old data, one that is added is in the new",
      before: { enum: ["a", "b"] },
      after: { enum: ["b", "c", "d"] },
      backward: ['allows the value "a" no more'],
      forward: ['allows the values "c", "d" now, and did not'],
    },
    {
      promise: "a list of values may become a type",
      before: { enum: ["a", "b"] },
      after: string,
      forward: ['allowed only "a", "b", and allows more now'],
    },
    {
      promise: "values are checked one by one",
      before: { enum: [1, 5, "long", "s"] },
      after: { minimum: 2, maxLength: 2 },
      backward: ['allows the values 1, "long" no more'],
      forward: ['allowed only 1, 5, "long", "s", and allows more now'],
    },
    {
      promise: "values that the writer's own keywords refuse do not count",
      before: { type: "string", enum: ["a", "bb", 3], maxLength: 1 },
      after: { const: "a" },
    },
    {
      promise: "objects and arrays are compared member by member",
      before: { enum: [{ a: 1, b: ["x"] }, ["x", 2], null] },
      after: {
        type: ["object", "array", "null"],
        properties: { a: { type: "integer" }, b: { type: "array", items: string } },
        required: ["b"],
        prefixItems: [string, { minimum: 3 }],
      },
      backward: ["/1 allows the value 2 no more"],
      forward: ['allowed only {"a":1,"b":["x"]}, ["x",2], null, and allows more now'],
    },
    {
      promise: "equal values are equal in any order of their members",
      before: { const: { a: 1, b: 2 } },
      after: { enum: [{ b: 2, a: 1 }] },
    },
    { promise: "a boolean has two values", before: { type: "boolean" }, after: { enum: [true, false] } },
    {
      promise: "a boolean that loses one of its values breaks",
      before: { type: "boolean" },
      after: { const: true },
      backward: ["allows the value false no more"],
    },
    {
      promise: "long lists are told in part",
      before: string,
      after: { enum: ["1", "2", "3", "4", "5", "6", "7"] },
      backward: ['allows only "1", "2", "3", "4", "5" and 2 more now'],
    },
  ]);
});

describe("numbers", () => {
  holds([
    {
      promise: "a bound that moves outwards surprises the old reader",
      before: { type: "number", minimum: 1, maximum: 5 },
      after: { type: "number", minimum: 0, exclusiveMaximum: 6 },
      forward: ["was at least 1, is at least 0 now", "was at most 5, is less than 6 now"],
    },
    {
      promise: "a bound that is new breaks",
      before: number,
      after: { type: "number", exclusiveMinimum: 0 },
      backward: ["is more than 0 now, and had no such bound"],
    },
    {
      promise: "a bound that excludes its number is narrower",
      before: { type: "number", minimum: 0 },
      after: { type: "number", exclusiveMinimum: 0 },
      backward: ["was at least 0, is more than 0 now"],
    },
    {
      promise: "integers have a next one",
      before: { type: "integer", exclusiveMinimum: 0, maximum: 9.5 },
      after: { type: "integer", minimum: 1, maximum: 9 },
    },
    {
      promise: "the innermost of several bounds counts",
      before: { allOf: [{ minimum: 3 }, { minimum: 1 }], type: "number", maximum: 5, exclusiveMaximum: 5 },
      after: { type: "number", minimum: 3, exclusiveMaximum: 5 },
    },
    {
      promise: "steps may become finer when one divides the other",
      before: { type: "integer", multipleOf: 6 },
      after: { type: "integer", multipleOf: 3 },
      forward: ["had multipleOf 6, has 3 now"],
    },
    {
      promise: "fractions of steps are not divided",
      before: { type: "number", multipleOf: 0.3 },
      after: { type: "number", multipleOf: 0.1 },
      backward: ["had multipleOf 0.3, has 0.1 now"],
      forward: ["had multipleOf 0.3, has 0.1 now"],
    },
  ]);
});

describe("strings", () => {
  holds([
    {
      promise: "lengths may widen",
      before: { ...string, minLength: 2, maxLength: 5 },
      after: { ...string, maxLength: 9 },
      forward: ["had minLength 2, and has none any more", "had maxLength 5, has 9 now"],
    },
    {
      promise: "a pattern that changes breaks both ways, since patterns are not compared",
      before: { ...string, pattern: "^a" },
      after: { ...string, pattern: "^[a]" },
      backward: ["had pattern ^a, has ^[a] now"],
      forward: ["had pattern ^a, has ^[a] now"],
    },
    {
      promise: "a format that is new breaks, one that goes does not",
      before: string,
      after: { ...string, format: "email" },
      backward: ["has format email now, and had none"],
    },
    {
      promise: "listed values are matched with the pattern",
      before: { enum: ["ab", "ac"] },
      after: { type: "string", pattern: "^a" },
      forward: ['allowed only "ab", "ac", and allows more now'],
    },
    {
      promise: "a pattern that is no expression is never shown to match",
      before: { const: "a" },
      after: { type: "string", pattern: "(" },
      backward: ['allows the value "a" no more'],
      forward: ['allowed only "a", and allows more now'],
    },
  ]);
});
