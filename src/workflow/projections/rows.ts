// Reads the rows of a fold's table, by key or page by page in the order of keys; what is known of the table is its generation's.
import type postgres from "postgres";
import type { Sql } from "../../storage/pool.ts";
import { type Column, fromTable, quoted } from "./columns.ts";
import type { Row, RowKey } from "./definition.ts";
import { type About, foldTable } from "./generation.ts";

export type RowsOf = { schemaName: string; about: About };

type Reader = Sql | postgres.TransactionSql;

const keyColumns = ({ keys, columns }: About) =>
  keys.map((name) => columns.find((column) => column.name === name) as Column);

/** The row of a key; null when there is none. */
export async function readRow(sql: Reader, of: RowsOf, key: RowKey): Promise<Row | null> {
  return (await select(sql, of, "=", key, 1))[0] ?? null;
}

/** Rows behind a key, or from the first on. */
export function readRows(sql: Reader, of: RowsOf, after: RowKey | null, limit: number): Promise<Row[]> {
  return select(sql, of, ">", after, limit);
}

async function select(
  sql: Reader,
  { schemaName, about }: RowsOf,
  relation: "=" | ">",
  key: RowKey | null,
  limit: number,
): Promise<Row[]> {
  const columns = keyColumns(about);
  const names = columns.map(({ name }) => `t.${quoted(name)}`).join(", ");
  const places = columns.map(({ type }, n) => `$${n + 1}::text::${type}`).join(", ");
  const where = key === null ? "" : `where (${names}) ${relation} (${places})`;
  const rows = await sql.unsafe<{ row: string }[]>(
    `select row_to_json(t)::text as row from ${quoted(schemaName)}.${foldTable} t ${where} order by ${names} limit ${limit}`,
    key === null ? [] : key.map(String),
    { prepare: true },
  );
  return rows.map(({ row }) => fromTable(about.columns, JSON.parse(row) as Record<string, unknown>));
}

/** A key as it stands in a URL: the value, or a JSON array of several. Null: it is none of this table. */
export function parseKey(about: About, text: string): RowKey | null {
  const columns = keyColumns(about);
  if (columns.length === 1) {
    const value = parseValue(columns[0] as Column, text);
    return value === null ? null : [value];
  }
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(given) || given.length !== columns.length) return null;
  const values = columns.map((column, n) => (isValue(column, given[n]) ? given[n] : null));
  return values.includes(null) ? null : (values as RowKey[number][]);
}

/** The key of a row, as `parseKey` takes it. */
export function printKey({ keys }: About, row: Row): string {
  const [first] = keys;
  return keys.length === 1 ? String(row[first as string]) : JSON.stringify(keys.map((name) => row[name]));
}

/** A key as handlers have it: the value, or an object of several. */
export function keyFrom({ keys }: About, given: unknown): RowKey {
  const values = keys.length === 1 ? [given] : keys.map((name) => (given as Record<string, unknown>)[name]);
  return values as RowKey[number][];
}

function parseValue(column: Column, text: string): string | number | boolean | null {
  const value =
    column.type === "text" ? text : column.type === "boolean" ? { true: true, false: false }[text] : parseInteger(text);
  return isValue(column, value) ? value : null;
}

const parseInteger = (text: string) => (/^-?\d{1,16}$/.test(text) ? Number(text) : null);

function isValue({ type }: Column, value: unknown): value is string | number | boolean {
  if (type === "text") return typeof value === "string" && value.isWellFormed() && !value.includes("\0");
  return type === "boolean" ? typeof value === "boolean" : Number.isSafeInteger(value);
}
