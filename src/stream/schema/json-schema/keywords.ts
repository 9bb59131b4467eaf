// The keywords of JSON Schema, draft 2020-12: which of them hold schemas, which of them assert, and how they are read.

export type SchemaObject = { readonly [keyword: string]: unknown };
export type JsonSchema = boolean | SchemaObject;

/** How a keyword holds schemas: one, a list of them, or a map from names to them. */
type Place = "schema" | "list" | "map";

/** Where schemas stand inside a schema. */
export const places: ReadonlyMap<string, Place> = new Map<string, Place>([
  ["$defs", "map"],
  ["definitions", "map"],
  ["properties", "map"],
  ["patternProperties", "map"],
  ["dependentSchemas", "map"],
  ["prefixItems", "list"],
  ["allOf", "list"],
  ["anyOf", "list"],
  ["oneOf", "list"],
  ["items", "schema"],
  ["contains", "schema"],
  ["additionalProperties", "schema"],
  ["propertyNames", "schema"],
  ["unevaluatedItems", "schema"],
  ["unevaluatedProperties", "schema"],
  ["not", "schema"],
  ["if", "schema"],
  ["then", "schema"],
  ["else", "schema"],
  ["contentSchema", "schema"],
]);

/** Keywords that refuse data, by themselves or with others: all but definitions, annotations and unknown ones. */
export const assertions: ReadonlySet<string> = new Set([
  ...[...places.keys()].filter((keyword) => !["$defs", "definitions", "contentSchema"].includes(keyword)),
  ...["$ref", "$dynamicRef", "type", "enum", "const", "format", "pattern", "minLength", "maxLength"],
  ...["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"],
  ...["required", "dependentRequired", "minProperties", "maxProperties"],
  ...["minItems", "maxItems", "uniqueItems", "minContains", "maxContains"],
]);

export function isObject(value: unknown): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isSchema(value: unknown): value is JsonSchema {
  return typeof value === "boolean" || isObject(value);
}

/** The one schema that a keyword holds. */
export function schemaAt(schema: SchemaObject, keyword: string): JsonSchema | undefined {
  const value = schema[keyword];
  return isSchema(value) ? value : undefined;
}

const none: readonly JsonSchema[] = [];
const checked = new WeakMap<object, readonly JsonSchema[]>();

/** The schemas of a keyword that holds a list of them; empty without the keyword. */
export function schemasAt(schema: SchemaObject, keyword: string): readonly JsonSchema[] {
  const value = schema[keyword];
  if (!Array.isArray(value)) return none;
  const known = checked.get(value);
  if (known !== undefined) return known;
  const schemas = value.filter(isSchema);
  checked.set(value, schemas);
  return schemas;
}

const nothing: SchemaObject = Object.freeze({});

/** The map of a keyword that holds one, for `entry` and `Object.keys`; empty without the keyword. */
export function mapAt(schema: SchemaObject, keyword: string): SchemaObject {
  const value = schema[keyword];
  return isObject(value) ? value : nothing;
}

/** The schema of that name in a map; a name such as `constructor` is not found unless it is there. */
export function entry(map: SchemaObject, name: string): JsonSchema | undefined {
  const value = Object.hasOwn(map, name) ? map[name] : undefined;
  return isSchema(value) ? value : undefined;
}

export function numberAt(schema: SchemaObject, keyword: string): number | undefined {
  const value = schema[keyword];
  return typeof value === "number" ? value : undefined;
}

/** The highest of the numbers that schemas give a keyword, such as the one of several minimums that counts. */
export function highest(schemas: readonly SchemaObject[], keyword: string): number | undefined {
  return extreme(schemas, keyword, (a, b) => a > b);
}

export function lowest(schemas: readonly SchemaObject[], keyword: string): number | undefined {
  return extreme(schemas, keyword, (a, b) => a < b);
}

function extreme(schemas: readonly SchemaObject[], keyword: string, isBefore: (a: number, b: number) => boolean) {
  let found: number | undefined;
  for (const schema of schemas) {
    const number = numberAt(schema, keyword);
    if (number !== undefined && (found === undefined || isBefore(number, found))) found = number;
  }
  return found;
}

export function textAt(schema: SchemaObject, keyword: string): string | undefined {
  const value = schema[keyword];
  return typeof value === "string" ? value : undefined;
}

const evaluating = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "contains"];

/** Whether `unevaluatedProperties` and `unevaluatedItems` see nothing but their own schema's keywords about members. */
export function evaluatesAlone(schema: SchemaObject): boolean {
  return evaluating.every((keyword) => schema[keyword] === undefined);
}

/** The texts of a list such as `required`. */
export function namesIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((name) => typeof name === "string") : [];
}
