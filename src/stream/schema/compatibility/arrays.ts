// Compares what schemas say about arrays and their items.

import {
  evaluatesAlone,
  highest,
  type JsonSchema,
  lowest,
  numberAt,
  type SchemaObject,
  schemaAt,
  schemasAt,
} from "../json-schema/keywords.ts";
import { besideOf, possibly } from "./beside.ts";
import { type Comparison, maxFindings } from "./comparison.ts";
import { evaluating } from "./evaluated.ts";
import { compareLeast, compareMost } from "./scalars.ts";
import type { Variant } from "./variants.ts";
import { dangling, every, type Finding, inside, notUnique, unproven } from "./wording.ts";

export function compareArrays(comparison: Comparison, reader: SchemaObject, variant: Variant): Finding[] {
  if (besideOf(variant).isIncomplete) return [dangling()];
  const writer = itemsOf(variant);
  const { schemas } = variant;
  const findings = [
    ...compareLeast("minItems", reader, highest(schemas, "minItems") ?? 0),
    ...compareMost("maxItems", reader, writer.maxItems),
    ...compareItems(comparison, reader, writer, variant),
    ...compareContained(comparison, reader, writer, variant),
  ];
  const mayRepeat = writer.maxItems > 1 && !schemas.some((schema) => schema.uniqueItems === true);
  if (reader.uniqueItems === true && mayRepeat) findings.push(notUnique());
  return findings;
}

function compareItems(comparison: Comparison, reader: SchemaObject, writer: Items, variant: Variant): Finding[] {
  // Lists of schemas in `items` are of earlier drafts.
  if (Array.isArray(reader.items)) return [unproven("items")];
  const findings: Finding[] = [];
  const compare = (name: string | number, schema: JsonSchema, index: number) => {
    if (index < writer.maxItems && findings.length < maxFindings) {
      findings.push(...inside(name, comparison.covers(schema, writer.at(index), variant.side)));
    }
  };
  for (const [index, schema] of schemasAt(reader, "prefixItems").entries()) compare(index, schema, index);
  const rest = restOf(comparison, reader, variant);
  if (rest === null) return findings;
  for (let index = rest.from; index < writer.prefixLength; index++) compare(index, rest.schema, index);
  compare(every, rest.schema, Math.max(rest.from, writer.prefixLength));
  return findings.length === 0 || rest.isComplete ? findings : [unproven("unevaluatedItems")];
}

/** What holds for items from an index on: `items`, or else `unevaluatedItems` beside all that certainly applies. */
function restOf(comparison: Comparison, reader: SchemaObject, variant: Variant) {
  const own = schemaAt(reader, "items");
  if (own !== undefined) return { schema: own, from: schemasAt(reader, "prefixItems").length, isComplete: true };
  const schema = schemaAt(reader, "unevaluatedItems");
  if (schema === undefined) return null;
  const { parts, isComplete } = evaluating(comparison, reader, variant);
  const evaluatesAll = (part: SchemaObject) =>
    part.items !== undefined || (part !== reader && part.unevaluatedItems !== undefined);
  if (parts.some(evaluatesAll)) return null;
  return { schema, from: longestPrefix(parts), isComplete };
}

function longestPrefix(schemas: readonly SchemaObject[]): number {
  return schemas.reduce((longest, schema) => Math.max(longest, schemasAt(schema, "prefixItems").length), 0);
}

/** The same schema in `contains`, or one whose matches all match the reader's; counts that are no stricter. */
function compareContained({ same, covers }: Comparison, reader: SchemaObject, writer: Items, variant: Variant) {
  const contained = schemaAt(reader, "contains");
  if (contained === undefined) return [];
  const least = numberAt(reader, "minContains") ?? 1;
  const most = numberAt(reader, "maxContains") ?? Number.POSITIVE_INFINITY;
  let hasEnough = least === 0;
  let isBounded = writer.maxItems <= most;
  for (const schema of variant.schemas) {
    const given = schemaAt(schema, "contains");
    if (given === undefined) continue;
    const isSame = same(contained, given);
    isBounded ||= isSame && (numberAt(schema, "maxContains") ?? Number.POSITIVE_INFINITY) <= most;
    hasEnough ||=
      (numberAt(schema, "minContains") ?? 1) >= least &&
      (isSame || covers(contained, [given, ...writer.any], variant.side).length === 0);
  }
  return hasEnough && isBounded ? [] : [unproven("contains")];
}

/** What a variant says about items. */
type Items = {
  /** From this index on all items are alike. */
  prefixLength: number;
  /** As many as there can be, by `maxItems` or because no item can follow. */
  maxItems: number;
  /** All schemas of the item at that index, if it is there. */
  at(index: number): JsonSchema[];
  /** All schemas of an item at any index. */
  any: JsonSchema[];
};

function itemsOf(variant: Variant): Items {
  const { schemas, side } = variant;
  const prefixLength = longestPrefix(schemas);
  const certain = (index: number) =>
    schemas
      .map((schema) => schemasAt(schema, "prefixItems")[index] ?? otherItems(schema))
      .filter((schema) => schema !== undefined);
  let possible = 0;
  while (possible <= prefixLength && side.variants(certain(possible)).length > 0) possible++;
  const maxItems = Math.min(
    lowest(schemas, "maxItems") ?? Number.POSITIVE_INFINITY,
    possible > prefixLength ? Number.POSITIVE_INFINITY : possible,
  );
  const more = [
    ...schemas.flatMap((schema) => [schema.contains, schema.unevaluatedItems]),
    ...besideOf(variant).schemas.flatMap(itemSchemasIn),
  ];
  const at = (index: number) => {
    const list = certain(index);
    return [...list, ...possibly(side, more, list)];
  };
  const any = prefixLength === 0 ? at(0) : possibly(side, [...more, ...schemas.flatMap(itemSchemasIn)], []);
  return { prefixLength, maxItems, at, any };
}

function itemSchemasIn(schema: SchemaObject): unknown[] {
  return [...schemasAt(schema, "prefixItems"), schema.items, schema.contains, schema.unevaluatedItems];
}

/** The schema of items behind `prefixItems`. */
function otherItems(schema: SchemaObject): JsonSchema | undefined {
  return schemaAt(schema, "items") ?? (evaluatesAlone(schema) ? schemaAt(schema, "unevaluatedItems") : undefined);
}
