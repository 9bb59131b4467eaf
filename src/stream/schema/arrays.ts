// Compares what schemas say about arrays and their items.
import type { Comparison } from "./comparison.ts";
import type { SchemaDocument } from "./document.ts";
import { highest, type JsonSchema, lowest, numberAt, type SchemaObject, schemaAt, schemasAt } from "./keywords.ts";
import { compareLeast, compareMost } from "./scalars.ts";
import type { Variant } from "./variants.ts";
import { every, type Finding, inside, notUnique, unproven } from "./wording.ts";

export function compareArrays(comparison: Comparison, reader: SchemaObject, variant: Variant): Finding[] {
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

function compareItems(
  { covers, reader: { document } }: Comparison,
  reader: SchemaObject,
  writer: Items,
  { side }: Variant,
) {
  // Lists of schemas in `items` are of earlier drafts.
  if (Array.isArray(reader.items)) return [unproven("items")];
  const findings: Finding[] = [];
  const prefix = schemasAt(reader, "prefixItems");
  for (const [index, schema] of prefix.entries()) {
    if (index < writer.maxItems) findings.push(...inside(index, covers(schema, writer.at(index), side)));
  }
  const rest = restOf(document, reader);
  if (rest === null) return findings;
  for (let index = rest.from; index < Math.min(writer.prefixLength, writer.maxItems); index++) {
    findings.push(...inside(index, covers(rest.schema, writer.at(index), side)));
  }
  const last = Math.max(rest.from, writer.prefixLength);
  if (last < writer.maxItems) findings.push(...inside(every, covers(rest.schema, writer.at(last), side)));
  return findings;
}

/** What holds for items from an index on: `items`, or else `unevaluatedItems` beside all that applies in every case. */
function restOf(document: SchemaDocument, reader: SchemaObject) {
  const own = schemaAt(reader, "items");
  if (own !== undefined) return { schema: own, from: schemasAt(reader, "prefixItems").length };
  const schema = schemaAt(reader, "unevaluatedItems");
  if (schema === undefined) return null;
  const parts = document.parts(reader);
  const evaluatesAll = (part: SchemaObject) =>
    part.items !== undefined || (part !== reader && part.unevaluatedItems !== undefined);
  if (parts.some(evaluatesAll)) return null;
  return { schema, from: Math.max(...parts.map((part) => schemasAt(part, "prefixItems").length)) };
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
      (isSame || covers(contained, [given], variant.side).length === 0);
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
};

function itemsOf({ schemas, side }: Variant): Items {
  const prefixLength = schemas.reduce(
    (longest, schema) => Math.max(longest, schemasAt(schema, "prefixItems").length),
    0,
  );
  const at = (index: number) =>
    schemas
      .map((schema) => schemasAt(schema, "prefixItems")[index] ?? schemaAt(schema, "items"))
      .filter((schema) => schema !== undefined);
  let possible = 0;
  while (possible <= prefixLength && side.variants(at(possible)).length > 0) possible++;
  const maxItems = Math.min(
    lowest(schemas, "maxItems") ?? Number.POSITIVE_INFINITY,
    possible > prefixLength ? Number.POSITIVE_INFINITY : possible,
  );
  return { prefixLength, maxItems, at };
}
