// Compares types, listed values, numbers and strings.
import { highest, lowest, numberAt, type SchemaObject, textAt } from "../json-schema/keywords.ts";
import { allowedValues, divides, formatKind, kind, kindOf, kindsOf, numeric, refuses } from "./values.ts";
import type { Variant } from "./variants.ts";
import { type Finding, onlyValues, otherBound, otherKeyword, otherKinds, refusedValues } from "./wording.ts";

export function compareScalars(reader: SchemaObject, writer: Variant): Finding[] {
  const kinds = writer.kinds & kindsOf(reader);
  const findings: Finding[] = [];
  if (kinds !== writer.kinds) findings.push(otherKinds(writer.allKinds, kindsOf(reader)));
  const format = textAt(reader, "format");
  if (format !== undefined && (kinds & formatKind(format)) !== 0) {
    const formats = writer.schemas.map((schema) => textAt(schema, "format")).filter((word) => word !== undefined);
    if (!formats.includes(format)) findings.push(otherKeyword("format", formats[0], format));
  }
  if (writer.values !== null) {
    const strange = writer.values.filter((value) => (kinds & kindOf(value)) !== 0 && refuses(reader, value, true));
    return strange.length === 0 ? findings : [...findings, refusedValues(strange)];
  }
  const values = allowedValues(reader);
  if (values !== null && kinds !== 0) findings.push(onlyValues([...values]));
  if ((kinds & kind.string) !== 0) findings.push(...compareStrings(reader, writer.schemas));
  if ((kinds & numeric) !== 0) findings.push(...compareNumbers(reader, writer));
  return findings;
}

/** Findings where the reader's bound is not kept by what the writer's schemas say in the same keyword. */
export function compareLeast(keyword: string, reader: SchemaObject, writer: number): Finding[] {
  const least = numberAt(reader, keyword) ?? 0;
  return writer >= least ? [] : [otherKeyword(keyword, writer === 0 ? undefined : writer, least)];
}

export function compareMost(keyword: string, reader: SchemaObject, writer: number): Finding[] {
  const most = numberAt(reader, keyword) ?? Number.POSITIVE_INFINITY;
  return writer <= most ? [] : [otherKeyword(keyword, writer === Number.POSITIVE_INFINITY ? undefined : writer, most)];
}

function compareStrings(reader: SchemaObject, writer: readonly SchemaObject[]): Finding[] {
  const findings = [
    ...compareLeast("minLength", reader, highest(writer, "minLength") ?? 0),
    ...compareMost("maxLength", reader, lowest(writer, "maxLength") ?? Number.POSITIVE_INFINITY),
  ];
  const pattern = textAt(reader, "pattern");
  if (pattern === undefined) return findings;
  const patterns = writer.map((schema) => textAt(schema, "pattern")).filter((text) => text !== undefined);
  return patterns.includes(pattern) ? findings : [...findings, otherKeyword("pattern", patterns[0], pattern)];
}

function compareNumbers(reader: SchemaObject, { schemas, kinds }: Variant): Finding[] {
  const integersOnly = (kinds & kind.fraction) === 0;
  const findings = edges.flatMap((edge) => compareEdge(edge, reader, schemas, integersOnly));
  const divisor = numberAt(reader, "multipleOf");
  if (divisor === undefined || (divisor === 1 && integersOnly)) return findings;
  const given = schemas.map((schema) => numberAt(schema, "multipleOf")).filter((number) => number !== undefined);
  // Fractions other than equal ones are left alone: 0.3 is a multiple of 0.1, but not in floating point.
  const isKept = given.some((by) => by === divisor || ([by, divisor].every(Number.isInteger) && divides(divisor, by)));
  return isKept ? findings : [...findings, otherKeyword("multipleOf", given[0], divisor)];
}

/** The lower or the upper edge of numbers; `inwards` is the direction in which numbers are allowed. */
type Edge = { inclusive: string; exclusive: string; inwards: 1 | -1; words: { inclusive: string; exclusive: string } };

const edges: readonly Edge[] = [
  {
    inclusive: "minimum",
    exclusive: "exclusiveMinimum",
    inwards: 1,
    words: { inclusive: "at least", exclusive: "more than" },
  },
  {
    inclusive: "maximum",
    exclusive: "exclusiveMaximum",
    inwards: -1,
    words: { inclusive: "at most", exclusive: "less than" },
  },
];

type Bound = { at: number; isExclusive: boolean };

function compareEdge(edge: Edge, reader: SchemaObject, writer: readonly SchemaObject[], integersOnly: boolean) {
  const wanted = boundOf([reader], edge);
  if (wanted === null) return [];
  const bound = boundOf(writer, edge);
  const given = integersOnly && bound !== null ? firstInteger(bound, edge) : bound;
  const ahead = given === null ? Number.NEGATIVE_INFINITY : (given.at - wanted.at) * edge.inwards;
  if (ahead > 0 || (ahead === 0 && (given?.isExclusive || !wanted.isExclusive))) return [];
  return [otherBound(bound && boundText(bound, edge), boundText(wanted, edge))];
}

/** Of several bounds the one that counts: the innermost. */
function boundOf(schemas: readonly SchemaObject[], { inclusive, exclusive, inwards }: Edge): Bound | null {
  const innermost = inwards === 1 ? highest : lowest;
  const [at, beyond] = [innermost(schemas, inclusive), innermost(schemas, exclusive)];
  if (beyond !== undefined && (at === undefined || (beyond - at) * inwards >= 0))
    return { at: beyond, isExclusive: true };
  return at === undefined ? null : { at, isExclusive: false };
}

/** The first integer that a bound lets pass; the bound itself where integers are too large to be counted. */
function firstInteger(bound: Bound, { inwards }: Edge): Bound {
  const at = inwards === 1 ? Math.ceil(bound.at) : Math.floor(bound.at);
  if (!Number.isSafeInteger(at + inwards)) return bound;
  return { at: bound.isExclusive && at === bound.at ? at + inwards : at, isExclusive: false };
}

function boundText({ at, isExclusive }: Bound, { words }: Edge): string {
  return `${isExclusive ? words.exclusive : words.inclusive} ${at}`;
}
