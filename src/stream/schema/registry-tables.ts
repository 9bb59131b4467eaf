// The schema registry as it stands in the database.
import type { Sql } from "../../storage/pool.ts";
import type { Compatibility, SchemaVersion, Upcast } from "./schema-version.ts";

/** What a process keeps of a version to upcast to it. */
export type IndexedVersion = Pick<SchemaVersion, "upcast" | "readsPrevious">;

/** What has changed since a revision of the registry: types with all their versions, in order. */
export type RegistryChanges = { revision: number; types: Map<string, IndexedVersion[]> };

type VersionRow = {
  type: string;
  version: number | null;
  description: string | null;
  upcast_language: "jsonata" | "code" | null;
  upcast_expression: string | null;
  reads_previous: boolean;
  registered_at: string;
  registered_by: string;
};

function upcastOf({ upcast_language, upcast_expression }: VersionRow): Upcast | null {
  if (upcast_language === "code") return { language: "code" };
  return upcast_language === null ? null : { language: "jsonata", expression: upcast_expression as string };
}

function fromRow(row: VersionRow): SchemaVersion {
  return {
    type: row.type,
    version: row.version as number,
    description: row.description,
    upcast: upcastOf(row),
    readsPrevious: row.reads_previous,
    registeredAt: row.registered_at,
    registeredBy: row.registered_by,
  };
}

export async function readChanges(sql: Sql, since: number): Promise<RegistryChanges> {
  // The revision first: what changes in between is read once more the next time.
  const [registry] = await sql<{ revision: string }[]>`select revision from schema_registry`;
  const revision = Number(registry?.revision ?? 0);
  const types = new Map<string, IndexedVersion[]>();
  if (revision === since) return { revision, types };
  const rows = await sql<VersionRow[]>`
    select t.type, v.version, v.upcast_language, v.upcast_expression, v.reads_previous
    from schema_types t left join schema_versions v using (type)
    where t.revision > ${since} order by t.type, v.version`;
  for (const row of rows) {
    const versions = types.get(row.type) ?? [];
    if (row.version !== null) versions.push({ upcast: upcastOf(row), readsPrevious: row.reads_previous });
    types.set(row.type, versions);
  }
  return { revision, types };
}

/** A type that has versions, or whose compatibility was set. */
export type SchemaType = { type: string; compatibility: Compatibility; latest: number };

/** A page of the types in the order of their names by code point; those without versions are left out. */
export async function listTypes(
  sql: Sql,
  { prefix, after, limit }: { prefix: string; after: string; limit: number },
): Promise<SchemaType[]> {
  const rows = await sql<SchemaType[]>`
    select t.type, t.compatibility, max(v.version) as latest from schema_types t join schema_versions v using (type)
    where t.type > ${after} and t.type >= ${prefix} and starts_with(t.type, ${prefix})
    group by t.type, t.compatibility order by t.type limit ${limit}`;
  return [...rows];
}

/** Null when nothing is known of the type. */
export async function readType(
  sql: Sql,
  type: string,
): Promise<{ compatibility: Compatibility; versions: SchemaVersion[] } | null> {
  const [found] = await sql<{ compatibility: Compatibility }[]>`
    select t.compatibility from schema_types t where t.type = ${type}`;
  if (found === undefined) return null;
  const rows = await sql<VersionRow[]>`
    select v.type, v.version, v.description, v.upcast_language, v.upcast_expression, v.reads_previous, v.registered_at, v.registered_by
    from schema_versions v where v.type = ${type} order by v.version`;
  return { compatibility: found.compatibility, versions: rows.map(fromRow) };
}

/** With the text of the schema, as JSON on one line; null when there is no such version. */
export async function readVersion(
  sql: Sql,
  type: string,
  version: number,
): Promise<(SchemaVersion & { schema: string; contentHash: string }) | null> {
  const [row] = await sql<(VersionRow & { schema: string; content_hash: string })[]>`
    select v.type, v.version, v.description, v.upcast_language, v.upcast_expression, v.reads_previous, v.registered_at, v.registered_by,
           v.schema::text as schema, v.content_hash
    from schema_versions v where v.type = ${type} and v.version = ${version}`;
  return row === undefined ? null : { ...fromRow(row), schema: row.schema, contentHash: row.content_hash };
}

/** One change of a type or of its versions; `detail` is what it is since. */
export type SchemaChangeRecord = {
  id: string;
  version: string | null;
  change: "registered" | "upcaster" | "description" | "compatibility" | "deleted";
  detail: unknown;
  by: string;
  at: string;
};

/** A page of what became of a type, oldest first. */
export async function readHistory(sql: Sql, type: string, after: number, limit: number): Promise<SchemaChangeRecord[]> {
  const rows = await sql<(Omit<SchemaChangeRecord, "detail"> & { detail: string | null })[]>`
    select c.id, c.version::text as version, c.change, c.detail::text as detail, c.changed_by as by, c.changed_at as at
    from schema_changes c where c.type = ${type} and c.id > ${after} order by c.id limit ${limit}`;
  return rows.map((row) => ({ ...row, detail: row.detail === null ? null : JSON.parse(row.detail) }));
}

export type VersionChange = {
  type: string;
  version: number;
  /** JSON text. */
  schema: string;
  contentHash: string;
  description: string | null;
  upcast: Upcast | "keep" | "keep-expression" | null;
  readsPrevious: boolean;
  by: string;
  /** What the caller judged by. */
  compatibility: Compatibility;
  previousHash: string | null;
};

export type RegisterOutcome = "created" | "changed" | "unchanged" | "conflict" | "gap" | "stale";

export async function callSchemaRegister(
  sql: Sql,
  c: VersionChange,
): Promise<{ outcome: RegisterOutcome; latest: number }> {
  const language = typeof c.upcast === "string" ? c.upcast : (c.upcast?.language ?? "none");
  const expression = typeof c.upcast !== "string" && c.upcast?.language === "jsonata" ? c.upcast.expression : null;
  const rows = await sql<{ outcome: RegisterOutcome; latest: number }[]>`
    select outcome, latest from schema_register(
      ${c.type}, ${c.version}, ${c.schema}, ${c.contentHash}, ${c.description}, ${language}, ${expression},
      ${c.readsPrevious}, ${c.by}, ${c.compatibility}, ${c.previousHash})`;
  return rows[0] as { outcome: RegisterOutcome; latest: number };
}

export async function callSchemaConfigure(
  sql: Sql,
  type: string,
  compatibility: Compatibility,
  by: string,
): Promise<void> {
  await sql`select schema_configure(${type}, ${compatibility}, ${by})`;
}

export async function callSchemaDelete(
  sql: Sql,
  type: string,
  version: number,
  by: string,
): Promise<"deleted" | "not-found" | "older" | "received"> {
  const rows = await sql<{ outcome: "deleted" | "not-found" | "older" | "received" }[]>`
    select schema_delete(${type}, ${version}, ${by}) as outcome`;
  return (rows[0] as (typeof rows)[0]).outcome;
}
