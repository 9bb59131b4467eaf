// Makes, copies, swaps and drops the tables of projections' generations.
import { randomUUID } from "node:crypto";
import type postgres from "postgres";
import { contentHash } from "../../base/ids.ts";
import type { HeldLease } from "../../storage/lease.ts";
import { quoteSchema, searchPath } from "../../storage/migrate.ts";
import type { Sql } from "../../storage/pool.ts";
import { withTimeLimit } from "../handlers/time-limit.ts";
import { createTable, quoted } from "./columns.ts";
import type { ProjectionDefinition, ProjectionSql } from "./definition.ts";
import {
  aboutOf,
  definitionHash,
  foldTable,
  type Generation,
  generationSchema,
  leaseOf,
  readSchema,
} from "./generation.ts";

type Transaction = postgres.TransactionSql;

/** How long the tables of a projection may take to be made, in milliseconds. */
const tablesMs = 60_000;
/** DDL that waits for a reader makes all others wait behind it. */
const ddlLockTimeout = "500ms";
/** How long nobody can begin to run a projection that is being removed. */
const removalLease = "60s";

/** Notes that there is such a projection; what is known of it stays. */
export async function enrol(sql: Sql, { name, description, autoStart }: ProjectionDefinition): Promise<void> {
  await sql`
    insert into projections (name, description, paused) values (${name}, ${description}, ${!autoStart})
    on conflict (name) do update set description = excluded.description
      where projections.description is distinct from excluded.description`;
}

/** The next number of a generation. Numbers that come to nothing are not used again. */
async function nextNumber(sql: Sql, projection: string): Promise<number> {
  const [row] = await sql<{ last_generation: number }[]>`
    update projections set last_generation = last_generation + 1 where name = ${projection} returning last_generation`;
  return row?.last_generation as number;
}

/** Makes a generation as the definition has it: empty, or with what a snapshot holds. It is there when this resolves, or nothing is. */
export async function makeGeneration(
  sql: Sql,
  serviceSchema: string,
  definition: ProjectionDefinition,
  { role, from, lease }: { role: "live" | "building"; from: Generation | null; lease: HeldLease },
): Promise<void> {
  const { name, version } = definition;
  const generation = await nextNumber(sql, name);
  const schemaName = generationSchema(serviceSchema, name, generation);
  await sql.begin(async (transaction) => {
    await makeTables(transaction, definition, schemaName);
    if (from !== null) await copyTables(transaction, from.schemaName, schemaName);
    await enter(transaction, serviceSchema);
    // From here on the lease's row is held: whoever looks after the projection comes again.
    await transaction`select set_config('lock_timeout', ${ddlLockTimeout}, true)`;
    await transaction`
      select projection_generation_add(
        ${name}, ${generation}, ${role}, ${schemaName}, ${definitionHash(definition)}, ${version}, ${JSON.stringify(aboutOf(definition))}::text::json,
        ${from?.position ?? -1}, ${from?.events ?? 0}, ${lease.owner}, ${lease.epoch})`;
    if (role === "live") await showTables(transaction, serviceSchema, name, schemaName, definition.form);
  });
}

/**
 * Copies the live generation of the definition as it is at one moment, while it is written on. Returns false when there is none.
 */
export async function takeSnapshot(
  sql: Sql,
  serviceSchema: string,
  definition: ProjectionDefinition,
): Promise<boolean> {
  const { name } = definition;
  const generation = await nextNumber(sql, name);
  const schemaName = generationSchema(serviceSchema, name, generation);
  // All that the transaction reads, tables and position, is of its first statement.
  return sql.begin("isolation level repeatable read", async (transaction) => {
    const [live] = await transaction<{ generation: number; schema_name: string }[]>`
      select generation, schema_name from projection_generations
      where projection = ${name} and role = 'live' and definition = ${definitionHash(definition)}`;
    if (live === undefined) return false;
    await makeTables(transaction, definition, schemaName);
    await copyTables(transaction, live.schema_name, schemaName);
    await enter(transaction, serviceSchema);
    await transaction`
      insert into projection_generations
          (projection, generation, role, schema_name, definition, version, about, position, events, paused)
        select projection, ${generation}, 'snapshot', ${schemaName}, definition, version, about, position, events, paused
        from projection_generations where projection = ${name} and generation = ${live.generation}`;
    return true;
  });
}

