// Random documents that are likely to be valid by a schema, and the schema that allows no properties it does not speak of.
import { isSchema, type JsonSchema, places, type SchemaObject } from "../../../src/stream/schema/keywords.ts";
import { type Dice, type Draft, names, numbers, subset, texts, types } from "./random-schemas.ts";

const pointers: Record<string, (root: SchemaObject) => unknown> = {
  "#": (root) => root,
  "#/$defs/p": (root) => (root.$defs as Draft).p,
  "#/$defs/q": (root) => (root.$defs as Draft).q,
  "#named": (root) => (root.$defs as Draft).q,
};

/** Collects what applies in one place, for one way through the alternatives. */
function apply(dice: Dice, root: SchemaObject, schema: unknown, applied: SchemaObject[]): void {
  if (typeof schema !== "object" || schema === null || applied.includes(schema as SchemaObject)) return;
  const own = schema as SchemaObject;
  applied.push(own);
  if (typeof own.$ref === "string") apply(dice, root, pointers[own.$ref]?.(root), applied);
  for (const part of listOf(own.allOf)) apply(dice, root, part, applied);
  if (own.oneOf !== undefined) apply(dice, root, dice.of(listOf(own.oneOf)), applied);
  if (own.anyOf !== undefined) {
    for (const part of dice.once(3) ? subset(dice, listOf(own.anyOf)) : [dice.of(listOf(own.anyOf))]) {
      apply(dice, root, part, applied);
    }
  }
  for (const inner of [own.not, own.if, own.then, own.else, ...Object.values(own.dependentSchemas ?? {})]) {
    if (dice.once(3)) apply(dice, root, inner, applied);
  }
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A document that a schema may allow, with no properties but those that the schema speaks of. */
export function randomDocument(dice: Dice, root: SchemaObject, list: readonly unknown[] = [root], depth = 6): unknown {
  const schemas: SchemaObject[] = [];
  for (const schema of list) apply(dice, root, schema, schemas);
  const listed = schemas.flatMap((schema) => [...listOf(schema.enum), ...("const" in schema ? [schema.const] : [])]);
  if (listed.length > 0 && !dice.once(20)) return dice.of(listed);
  const given = schemas.flatMap((schema) => (schema.type === undefined ? [] : [schema.type].flat())) as string[];
  const type = given.length > 0 && !dice.once(20) ? dice.of(given) : likelyType(dice, schemas);
  if (type === "object") return depth > 0 ? randomObject(dice, root, schemas, depth) : {};
  if (type === "array") return depth > 0 ? randomArray(dice, root, schemas, depth) : [];
  if (type === "string") return dice.of(texts);
  if (type === "boolean") return dice.once(2);
  return type === "null" ? null : dice.of(numbers.filter((n) => type === "number" || Number.isInteger(n)));
}

function likelyType(dice: Dice, schemas: readonly SchemaObject[]): string {
  const isLike = (keyword: string) => schemas.some((schema) => schema[keyword] !== undefined);
  if ((isLike("properties") || isLike("required")) && !dice.once(3)) return "object";
  return isLike("items") && !dice.once(2) ? "array" : dice.of(types);
}

function randomObject(dice: Dice, root: SchemaObject, schemas: readonly SchemaObject[], depth: number): Draft {
  const required = new Set(schemas.flatMap((schema) => listOf(schema.required) as string[]));
  const spokenOf = new Set([...required, ...schemas.flatMap((schema) => Object.keys(schema.properties ?? {}))]);
  const isMap = schemas.some((schema) => {
    const { additionalProperties, unevaluatedProperties, propertyNames } = schema;
    return typeof additionalProperties === "object" || typeof unevaluatedProperties === "object" || propertyNames;
  });
  for (const name of [...names, "xb", "c"]) {
    const isMatch = schemas.some((schema) => patternsOf(schema, name).length > 0);
    if ((isMap || isMatch) && dice.once(2)) spokenOf.add(name);
  }
  for (const schema of schemas) {
    for (const [name, needed] of Object.entries(schema.dependentRequired ?? {})) {
      for (const other of [name, ...(needed as string[])]) if (dice.once(2)) spokenOf.add(other);
    }
  }
  const document: Draft = {};
  for (const name of spokenOf) {
    if (!required.has(name) && dice.once(2)) continue;
    const valid = schemas.flatMap((schema) => {
      const own = Object.hasOwn(schema.properties ?? {}, name) ? [(schema.properties as Draft)[name]] : [];
      const found = [...own, ...patternsOf(schema, name)];
      return found.length > 0 ? found : [schema.additionalProperties ?? schema.unevaluatedProperties ?? true];
    });
    if (!valid.includes(false)) document[name] = randomDocument(dice, root, valid, depth - 1);
  }
  return document;
}

function patternsOf(schema: SchemaObject, name: string): unknown[] {
  const found = Object.entries(schema.patternProperties ?? {}).filter(([pattern]) =>
    new RegExp(pattern, "u").test(name),
  );
  return found.map(([, value]) => value);
}

function randomArray(dice: Dice, root: SchemaObject, schemas: readonly SchemaObject[], depth: number): unknown[] {
  const least = Math.max(0, ...schemas.map((schema) => Number(schema.minItems ?? 0)));
  const most = Math.min(4, ...schemas.map((schema) => Number(schema.maxItems ?? 4)));
  const length = Math.max(least, dice.below(most + 1));
  return Array.from({ length }, (_, index) => {
    const valid = schemas.map((schema) => listOf(schema.prefixItems)[index] ?? schema.items ?? schema.unevaluatedItems);
    const contained = schemas.map((schema) => schema.contains).filter(() => dice.once(2));
    return randomDocument(dice, root, [...valid, ...contained], depth - 1);
  });
}

/**
 * The schema without the leniency of the comparison: no object in its data has a property that nothing in the schema
 * speaks of. References have to lead to the root or to definitions.
 */
export function withoutOthers(root: SchemaObject): JsonSchema {
  const { $defs, ...own } = root;
  const definitions = Object.entries({ ...($defs as Draft), root: own });
  return { ...alone({ $ref: "#/$defs/root" }), $defs: Object.fromEntries(definitions.map(([k, v]) => [k, within(v)])) };
}

function alone(schema: unknown): SchemaObject {
  return { allOf: [within(schema)], unevaluatedProperties: false };
}

const consequence = "then";
const inPlace = ["allOf", "anyOf", "oneOf", consequence, "else"];
const untouched = ["if", "not", "propertyNames"];

/** A schema in its place, beside others: only the members of its data are restricted. */
function within(schema: unknown): unknown {
  if (typeof schema !== "object" || schema === null) return schema;
  const { required, additionalProperties, unevaluatedProperties, dependentSchemas, ...rest } = schema as SchemaObject;
  const open = Object.fromEntries(listOf(required).map((name) => [name, true]));
  const result: Draft = { ...rest, properties: { ...open, ...(rest.properties as Draft) } };
  if (required !== undefined) result.required = required;
  if (additionalProperties !== true && additionalProperties !== undefined) {
    result.additionalProperties = additionalProperties;
    // What is spoken of by "required" alone is other to "additionalProperties".
    for (const name of Object.keys(open))
      if (!Object.hasOwn(rest.properties ?? {}, name)) delete (result.properties as Draft)[name];
  }
  if (unevaluatedProperties !== true && unevaluatedProperties !== undefined)
    result.unevaluatedProperties = unevaluatedProperties;
  if (dependentSchemas !== undefined) {
    // The same as conditions, beside which the validator sees what is evaluated.
    const conditions = Object.entries(dependentSchemas as Draft).map(([name, dependent]) =>
      Object.fromEntries([
        ["if", { required: [name] }],
        [consequence, dependent],
      ]),
    );
    const named = {
      properties: Object.fromEntries(Object.keys(dependentSchemas as Draft).map((name) => [name, true])),
    };
    result.allOf = [...listOf(rest.allOf), ...conditions, ...(additionalProperties ? [] : [named])];
  }
  if (result.$ref === "#") result.$ref = "#/$defs/root";
  for (const [keyword, value] of Object.entries(result)) {
    const change = inPlace.includes(keyword) ? within : alone;
    const place = untouched.includes(keyword) ? null : places.get(keyword);
    if (place === "schema" && isSchema(value) && value !== false) result[keyword] = change(value);
    if (place === "list") result[keyword] = listOf(value).map(change);
    if (place === "map")
      result[keyword] = Object.fromEntries(Object.entries(value as Draft).map(([k, v]) => [k, change(v)]));
  }
  return result;
}
