// Checks what a fold gives: keys that a row can have, and rows that come back from the table as they were.
import { inWords } from "../../base/violations.ts";
import { checkerOf } from "../handlers/checker.ts";
import { type Column, fromTable } from "./columns.ts";
import type { FoldProjection, Row, RowKey } from "./definition.ts";

export type RowCheck = {
  /** The keys that `key` of a fold gave, each once. Throws a plain sentence. */
  keys: (given: unknown) => RowKey[];
  /** The row that `apply` gave; null for none. Throws a plain sentence. */
  row: (given: unknown, key: RowKey) => Row | null;
  /** A row that is not there yet; null where handlers are told so. */
  initial: (key: RowKey) => Row | null;
  /** A key as folds give and are given it. */
  givenKey: (key: RowKey) => unknown;
  fromTable: (row: Record<string, unknown>) => Row;
};

const maxKeys = 10_000;

export function createRowCheck({ row: schema, columns, keys, initial }: FoldProjection): RowCheck {
  const violations = checkerOf(schema);
  const byName = new Map(columns.map((column) => [column.name, column]));
  const keyColumns = keys.map((name) => byName.get(name) as Column);

  function keyOf(given: unknown): RowKey {
    const values =
      keyColumns.length === 1
        ? [given]
        : keyColumns.map(({ name }) => (given as Record<string, unknown> | null)?.[name]);
    for (const [n, { name, type }] of keyColumns.entries()) {
      const wrong = wrongValue(type, values[n]);
      if (wrong !== null) throw new Error(`the key ${name} ${wrong}`);
    }
    return values as RowKey[number][];
  }

  return {
    keys(given) {
      if (given === null) return [];
      if (!Array.isArray(given)) return [keyOf(given)];
      if (given.length > maxKeys) throw new Error(`an event changes at most ${maxKeys} rows, not ${given.length}`);
      const found = new Map(given.map((one) => [JSON.stringify(keyOf(one)), keyOf(one)]));
      return [...found.values()];
    },
    row(given, key) {
      if (given === null) return null;
      if (typeof given === "object" && typeof (given as { then?: unknown }).then === "function")
        throw new Error("it gave a promise: a fold waits for nothing");
      const found = violations(given);
      if (found !== null) throw new Error(`it gave a row that its schema refuses: ${inWords(found)}`);
      const row = given as Record<string, unknown>;
      for (const name of Object.keys(row)) {
        const value = row[name];
        const column = byName.get(name);
        if (column === undefined) throw new Error(`it gave a row with ${name}, which is none of its properties`);
        if (value === undefined || (value === null && column.presence === "nullable")) continue;
        const wrong = wrongValue(column.type, value);
        if (wrong !== null) throw new Error(`it gave a row whose ${name} ${wrong}`);
      }
      for (const [n, { name }] of keyColumns.entries())
        if (row[name] !== key[n])
          throw new Error(
            `it gave a row of another key: ${name} is ${JSON.stringify(row[name])}, not ${JSON.stringify(key[n])}`,
          );
      return row;
    },
    initial(key) {
      if (initial === null) return null;
      const row = structuredClone(initial) as Record<string, unknown>;
      for (const [n, { name }] of keyColumns.entries()) row[name] = key[n];
      return row;
    },
    givenKey: (key) =>
      keys.length === 1 ? key[0] : Object.freeze(Object.fromEntries(keys.map((name, n) => [name, key[n]]))),
    fromTable: (row) => fromTable(columns, row),
  };
}

/** What keeps a value from coming back from a column as it is; null when nothing does. */
function wrongValue(type: Column["type"], value: unknown): string | null {
  switch (type) {
    case "text":
      return typeof value === "string" ? wrongText(value) : `must be a string, not ${inShort(value)}`;
    case "bigint":
      return Number.isSafeInteger(value) ? null : `must be an integer of at most 2^53, not ${inShort(value)}`;
    case "double precision":
      return Number.isFinite(value) ? null : `must be a finite number, not ${inShort(value)}`;
    case "boolean":
      return typeof value === "boolean" ? null : `must be true or false, not ${inShort(value)}`;
    case "jsonb":
      return wrongJson(value);
    default:
      return type satisfies never;
  }
}

function wrongText(text: string): string | null {
  if (text.includes("\0")) return "holds U+0000, which the database does not take";
  return text.isWellFormed() ? null : "holds half a surrogate pair, which is no character";
}

function wrongJson(value: unknown): string | null {
  if (value === null || typeof value === "boolean") return null;
  if (typeof value === "string") return wrongText(value);
  if (typeof value === "number") return Number.isFinite(value) ? null : `holds ${value}, which is no JSON`;
  if (Array.isArray(value)) return first(value);
  const prototype: unknown = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
  if (prototype !== Object.prototype && prototype !== null) return `holds ${inShort(value)}, which is no JSON`;
  const entries = Object.entries(value as object).filter(([, member]) => member !== undefined);
  return first(entries.map(([name]) => name)) ?? first(entries.map(([, member]) => member));
}

function first(values: readonly unknown[]): string | null {
  for (const value of values) {
    const wrong = wrongJson(value);
    if (wrong !== null) return wrong;
  }
  return null;
}

function inShort(value: unknown): string {
  if (typeof value === "object" && value !== null) return value.constructor?.name ?? "an object";
  return String(typeof value === "string" ? JSON.stringify(value) : value).slice(0, 100);
}