/** Makes the generation that is being built the live one, if it has come as far as that. */
export async function swap(
  sql: Sql,
  serviceSchema: string,
  { projection, generation, schemaName, about }: Generation,
  lease: HeldLease,
): Promise<boolean> {
  return sql.begin(async (transaction) => {
    await transaction`select set_config('lock_timeout', ${ddlLockTimeout}, true)`;
    const [row] = await transaction<{ swapped: boolean }[]>`
      select projection_swap(${projection}, ${generation}, ${lease.owner}, ${lease.epoch}) as swapped`;
    if (row?.swapped !== true) return false;
    await showTables(transaction, serviceSchema, projection, schemaName, about.form);
    return true;
  });
}

/** Drops the tables of a generation that nobody uses any more. */
export async function dropGeneration(sql: Sql, { projection, generation, schemaName }: Generation): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`select set_config('lock_timeout', ${ddlLockTimeout}, true)`;
    const dropped = await transaction`
      delete from projection_generations
      where projection = ${projection} and generation = ${generation} and role in ('retired', 'snapshot') returning 1`;
    if (dropped.length > 0) await transaction.unsafe(`drop schema if exists ${quoteSchema(schemaName)} cascade`);
  });
}

/**
 * Removes a projection that no process runs, with its tables and views. Returns false when one does: who removes it holds its lease
 * meanwhile.
 */
export async function removeProjection(sql: Sql, serviceSchema: string, projection: string): Promise<boolean> {
  const owner = randomUUID();
  const names = `{"${leaseOf(projection)}"}`;
  const held = await sql`select held from lease_hold(${owner}, ${names}::text[], ${removalLease}::text::interval)`;
  if (held.length === 0) return false;
  try {
    await sql.begin(async (transaction) => {
      await transaction`select set_config('lock_timeout', ${ddlLockTimeout}, true)`;
      const generations = await transaction<{ schema_name: string }[]>`
        select schema_name from projection_generations where projection = ${projection}`;
      await transaction`delete from projections where name = ${projection}`;
      const views = readSchema(serviceSchema);
      const shown = await transaction<{ name: string }[]>`
        select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = ${views} and obj_description(c.oid, 'pg_class') = ${viewMark(projection)}`;
      for (const { name } of shown) await transaction.unsafe(`drop view ${quoteSchema(views)}.${quoted(name)}`);
      for (const { schema_name } of generations)
        await transaction.unsafe(`drop schema if exists ${quoteSchema(schema_name)} cascade`);
    });
  } finally {
    await sql`select lease_release(${owner}, ${names}::text[])`;
  }
  return true;
}

async function enter(transaction: Transaction, schema: string): Promise<void> {
  await transaction`select set_config('search_path', ${searchPath(schema)}, true)`;
}

async function makeTables(
  transaction: Transaction,
  definition: ProjectionDefinition,
  schemaName: string,
): Promise<void> {
  await transaction.unsafe(`create schema ${quoteSchema(schemaName)}`);
  await enter(transaction, schemaName);
  if (definition.form === "fold") await transaction.unsafe(createTable(foldTable, definition.columns, definition.keys));
  else await withTimeLimit(tablesMs, () => definition.tables(transaction as ProjectionSql));
}

/** The tables of a schema, those first that were made first: what refers to others was made behind them. */
async function tablesOf(transaction: Transaction, schemaName: string): Promise<string[]> {
  const rows = await transaction<{ name: string }[]>`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schemaName} and c.relkind in ('r', 'p') and not c.relispartition order by c.oid`;
  return rows.map(({ name }) => name);
}

