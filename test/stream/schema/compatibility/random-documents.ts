// Random documents that are likely to be valid by a schema, with properties that it speaks of.
import type { SchemaObject } from "../../../../src/stream/schema/json-schema/keywords.ts";
import { type Dice, subset } from "./dice.ts";
import { type Draft, listOf, names, numbers, target, texts, types } from "./random-schemas.ts";

/** Collects what applies in one place, for one way through the alternatives. */
function apply(dice: Dice, root: SchemaObject, schema: unknown, applied: SchemaObject[]): void {
  if (typeof schema !== "object" || schema === null || applied.includes(schema as SchemaObject)) return;
  const own = schema as SchemaObject;
  applied.push(own);
  if (typeof own.$ref === "string") apply(dice, root, target(root, own.$ref), applied);
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
