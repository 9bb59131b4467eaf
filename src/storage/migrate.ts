// Brings the schema of a database to the version of this program, in one transaction.
import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import type { Log } from "../base/log.ts";
import { type MigrationFiles, readMigrationFiles, type SqlFile } from "./migration-files.ts";

export interface MigrateOptions {
  schema: string;
  /** The folder with `migrations`, `functions` and `views`; the program's own by default. */
  dir?: string;
  log: Pick<Log, "info">;
}

export interface MigrateResult {
  from: number;
  to: number;
  /** The files that were applied, in order: migrations, then functions and views. */
  applied: string[];
}

export interface SchemaStatus {
  /** The database's version; 0 for none. */
  current: number;
  /** The program's version. */
  target: number;
  /** The migrations to come, by file. */
  pending: string[];
  /** Whether the functions and views in the database are this program's. */
  functions: "current" | "outdated";
}

interface AppliedRow {
  version: number;
  name: string;
  checksum: string;
}

// Functions and views have no version of their own: one row holds the checksum of all of them.
const routinesVersion = 0;
const oldestPostgres = 14;
const lockPollMs = 100;
// An ALTER that waits for a reader makes all others wait behind it.
const ddlLockTimeout = "60s";

/**
 * Returns the `search_path` for a connection that works in the schema: set it in the pool's `connection` options. The SQL
 * files name no schema, and functions carry no SET clause with it (it costs at every call): they rely on this path.
 * Built-in names come first, implicitly; temporary tables last, so that none can stand in for one of ours.
 */
export function searchPath(schema: string): string {
  return `${quoteSchema(schema)}, pg_temp`;
}

/** Returns the schema's name quoted for SQL; throws if Postgres would not take it as it is (63 bytes at most). */
export function quoteSchema(schema: string): string {
  const bytes = Buffer.byteLength(schema);
  if (bytes < 1 || bytes > 63 || schema.includes("\0") || /^pg_/i.test(schema) || schema === "information_schema") {
    throw new Error(`"${schema}" cannot be the name of a schema: 1 to 63 bytes, not beginning with pg_`);
  }
  return `"${schema.replaceAll('"', '""')}"`;
}

/**
 * Applies the pending migrations, then all functions and views if any of them changed (or a migration was applied), and
 * removes functions and views that no file has any more. All or nothing, under a lock: concurrent callers wait for one
 * another. Because it is one transaction, a file can neither commit nor use CONCURRENTLY.
 * Throws if an applied file has changed, the database is newer than the program, or a file fails (naming file and line).
 */
export async function migrate(sql: postgres.Sql, { schema, dir, log }: MigrateOptions): Promise<MigrateResult> {
  const path = searchPath(schema);
  const files = await readMigrationFiles(dir);
  const result = await sql.begin("isolation level read committed", async (tx) => {
    await checkServer(tx);
    await tx`select set_config('statement_timeout', '0', true), set_config('client_min_messages', 'warning', true),
                    set_config('idle_in_transaction_session_timeout', '0', true)`;
    await lock(tx, schema, log);
    await tx`select set_config('lock_timeout', ${ddlLockTimeout}, true)`;
    await createSchema(tx, schema);
    await tx`select set_config('search_path', ${path}, true)`;
    await tx.unsafe(`create table if not exists migrations (
      version integer primary key,
      name text not null,
      checksum text not null,
      applied_at timestamptz not null default now()
    )`);
    return applyAll(tx, schema, files);
  });
  if (result.applied.length > 0) log.info({ schema, ...result }, "Migrated the database");
  return result;
}

/** Compares the database with the program, changing nothing. Throws if an applied migration's file has changed. */
export async function status(
  sql: postgres.Sql,
  { schema, dir }: Pick<MigrateOptions, "schema" | "dir">,
): Promise<SchemaStatus> {
  const files = await readMigrationFiles(dir);
  await checkServer(sql);
  const table = `${quoteSchema(schema)}.migrations`;
  const [found] = await sql`select to_regclass(${table}) is not null as migrated`;
  const rows: AppliedRow[] = found?.migrated ? await sql.unsafe(`select version, name, checksum from ${table}`) : [];
  const current = currentVersion(rows);
  checkUnchanged(rows, files);
  return {
    current,
    target: files.migrations.length,
    pending: files.migrations.filter(({ version }) => version > current).map(({ path }) => path),
    functions: routinesAreCurrent(rows, files) ? "current" : "outdated",
  };
}

/** Throws an error that names the found and the needed version and the command, unless the database is up to date. */
export async function assertCurrent(sql: postgres.Sql, options: Pick<MigrateOptions, "schema" | "dir">): Promise<void> {
  const { current, target, functions } = await status(sql, options);
  if (current > target) throw tooNew(current, target);
  const remedy = "run ./scripts/migrate, or start with AUTO_MIGRATE=true";
  if (current < target) {
    throw new Error(
      `Schema ${options.schema} is at version ${current}, this program needs version ${target}: ${remedy}`,
    );
  }
  if (functions === "outdated") {
    throw new Error(`Schema ${options.schema} is at version ${current}, but its functions are outdated: ${remedy}`);
  }
}