async function copyTables(transaction: Transaction, from: string, to: string): Promise<void> {
  const [source, target] = [quoteSchema(from), quoteSchema(to)];
  for (const table of await tablesOf(transaction, to)) {
    const columns = await transaction<{ list: string }[]>`
      select string_agg(quote_ident(a.attname), ', ' order by a.attnum) as list from pg_attribute a
      where a.attrelid = format('%I.%I', ${to}::text, ${table}::text)::regclass
        and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''`;
    const list = columns[0]?.list ?? null;
    if (list === null) continue;
    await transaction.unsafe(
      `insert into ${target}.${quoted(table)} (${list}) overriding system value select ${list} from ${source}.${quoted(table)}`,
    );
  }
  const sequences = await transaction<{ name: string }[]>`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${to} and c.relkind = 'S'`;
  for (const { name } of sequences)
    await transaction.unsafe(
      `select setval('${target}.${quoted(name)}'::regclass, last_value, is_called) from ${source}.${quoted(name)}`,
    );
}

const maxNameBytes = 63;

/** Says of a view whose it is. */
export const viewMark = (projection: string) => `Of the projection ${projection}`;

/** The name of the view by which people read a table of a projection. */
function viewName(projection: string, table: string, form: ProjectionDefinition["form"]): string {
  const base = projection.replaceAll("-", "_");
  const full = form === "fold" || table === base ? base : `${base}__${table}`;
  if (Buffer.byteLength(full) <= maxNameBytes) return full;
  return `${full.slice(0, 40)}_${contentHash([full]).slice(0, 8)}`;
}

/** Lets the views by which people read lead to the tables of this generation. */
async function showTables(
  transaction: Transaction,
  serviceSchema: string,
  projection: string,
  schemaName: string,
  form: ProjectionDefinition["form"],
): Promise<void> {
  const views = readSchema(serviceSchema);
  const find = () => transaction`select from pg_namespace where nspname = ${views}`;
  if ((await find()).length === 0) {
    // Of several projections that begin at once, one makes it.
    await transaction`select pg_advisory_xact_lock(hashtext('sluice views of projections'), hashtext(${views}))`;
    if ((await find()).length === 0) await transaction.unsafe(`create schema ${quoteSchema(views)}`);
  }
  const mark = viewMark(projection);
  const known = await transaction<{ name: string; mark: string | null; columns: string }[]>`
    select c.relname as name, obj_description(c.oid, 'pg_class') as mark, ${columnList(transaction)} as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = ${views}`;
  const tables = await transaction<{ name: string; columns: string }[]>`
    select c.relname as name, ${columnList(transaction)} as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schemaName} and c.relkind in ('r', 'p') and not c.relispartition order by c.oid`;
  const wanted = tables.map((table) => ({ ...table, view: viewName(projection, table.name, form) }));
  for (const { name } of known.filter((view) => view.mark === mark))
    if (!wanted.some(({ view }) => view === name))
      await transaction.unsafe(`drop view ${quoteSchema(views)}.${quoted(name)}`);
  for (const { name, columns, view } of wanted) {
    const named = `${quoteSchema(views)}.${quoted(view)}`;
    const before = known.find((other) => other.name === view);
    if (before !== undefined && before.mark !== mark)
      throw new Error(`the view ${view} in the schema ${views} is not of the projection ${projection}`);
    // Replaced in place, a view keeps its grants and what depends on it; with other columns it cannot be.
    if (before !== undefined && before.columns !== columns) await transaction.unsafe(`drop view ${named}`);
    await transaction.unsafe(
      `create or replace view ${named} as select * from ${quoteSchema(schemaName)}.${quoted(name)}`,
    );
    await transaction.unsafe(`comment on view ${named} is '${mark}'`);
  }
}

/** The columns of the relation c, in one text. */
function columnList(transaction: Transaction) {
  return transaction`(
    select string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum)
    from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)`;
}
