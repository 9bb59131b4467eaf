// JSON values and the kinds they are of, and whether a schema's simple keywords refuse a value.
import { canonical } from "../json-schema/identity.ts";
import { namesIn, numberAt, type SchemaObject, textAt } from "../json-schema/keywords.ts";

/** Kinds of values as bits; numbers are integers or fractions, so that integers are numbers. */
export const kind = { null: 1, boolean: 2, object: 4, array: 8, string: 16, integer: 32, fraction: 64 } as const;

export const numeric = kind.integer | kind.fraction;
export const everyKind = 127;

const typeKinds: Readonly<Record<string, number>> = {
  null: kind.null,
  boolean: kind.boolean,
  object: kind.object,
  array: kind.array,
  string: kind.string,
  number: numeric,
  integer: kind.integer,
};

/** The kinds that the keyword `type` allows. */
export function kindsOf(schema: SchemaObject): number {
  const { type } = schema;
  if (type === undefined) return everyKind;
  return (typeof type === "string" ? [type] : namesIn(type)).reduce((kinds, name) => kinds | (typeKinds[name] ?? 0), 0);
}

export function kindOf(value: unknown): number {
  if (value === null) return kind.null;
  if (Array.isArray(value)) return kind.array;
  if (typeof value === "number") return Number.isInteger(value) ? kind.integer : kind.fraction;
  return typeKinds[typeof value] ?? 0;
}

/** Types that the kinds are of, one each: for `type`, and for people. */
export function typesIn(kinds: number): string[] {
  return Object.keys(typeKinds).filter((type) => {
    if (type === "integer") return (kinds & numeric) === kind.integer;
    if (type === "number") return (kinds & kind.fraction) !== 0;
    return (kinds & (typeKinds[type] as number)) !== 0;
  });
}

/** The words of `format` that are about numbers, in OpenAPI; all others are about strings. */
export function formatKind(format: string): number {
  return /^(u?int\d+|float|double)$/.test(format) ? numeric : kind.string;
}

const expressions = new Map<string, RegExp | null>();

/** Whether a text matches a pattern; null when the pattern is no regular expression of ECMAScript. */
export function matches(pattern: string, text: string): boolean | null {
  let expression = expressions.get(pattern);
  if (expression === undefined) {
    try {
      expression = new RegExp(pattern, "u");
    } catch {
      expression = null;
    }
    if (expressions.size >= 1_000) expressions.clear();
    expressions.set(pattern, expression);
  }
  return expression?.test(text) ?? null;
}

/** Whether one number divides the other; null when the arithmetic of fractions leaves it open. */
export function divides(divisor: number, value: number): boolean | null {
  if (Number.isInteger(value / divisor)) return true;
  return Number.isInteger(value) && Number.isInteger(divisor) ? false : null;
}

const allowed = new WeakMap<SchemaObject, Set<string>>();

/** The canonical texts of the values that `enum` and `const` leave; null without these keywords. */
export function allowedValues(schema: SchemaObject): Set<string> | null {
  if (schema.enum === undefined && schema.const === undefined) return null;
  let texts = allowed.get(schema);
  if (texts === undefined) {
    const listed = Array.isArray(schema.enum) ? schema.enum.map(canonical) : null;
    const only = schema.const === undefined ? null : canonical(schema.const);
    texts = new Set(only === null ? listed : listed === null || listed.includes(only) ? [only] : []);
    allowed.set(schema, texts);
  }
  return texts;
}

/**
 * Whether `type`, `enum`, `const` and the keywords of numbers and strings refuse a value. `format` is not among them.
 * `inDoubt` is the answer where a keyword cannot be decided.
 */
export function refuses(schema: SchemaObject, value: unknown, inDoubt: boolean): boolean {
  if ((kindsOf(schema) & kindOf(value)) === 0) return true;
  if (allowedValues(schema)?.has(canonical(value)) === false) return true;
  if (typeof value === "number") return refusesNumber(schema, value, inDoubt);
  if (typeof value === "string") return refusesText(schema, value, inDoubt);
  return false;
}

function refusesNumber(schema: SchemaObject, value: number, inDoubt: boolean): boolean {
  if (value < (numberAt(schema, "minimum") ?? Number.NEGATIVE_INFINITY)) return true;
  if (value > (numberAt(schema, "maximum") ?? Number.POSITIVE_INFINITY)) return true;
  if (value <= (numberAt(schema, "exclusiveMinimum") ?? Number.NEGATIVE_INFINITY)) return true;
  if (value >= (numberAt(schema, "exclusiveMaximum") ?? Number.POSITIVE_INFINITY)) return true;
  const divisor = numberAt(schema, "multipleOf");
  return divisor !== undefined && !(divides(divisor, value) ?? !inDoubt);
}

function refusesText(schema: SchemaObject, value: string, inDoubt: boolean): boolean {
  const length = [...value].length;
  if (length < (numberAt(schema, "minLength") ?? 0)) return true;
  if (length > (numberAt(schema, "maxLength") ?? Number.POSITIVE_INFINITY)) return true;
  const pattern = textAt(schema, "pattern");
  return pattern !== undefined && !(matches(pattern, value) ?? !inDoubt);
}
