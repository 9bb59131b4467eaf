// Compares the keywords that apply schemas in the same place: references, `allOf`, alternatives, `not` and conditions.

import { pointerToken } from "../../../base/json-pointer.ts";
import { entry, type JsonSchema, mapAt, type SchemaObject, schemaAt, schemasAt } from "../json-schema/keywords.ts";
import { areApart } from "./apart.ts";
import type { Comparison } from "./comparison.ts";
import { propertiesOf } from "./properties.ts";
import { statedBy } from "./stated.ts";
import { kind } from "./values.ts";
import { pieces, type Variant } from "./variants.ts";
import { dangling, type Finding, inside, otherKinds, refusedValues, tooLarge, uncovered, unproven } from "./wording.ts";

export function compareApplied(comparison: Comparison, reader: SchemaObject, writer: Variant): Finding[] {
  const parts = [...comparison.reader.document.targets(reader), ...schemasAt(reader, "allOf")];
  return [
    ...parts.flatMap((part) => (part === null ? [dangling()] : comparison.accepts(part, writer))),
    ...compareAlternatives(comparison, reader, "anyOf", writer),
    ...compareAlternatives(comparison, reader, "oneOf", writer),
    ...compareNot(comparison, reader, writer),
    ...compareCondition(comparison, reader, writer),
    ...compareDependent(comparison, reader, writer),
  ];
}

type Alternatives = "anyOf" | "oneOf";

function compareAlternatives(comparison: Comparison, reader: SchemaObject, keyword: Alternatives, writer: Variant) {
  const branches = schemasAt(reader, keyword);
  if (branches.length === 0) return [];
  const isSame = writer.schemas.some((schema) => {
    const given = schemasAt(schema, keyword);
    return (
      given.length === branches.length && given.every((branch, i) => comparison.same(branches[i] as JsonSchema, branch))
    );
  });
  return isSame ? [] : compareBranches(comparison, branches, keyword, writer);
}

/** Each variant of the writer has to be covered by one branch; of `oneOf` by one that no other can overlap. */
function compareBranches(
  comparison: Comparison,
  branches: readonly JsonSchema[],
  keyword: Alternatives,
  writer: Variant,
): readonly Finding[] {
  if (!comparison.spend(branches.length)) return [tooLarge()];
  const near = branches.filter((branch) => !isApart(comparison, branch, writer));
  const accepting = near.some((branch) => comparison.accepts(branch, writer).length === 0);
  if (accepting && (keyword === "anyOf" || near.length === 1)) return [];
  const parts = pieces(writer);
  if (parts.length > 1) return parts.flatMap((part) => compareBranches(comparison, branches, keyword, part));
  if (accepting) return [unproven(keyword)];
  const [only] = near;
  if (only !== undefined && near.length === 1) return comparison.accepts(only, writer);
  return [near.length === 0 ? unknown(comparison, branches, writer) : uncovered()];
}

/** What sets the data apart from all branches: their values, their type, or a property that tells variants apart. */
function unknown({ reader }: Comparison, branches: readonly JsonSchema[], writer: Variant): Finding {
  if (writer.values !== null) return refusedValues(writer.values);
  const variants = reader.variants([{ anyOf: branches }]);
  const kinds = variants.reduce((all, variant) => all | variant.kinds, 0);
  if ((kinds & writer.kinds) === 0) return otherKinds(writer.allKinds, kinds);
  const { required, of } = statedBy(writer);
  for (const name of required) {
    const [first, ...more] = writer.side.variants(of(name));
    if (first?.values == null || more.length > 0) continue;
    const isStrange = variants.every((variant) =>
      reader.variants(statedBy(variant).of(name)).every((one) => areApart(one, first)),
    );
    if (isStrange) return { ...refusedValues(first.values), path: pointerToken(name) };
  }
  return uncovered();
}

function isApart({ reader }: Comparison, schema: JsonSchema, writer: Variant): boolean {
  return reader.variants([schema]).every((variant) => areApart(variant, writer));
}

function compareNot(comparison: Comparison, reader: SchemaObject, writer: Variant): Finding[] {
  const denied = schemaAt(reader, "not");
  if (denied === undefined || isApart(comparison, denied, writer)) return [];
  const isSame = writer.schemas.some((schema) => isSameAt(comparison, "not", reader, schema));
  return isSame ? [] : [unproven("not")];
}

function compareCondition(comparison: Comparison, reader: SchemaObject, writer: Variant): Finding[] {
  if (reader.if === undefined) return [];
  const isSame = writer.schemas.some((schema) =>
    ["if", "then", "else"].every((keyword) => isSameAt(comparison, keyword, reader, schema)),
  );
  if (isSame) return [];
  // Whatever the condition says: data that are valid both ways need no condition.
  const ways = ["then", "else"].map((keyword) => schemaAt(reader, keyword)).filter((schema) => schema !== undefined);
  return ways.every((way) => comparison.accepts(way, writer).length === 0) ? [] : [unproven("if")];
}

function compareDependent(comparison: Comparison, reader: SchemaObject, writer: Variant): Finding[] {
  const dependent = mapAt(reader, "dependentSchemas");
  if ((writer.kinds & kind.object) === 0) return [];
  return Object.keys(dependent).flatMap((name) => {
    const schema = entry(dependent, name);
    if (schema === undefined || propertiesOf(writer).at(name) === null) return [];
    const isSame = writer.schemas.some((given) => {
      const own = entry(mapAt(given, "dependentSchemas"), name);
      return own !== undefined && comparison.same(schema, own);
    });
    if (isSame || comparison.accepts(schema, writer).length === 0) return [];
    return inside(name, [unproven("dependentSchemas")]);
  });
}

/** Both have no such keyword, or both the same. */
function isSameAt({ same }: Comparison, keyword: string, reader: SchemaObject, writer: SchemaObject): boolean {
  const [wanted, given] = [schemaAt(reader, keyword), schemaAt(writer, keyword)];
  return wanted === undefined || given === undefined ? wanted === given : same(wanted, given);
}