async function applyAll(tx: postgres.TransactionSql, schema: string, files: MigrationFiles): Promise<MigrateResult> {
  const rows = await tx<AppliedRow[]>`select version, name, checksum from migrations`;
  const [from, to] = [currentVersion(rows), files.migrations.length];
  if (from > to) throw tooNew(from, to);
  checkUnchanged(rows, files);

  const applied: string[] = [];
  for (const { version, name, path, text, checksum } of files.migrations.slice(from)) {
    await run(tx, { path, text, checksum });
    await tx`insert into migrations (version, name, checksum) values (${version}, ${name}, ${checksum})`;
    applied.push(path);
  }
  if (applied.length > 0 || !routinesAreCurrent(rows, files)) {
    await applyRoutines(tx, schema, files);
    await tx`insert into migrations (version, name, checksum)
      values (${routinesVersion}, 'functions and views', ${files.routinesChecksum})
      on conflict (version) do update set checksum = excluded.checksum, applied_at = excluded.applied_at`;
    applied.push(...[...files.functions, ...files.views].map(({ path }) => path));
  }
  return { from, to, applied };
}

// Functions may call each other and read views, whatever the order of their files: their bodies are checked in a second
// round, when everything is there.
async function applyRoutines(tx: postgres.TransactionSql, schema: string, files: MigrationFiles): Promise<void> {
  await tx`select set_config('check_function_bodies', 'off', true)`;
  for (const file of [...files.functions, ...files.views]) await run(tx, file);
  await tx`select set_config('check_function_bodies', 'on', true)`;
  for (const file of files.functions) await run(tx, file);
  await dropAbandoned(tx, schema);
}

// What this transaction has not written has no file any more. A database that was migrated would otherwise keep
// functions that a fresh one has not.
async function dropAbandoned(tx: postgres.TransactionSql, schema: string): Promise<void> {
  const namespace = quoteSchema(schema);
  const drops = await tx<{ statement: string }[]>`
    with own as (
      select oid, 'pg_class'::regclass as catalog, 1 as turn, xmin, format('view %I', relname) as object
        from pg_class where relnamespace = ${namespace}::regnamespace and relkind = 'v'
      union all
      select oid, 'pg_proc'::regclass, 2, xmin, format(
          '%s %I(%s)',
          case prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end,
          proname, pg_get_function_identity_arguments(oid))
        from pg_proc where pronamespace = ${namespace}::regnamespace
    )
    select 'drop ' || object as statement from own
     where xmin::text::bigint <> txid_current() & 4294967295
       and not exists (select from pg_depend d where d.classid = catalog and d.objid = own.oid and d.deptype = 'e')
     order by turn, own.oid desc`;
  for (const { statement } of drops) {
    await tx.unsafe(statement).catch((error) => {
      throw new Error(`No file has it any more, but "${statement}" fails: ${error.message}`, { cause: error });
    });
  }
}

async function run(tx: postgres.TransactionSql, { path, text }: SqlFile): Promise<void> {
  await tx.unsafe(text).catch((error) => {
    const line = error.position ? `:${text.slice(0, Number(error.position)).split("\n").length}` : "";
    throw new Error(`sql/${path}${line} fails: ${error.message}`, { cause: error });
  });
}

async function lock(tx: postgres.TransactionSql, schema: string, log: MigrateOptions["log"]): Promise<void> {
  for (let tries = 0; ; tries++) {
    const [row] = await tx`select pg_try_advisory_xact_lock(hashtext('sluice migrate'), hashtext(${schema})) as mine`;
    if (row?.mine) return;
    if (tries % 100 === 1) log.info({ schema }, "Waiting for another process that migrates the database");
    await sleep(lockPollMs);
  }
}

// CREATE SCHEMA IF NOT EXISTS needs a right on the database even where the schema exists.
async function createSchema(tx: postgres.TransactionSql, schema: string): Promise<void> {
  const [found] = await tx`select from pg_namespace where nspname = ${schema}`;
  if (!found) await tx.unsafe(`create schema ${quoteSchema(schema)}`);
}

async function checkServer(sql: postgres.Sql | postgres.TransactionSql): Promise<void> {
  const [row] = await sql`select current_setting('server_version_num')::int / 10000 as version,
                                 current_setting('server_encoding') as encoding`;
  if (row?.version < oldestPostgres) {
    throw new Error(`The server is PostgreSQL ${row?.version}, this program needs ${oldestPostgres} or newer`);
  }
  if (row?.encoding !== "UTF8") throw new Error(`The database's encoding is ${row?.encoding}, this program needs UTF8`);
}

function currentVersion(rows: readonly AppliedRow[]): number {
  return Math.max(0, ...rows.map(({ version }) => version));
}

function routinesAreCurrent(rows: readonly AppliedRow[], files: MigrationFiles): boolean {
  return rows.some(({ version, checksum }) => version === routinesVersion && checksum === files.routinesChecksum);
}

function checkUnchanged(rows: readonly AppliedRow[], { migrations }: MigrationFiles): void {
  for (const { version, path, checksum } of migrations) {
    const row = rows.find((applied) => applied.version === version);
    if (!row || row.checksum === checksum) continue;
    throw new Error(
      `sql/${path} was changed after it had been applied (as ${row.name}): put it back, and write a new migration`,
    );
  }
}

function tooNew(current: number, target: number): Error {
  return new Error(
    `The database is at version ${current}, this program knows up to ${target}: start a newer version of the program`,
  );
}
