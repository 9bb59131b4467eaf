// A generation of a projection: one set of its tables, made by one definition, and how far it has come.
import type postgres from "postgres";
import { contentHash } from "../../base/ids.ts";
import type { Sql } from "../../storage/pool.ts";
import type { Column } from "./columns.ts";
import { type ProjectionDefinition, typesOf } from "./definition.ts";

/** `live` answers, `building` is to take its place, `snapshot` is a copy that stays as it is, `retired` is about to be dropped. */
export type Role = "live" | "building" | "snapshot" | "retired";

/** What is known of a generation's tables without the module that made them. */
export type About = {
  form: ProjectionDefinition["form"];
  /** Null: all persistent ones. */
  streams: readonly string[] | null;
  /** Null: all. */
  types: readonly string[] | null;
  /** Of a fold's table; none where handlers write SQL. */
  keys: readonly string[];
  columns: readonly Column[];
};

export type Generation = {
  projection: string;
  generation: number;
  role: Role;
  schemaName: string;
  /** Equal for definitions whose tables can stand in for one another. */
  definition: string;
  version: number;
  about: About;
  /** Everything up to here is in the tables. */
  position: number;
  events: number;
  paused: boolean;
  failedPosition: number | null;
  attempts: number;
  halted: boolean;
  failures: number;
  lastError: string | null;
  lastErrorAt: string | null;
  createdAt: string;
  /** For how long it has its role, in milliseconds. */
  inRoleMs: number;
};

export type GenerationRow = {
  projection: string;
  generation: number;
  role: Role;
  schema_name: string;
  definition: string;
  version: number;
  about: string;
  position: string;
  events: string;
  paused: boolean;
  failed_position: string | null;
  attempts: number;
  halted: boolean;
  failures: string;
  last_error: string | null;
  last_error_at: string | null;
  created_at: string;
  in_role_ms: number;
};

export function fromGenerationRow(row: GenerationRow): Generation {
  return {
    projection: row.projection,
    generation: row.generation,
    role: row.role,
    schemaName: row.schema_name,
    definition: row.definition,
    version: row.version,
    about: JSON.parse(row.about) as About,
    position: Number(row.position),
    events: Number(row.events),
    paused: row.paused,
    failedPosition: row.failed_position === null ? null : Number(row.failed_position),
    attempts: row.attempts,
    halted: row.halted,
    failures: Number(row.failures),
    lastError: row.last_error,
    lastErrorAt: row.last_error_at,
    createdAt: row.created_at,
    inRoleMs: Number(row.in_role_ms),
  };
}

/** The columns of a generation, for `fromGenerationRow`. */
export function generationColumns(sql: Sql | postgres.TransactionSql) {
  return sql`
    g.projection, g.generation, g.role, g.schema_name, g.definition, g.version, g.about::text as about, g.position, g.events, g.paused,
    g.failed_position, g.attempts, g.halted, g.failures, g.last_error, g.last_error_at, g.created_at,
    (extract(epoch from clock_timestamp() - g.role_since) * 1000)::float8 as in_role_ms`;
}

/** All generations of a projection, in the order in which they were made. */
export async function readGenerations(sql: Sql, projection: string): Promise<Generation[]> {
  const rows = await sql<GenerationRow[]>`
    select ${generationColumns(sql)} from projection_generations g where g.projection = ${projection} order by g.generation`;
  return rows.map(fromGenerationRow);
}

export async function readGeneration(sql: Sql, projection: string, generation: number): Promise<Generation | null> {
  const [row] = await sql<GenerationRow[]>`
    select ${generationColumns(sql)} from projection_generations g
    where g.projection = ${projection} and g.generation = ${generation}`;
  return row === undefined ? null : fromGenerationRow(row);
}

/** Up to where the tables that answer have come; null where there are none. */
export async function readLivePosition(sql: Sql, projection: string): Promise<number | null> {
  const [row] = await sql<{ position: string }[]>`
    select g.position from projection_generations g where g.projection = ${projection} and g.role = 'live'`;
  return row === undefined ? null : Number(row.position);
}

export function aboutOf(definition: ProjectionDefinition): About {
  const { form, streams } = definition;
  const [keys, columns] = form === "fold" ? [definition.keys, definition.columns] : [[], []];
  return { form, streams, types: typesOf(definition), keys, columns };
}

/** Another one where the tables have to be built anew: another version, other columns, streams or types. */
export function definitionHash(definition: ProjectionDefinition): string {
  const initial = definition.form === "fold" ? definition.initial : null;
  return contentHash([JSON.stringify([definition.version, aboutOf(definition), initial])]);
}

const maxSchemaBytes = 63;

/** The schema of a generation's tables: `{schema}_p_{projection}_{generation}`, with a hash in the place of what is too long. */
export function generationSchema(schema: string, projection: string, generation: number): string {
  const end = `_${generation}`;
  const full = `${schema}_p_${projection.replaceAll("-", "_")}`;
  if (full.length + end.length <= maxSchemaBytes) return full + end;
  const hash = contentHash([schema, projection]).slice(0, 8);
  return `${full.slice(0, maxSchemaBytes - end.length - hash.length - 1)}_${hash}${end}`;
}

/** The schema of the views by which people read: `{schema}_read`. */
export const readSchema = (schema: string) => `${schema}_read`;

/** The table of a fold, in the schema of its generation. */
export const foldTable = "rows";

/** The lease of a projection: who holds it runs it. */
export const leaseOf = (projection: string) => `projection:${projection}`;
