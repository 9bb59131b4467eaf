// The columns of a fold's table, by the schema of its rows.
import type { TObject } from "@sinclair/typebox";
import { checkerOf } from "../handlers/checker.ts";

export type ColumnType = "text" | "bigint" | "double precision" | "boolean" | "jsonb";

export type Column = {
  readonly name: string;
  readonly type: ColumnType;
  /** `optional`: NULL stands for a property that is not there; `nullable`: for one that is null. */
  readonly presence: "required" | "optional" | "nullable";
};

type SchemaOf = {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly SchemaOf[];
};

const maxColumns = 500;
const maxNameBytes = 63;

/** Throws a plain sentence where the schema has no columns, or its key cannot be one. `what`: whose it is. */
export function columnsOf(what: string, row: TObject, keys: readonly string[]): Column[] {
  const properties = Object.entries(row.properties ?? {});
  if (row.type !== "object" || properties.length === 0 || properties.length > maxColumns)
    throw new Error(`${what}: row must be an object with 1 to ${maxColumns} properties`);
  const required = new Set<string>(row.required ?? []);
  const columns = properties.map(([name, schema]): Column => {
    if (name === "" || Buffer.byteLength(name) > maxNameBytes || name.includes("\0"))
      throw new Error(`${what}: ${JSON.stringify(name)} is no name of a column: 1 to ${maxNameBytes} bytes`);
    const takesNull = checkerOf(schema)(null) === null;
    if (takesNull && !required.has(name))
      throw new Error(`${what}: ${name} is optional and may be null: a column has one way of having no value`);
    const presence = takesNull ? "nullable" : required.has(name) ? "required" : "optional";
    return { name, type: typeOf(JSON.parse(JSON.stringify(schema)) as SchemaOf), presence };
  });
  if (keys.length === 0 || new Set(keys).size !== keys.length)
    throw new Error(`${what}: key names one of the row's properties, or several`);
  for (const key of keys) {
    const column = columns.find(({ name }) => name === key);
    if (column === undefined) throw new Error(`${what}: the row has no property ${key} that could be its key`);
    if (column.presence !== "required" || column.type === "jsonb" || column.type === "double precision")
      throw new Error(`${what}: the key ${key} must be a string, an integer or a boolean that is always there`);
  }
  return columns;
}

/** What holds all values of a schema. */
function typeOf(schema: SchemaOf): ColumnType {
  const types = new Set(typesIn(schema));
  types.delete("null");
  const [only, ...others] = types;
  if (others.length === 1 && types.has("integer") && types.has("number")) return "double precision";
  if (others.length > 0) return "jsonb";
  switch (only) {
    case "string":
      return "text";
    case "integer":
      return "bigint";
    case "number":
      return "double precision";
    case "boolean":
      return "boolean";
    default:
      return "jsonb";
  }
}

function typesIn(schema: SchemaOf): string[] {
  if ("const" in schema) return [typeOfValue(schema.const)];
  if (schema.enum !== undefined) return schema.enum.map(typeOfValue);
  if (schema.anyOf !== undefined) return schema.anyOf.flatMap(typesIn);
  if (typeof schema.type === "string") return [schema.type];
  return schema.type === undefined ? ["any"] : [...schema.type];
}

function typeOfValue(value: unknown): string {
  if (value === null) return "null";
  return Number.isInteger(value) ? "integer" : typeof value;
}

/** A name as it stands in SQL. */
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** The statement that makes the table. Texts compare by their code points, as they do in code. */
export function createTable(table: string, columns: readonly Column[], keys: readonly string[]): string {
  const lines = columns.map(({ name, type, presence }) => {
    const collation = type === "text" && keys.includes(name) ? ' collate "C"' : "";
    return `${quoted(name)} ${type}${collation}${presence === "required" ? " not null" : ""}`;
  });
  // Rows that are written again and again stay within their pages.
  return `create table ${table} (${[...lines, `primary key (${keys.map(quoted).join(", ")})`].join(", ")}) with (fillfactor = 80)`;
}

/** A row as it comes from its table: what is NULL for want of the property has none. */
export function fromTable(columns: readonly Column[], row: Record<string, unknown>): Record<string, unknown> {
  for (const { name, presence } of columns) if (presence === "optional" && row[name] === null) delete row[name];
  return row;
}
