// Which properties of a document its schema speaks of: the comparison takes all others to be absent.

import { pointerToken } from "../../../../src/base/json-pointer.ts";
import { matches, refuses } from "../../../../src/stream/schema/compatibility/values.ts";
import type { SchemaObject } from "../../../../src/stream/schema/json-schema/keywords.ts";
import { type Draft, formats, listOf, target } from "./random-schemas.ts";

/** Of data that are valid: what was spoken of anywhere inside, and the members that were evaluated in this place. */
type Notes = { spoken: Set<string>; names: Set<string>; items: Set<number> };

/** Whether a valid document has no property but those that some schema that applies to it speaks of. */
export function isSpokenOf(root: SchemaObject, document: unknown): boolean {
  const notes = evaluated(root, root, document, "");
  return notes !== null && members(document, "").every((place) => notes.spoken.has(place));
}

function members(data: unknown, at: string): string[] {
  if (typeof data !== "object" || data === null) return [];
  const inside = Object.entries(data).flatMap(([name, member]) => members(member, at + pointerToken(name)));
  return Array.isArray(data) ? inside : [...Object.keys(data).map((name) => at + pointerToken(name)), ...inside];
}

/** Null for data that the schema refuses. */
function evaluated(root: SchemaObject, schema: unknown, data: unknown, at: string): Notes | null {
  const notes: Notes = { spoken: new Set(), names: new Set(), items: new Set() };
  if (typeof schema === "boolean") return schema ? notes : null;
  const own = schema as Draft;
  if (refuses(own, data, true)) return null;
  if (typeof data === "string" && own.format !== undefined && !formats[own.format as string]?.(data)) return null;

  const apply = (inner: unknown) => evaluated(root, inner, data, at);
  const absorb = (inner: Notes | null): boolean => {
    for (const place of inner?.spoken ?? []) notes.spoken.add(place);
    for (const name of inner?.names ?? []) notes.names.add(name);
    for (const item of inner?.items ?? []) notes.items.add(item);
    return inner !== null;
  };
  if (own.$ref !== undefined && !absorb(apply(target(root, own.$ref as string)))) return null;
  if (!listOf(own.allOf).every((part) => absorb(apply(part)))) return null;
  for (const keyword of ["anyOf", "oneOf"]) {
    if (own[keyword] === undefined) continue;
    const valid = listOf(own[keyword]).map(apply).filter(absorb).length;
    if (valid === 0 || (keyword === "oneOf" && valid > 1)) return null;
  }
  if (own.not !== undefined && apply(own.not) !== null) return null;
  if (own.if !== undefined) {
    const way = absorb(apply(own.if)) ? own.then : own.else;
    if (way !== undefined && !absorb(apply(way))) return null;
  }
  if (Array.isArray(data)) return array(root, own, data, at, notes) ? notes : null;
  if (typeof data !== "object" || data === null) return notes;
  for (const [name, inner] of Object.entries(own.dependentSchemas ?? {})) {
    notes.spoken.add(at + pointerToken(name));
    if (Object.hasOwn(data, name) && !absorb(apply(inner))) return null;
  }
  return object(root, own, data as Draft, at, notes) ? notes : null;
}

/** Adds what is said of a member; false when it is refused. */
function member(root: SchemaObject, schema: unknown, data: unknown, at: string, { spoken }: Notes): boolean {
  const inner = evaluated(root, schema, data, at);
  for (const place of inner?.spoken ?? []) spoken.add(place);
  return inner !== null;
}

function object(root: SchemaObject, own: Draft, data: Draft, at: string, notes: Notes): boolean {
  const names = Object.keys(data);
  const required = listOf(own.required) as string[];
  const dependent = Object.entries((own.dependentRequired ?? {}) as Record<string, string[]>);
  if (required.some((name) => !names.includes(name))) return false;
  if (dependent.some(([name, more]) => names.includes(name) && more.some((other) => !names.includes(other))))
    return false;
  if (names.length < Number(own.minProperties ?? 0) || names.length > Number(own.maxProperties ?? 99)) return false;
  for (const name of [...required, ...dependent.flat(2)]) notes.spoken.add(at + pointerToken(name));
  for (const name of names) {
    if (own.propertyNames !== undefined) {
      if (evaluated(root, own.propertyNames, name, "") === null) return false;
      notes.spoken.add(at + pointerToken(name));
    }
    const matching = Object.entries(own.patternProperties ?? {}).filter(([pattern]) => matches(pattern, name));
    const schemas = matching.map(([, schema]) => schema);
    if (Object.hasOwn(own.properties ?? {}, name)) schemas.push((own.properties as Draft)[name]);
    const others = own.additionalProperties ?? (notes.names.has(name) ? undefined : own.unevaluatedProperties);
    if (schemas.length > 0 || (others !== undefined && others !== true)) notes.spoken.add(at + pointerToken(name));
    if (schemas.length === 0 && others !== undefined) schemas.push(others);
    if (!schemas.every((schema) => member(root, schema, data[name], at + pointerToken(name), notes))) return false;
    if (schemas.length > 0) notes.names.add(name);
  }
  return true;
}

function array(root: SchemaObject, own: Draft, data: readonly unknown[], at: string, notes: Notes): boolean {
  if (data.length < Number(own.minItems ?? 0) || data.length > Number(own.maxItems ?? 99)) return false;
  if (own.uniqueItems === true && new Set(data.map((item) => JSON.stringify(item))).size < data.length) return false;
  const item = (schema: unknown, index: number) => member(root, schema, data[index], at + pointerToken(index), notes);
  for (const index of data.keys()) {
    const schema = listOf(own.prefixItems)[index] ?? own.items;
    if (schema === undefined) continue;
    if (!item(schema, index)) return false;
    notes.items.add(index);
  }
  if (own.contains !== undefined) {
    const found = [...data.keys()].filter((index) => item(own.contains, index));
    if (found.length < Number(own.minContains ?? 1) || found.length > Number(own.maxContains ?? 99)) return false;
    for (const index of found) notes.items.add(index);
  }
  if (own.unevaluatedItems === undefined) return true;
  const left = [...data.keys()].filter((index) => !notes.items.has(index));
  for (const index of left) notes.items.add(index);
  return left.every((index) => item(own.unevaluatedItems, index));
}
