// Compares what schemas say about objects and their properties.

import {
  entry,
  highest,
  type JsonSchema,
  lowest,
  mapAt,
  namesIn,
  type SchemaObject,
  schemaAt,
} from "../json-schema/keywords.ts";
import { besideOf } from "./beside.ts";
import { type Comparison, maxFindings } from "./comparison.ts";
import { evaluating } from "./evaluated.ts";
import { type Properties, propertiesOf } from "./properties.ts";
import { compareLeast, compareMost } from "./scalars.ts";
import { matches } from "./values.ts";
import type { Variant } from "./variants.ts";
import { dangling, every, type Finding, inside, missing, unproven } from "./wording.ts";

export function compareObjects(comparison: Comparison, reader: SchemaObject, variant: Variant): Finding[] {
  if (besideOf(variant).isIncomplete) return [dangling()];
  const writer = propertiesOf(variant);
  const findings = [
    ...compareRequired(reader, writer, variant),
    ...compareCounts(reader, writer, variant),
    ...compareProperties(comparison, reader, writer, variant),
  ];
  const names = schemaAt(reader, "propertyNames");
  if (names !== undefined) findings.push(...compareNames(comparison, names, writer, variant));
  return [...findings, ...compareUnevaluated(comparison, reader, writer, variant)];
}

function compareRequired(reader: SchemaObject, writer: Properties, { schemas }: Variant): Finding[] {
  const absent = namesIn(reader.required).filter((name) => !writer.required.has(name));
  const findings = absent.flatMap((name) => inside(name, [missing()]));
  for (const [name, needed] of Object.entries(mapAt(reader, "dependentRequired"))) {
    if (writer.at(name) === null) continue;
    const given = schemas.flatMap((schema) => namesIn(mapAt(schema, "dependentRequired")[name]));
    if (namesIn(needed).some((other) => !writer.required.has(other) && !given.includes(other))) {
      findings.push(...inside(name, [unproven("dependentRequired")]));
    }
  }
  return findings;
}

function compareCounts(reader: SchemaObject, writer: Properties, { schemas }: Variant): Finding[] {
  const least = Math.max(writer.required.size, highest(schemas, "minProperties") ?? 0);
  const findings = compareLeast("minProperties", reader, least);
  if (reader.maxProperties === undefined) return findings;
  const isListed = writer.rest === null && writer.patterns.size === 0;
  const names = isListed ? [...writer.names].filter((name) => writer.at(name) !== null) : null;
  const most = Math.min(
    names?.length ?? Number.POSITIVE_INFINITY,
    lowest(schemas, "maxProperties") ?? Number.POSITIVE_INFINITY,
  );
  return [...findings, ...compareMost("maxProperties", reader, most)];
}

/** Properties as they are known by name, by a pattern, or as others. */
function compareProperties(
  { covers, spend }: Comparison,
  reader: SchemaObject,
  writer: Properties,
  { side }: Variant,
): Finding[] {
  const own = mapAt(reader, "properties");
  const patterns = mapAt(reader, "patternProperties");
  const patternNames = Object.keys(patterns);
  const others = schemaAt(reader, "additionalProperties");
  const findings: Finding[] = [];
  const compare = (name: string, schema: JsonSchema | undefined, list: readonly JsonSchema[]) => {
    if (schema !== undefined) findings.push(...inside(name, covers(schema, list, side)));
  };

  const speaksOfAll = patternNames.length > 0 || others !== undefined;
  for (const name of new Set([...Object.keys(own), ...(speaksOfAll ? writer.names : [])])) {
    if (findings.length >= maxFindings || !spend(4 + patternNames.length)) return findings;
    const list = writer.at(name);
    if (list === null) continue;
    // An invalid pattern may match or not: then both is compared.
    const matching = patternNames.filter((pattern) => matches(pattern, name) !== false);
    compare(name, entry(own, name), list);
    for (const pattern of matching) compare(name, entry(patterns, pattern), list);
    if (!Object.hasOwn(own, name) && !matching.some((pattern) => matches(pattern, name))) compare(name, others, list);
  }
  for (const pattern of patternNames) {
    const schema = entry(patterns, pattern);
    // Names that match a pattern of both sides are valid by the writer's schema for it, whatever else they match.
    if (writer.patterns.has(pattern)) compare(every, schema, writer.matching(pattern));
    else for (const list of unnamed(writer, new Set())) compare(every, schema, list);
  }
  if (others !== undefined) for (const list of unnamed(writer, new Set(patternNames))) compare(every, others, list);
  return findings;
}

/** What is known of properties that the writer does not name, except those that match one of the patterns. */
function unnamed(writer: Properties, except: ReadonlySet<string>): (readonly JsonSchema[])[] {
  const patterns = [...writer.patterns].filter((pattern) => !except.has(pattern));
  return [...patterns.map(writer.matching), ...(writer.rest === null ? [] : [writer.rest])];
}

function compareNames({ covers }: Comparison, names: JsonSchema, writer: Properties, { schemas, side }: Variant) {
  const given = schemas.map((schema) => schemaAt(schema, "propertyNames")).filter((schema) => schema !== undefined);
  const any: JsonSchema[] = [{ type: "string" }, ...given];
  const listed = [...writer.names].filter((name) => writer.at(name) !== null).map((name) => [...any, { const: name }]);
  const matched = [...writer.patterns].map((pattern) => [...any, { pattern }]);
  const unknown = writer.rest === null ? [] : [any];
  const isKept = [...listed, ...matched, ...unknown].every((list) => covers(names, list, side).length === 0);
  return isKept ? [] : [unproven("propertyNames")];
}

/** As `additionalProperties`, but beside all that certainly applies in the same place. */
function compareUnevaluated(comparison: Comparison, reader: SchemaObject, writer: Properties, variant: Variant) {
  const others = schemaAt(reader, "unevaluatedProperties");
  if (others === undefined || others === true) return [];
  const { parts, isComplete } = evaluating(comparison, reader, variant);
  const evaluatesAll = (part: SchemaObject) =>
    part.additionalProperties !== undefined || (part !== reader && part.unevaluatedProperties !== undefined);
  if (parts.some(evaluatesAll)) return [];
  const patterns = parts.flatMap((part) => Object.keys(mapAt(part, "patternProperties")));
  const names = new Set(parts.flatMap((part) => Object.keys(mapAt(part, "properties"))));
  const isEvaluated = (name: string) => names.has(name) || patterns.some((pattern) => matches(pattern, name));
  const findings: Finding[] = [];
  for (const name of writer.names) {
    if (findings.length >= maxFindings || !comparison.spend(1 + patterns.length)) break;
    const list = isEvaluated(name) ? null : writer.at(name);
    if (list !== null) findings.push(...inside(name, comparison.covers(others, list, variant.side)));
  }
  for (const list of unnamed(writer, new Set(patterns))) {
    findings.push(...inside(every, comparison.covers(others, list, variant.side)));
  }
  return findings.length === 0 || isComplete ? findings : [unproven("unevaluatedProperties")];
}
