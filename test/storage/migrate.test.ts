// Migrations are all or nothing, safe to run side by side, and lead to one schema by every way.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import postgres from "postgres";
import type { Log } from "../../src/base/log.ts";
import { type Embedded, startEmbedded } from "../../src/storage/embedded.ts";
import { assertCurrent, migrate, searchPath, status } from "../../src/storage/migrate.ts";
import { dumpSchema } from "../../src/storage/schema-dump.ts";

const silent = { info() {}, warn() {}, error() {} };
const first = `
  create table logs (id bigint generated always as identity primary key, name text not null unique);
  create table entries (
    log_id bigint not null references logs, "offset" bigint not null, data json, size int default 0 check (size >= 0)
  ) partition by range ("offset");
  create table entries_1 partition of entries for values from (0) to (1000) with (fillfactor = 70);
  create unique index entries_offset on entries_1 (log_id, "offset");
  comment on table logs is 'A log''s name';`;
const second = `
  alter table logs add column kind text not null default 'plain';
  create index logs_kind on logs (kind) where kind <> 'plain';`;
const countEntries = `
  create or replace function entry_count(of_log bigint) returns bigint language sql stable
    as $$ select count(*) from entries where log_id = of_log $$;`;
const nameLength = `
  create or replace function check_name() returns trigger language plpgsql as $$
  begin
    if length(new.name) > 100 then raise exception 'too long: %', new.name; end if;
    return new;
  end $$;
  create or replace trigger logs_name before insert on logs for each row execute function check_name();`;
const busyLogs = "create or replace view busy_logs as select name, entry_count(id) as entries from logs;";
const both = {
  "migrations/0001_logs.sql": first,
  "migrations/0002_kinds.sql": second,
  "functions/entries/entry_count.sql": countEntries,
  "functions/check_name.sql": nameLength,
  "views/busy_logs.sql": busyLogs,
};

let embedded: Embedded;
let sql: postgres.Sql;
let base: string;
let schema: string;
let turn = 0;

beforeAll(async () => {
  embedded = await startEmbedded({ log: silent });
  sql = postgres({ ...embedded.connection, max: 5, onnotice: () => {} });
  base = await mkdtemp(join(tmpdir(), "sluice-migrate-"));
});

beforeEach(() => {
  turn += 1;
  schema = `migrate "test" ${turn}`;
});

afterAll(async () => {
  await sql?.end({ timeout: 1 });
  await embedded?.stop();
  await rm(base, { recursive: true, force: true });
});

async function folder(files: Record<string, string>): Promise<string> {
  const dir = await mkdtemp(join(base, "sql-"));
  await mkdir(join(dir, "migrations"));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
  return dir;
}

async function run(files: Record<string, string>, log: Pick<Log, "info"> = silent) {
  return migrate(sql, { schema, dir: await folder(files), log });
}

test("an empty database gets the schema, and a second run does nothing", async () => {
  const dir = await folder(both);
  const before = await status(sql, { schema, dir });
  expect(before.current).toBe(0);
  expect(before.pending).toEqual(["migrations/0001_logs.sql", "migrations/0002_kinds.sql"]);
  await expect(assertCurrent(sql, { schema, dir })).rejects.toThrow(
    "is at version 0, this program needs version 2: run ./scripts/migrate",
  );
  expect(await migrate(sql, { schema, dir, log: silent })).toEqual({
    from: 0,
    to: 2,
    applied: [
      ...before.pending,
      "functions/check_name.sql",
      "functions/entries/entry_count.sql",
      "views/busy_logs.sql",
    ],
  });
  expect(await migrate(sql, { schema, dir, log: silent })).toEqual({ from: 2, to: 2, applied: [] });
  expect(await status(sql, { schema, dir })).toEqual({ current: 2, target: 2, pending: [], functions: "current" });
  await assertCurrent(sql, { schema, dir });
});

test("a connection with the search path uses the functions by their bare names", async () => {
  await run(both);
  const user = postgres({ ...embedded.connection, max: 1, connection: { search_path: searchPath(schema) } });
  await user`insert into logs (name) values ('orders')`;
  expect([...(await user`select * from busy_logs`)]).toEqual([{ name: "orders", entries: "0" }]);
  await user.end();
});

test("side by side, one migrates and the others find it done", async () => {
  const dir = await folder({ ...both, "migrations/0003_slow.sql": "select pg_sleep(0.3)" });
  const messages: string[] = [];
  const log = { info: (_: object, message: string) => void messages.push(message) } as Pick<Log, "info">;
  const results = await Promise.all([1, 2, 3, 4].map(() => migrate(sql, { schema, dir, log })));
  expect(results.map(({ applied }) => applied.length).sort()).toEqual([0, 0, 0, 6]);
  expect(messages).toContain("Waiting for another process that migrates the database");
});

test("a failing migration leaves nothing behind and names its file and line", async () => {
  const files = { ...both, "migrations/0003_broken.sql": "select 1;\nselect 2;\nselect oops;" };
  await expect(run(files)).rejects.toThrow('sql/migrations/0003_broken.sql:3 fails: column "oops" does not exist');
  expect([...(await sql`select nspname from pg_namespace where nspname = ${schema}`)]).toEqual([]);
  await run(both);
  await expect(run(files)).rejects.toThrow("0003_broken.sql");
  expect((await status(sql, { schema, dir: await folder(both) })).current).toBe(2);
});

test("a function whose body is wrong is refused, although functions may refer to later ones", async () => {
  const ahead = "create or replace function ahead() returns bigint language sql as 'select entry_count(1)'";
  await run({ ...both, "functions/ahead.sql": ahead });
  const wrong = "create or replace function wrong() returns bigint language sql as 'select no_such(1)'";
  await expect(run({ ...both, "functions/wrong.sql": wrong })).rejects.toThrow("sql/functions/wrong.sql");
});

test("a changed migration is an error that names the file", async () => {
  await run(both);
  const changed = { ...both, "migrations/0001_logs.sql": `${first} -- better` };
  await expect(run(changed)).rejects.toThrow("sql/migrations/0001_logs.sql was changed after it had been applied");
  await expect(status(sql, { schema, dir: await folder(changed) })).rejects.toThrow("0001_logs.sql was changed");
  await run({ ...both, "migrations/0001_logs.sql": first.replaceAll("\n", "\r\n") });
});

test("a database newer than the program is refused", async () => {
  await run(both);
  const older = { "migrations/0001_logs.sql": first };
  const message = "The database is at version 2, this program knows up to 1";
  await expect(run(older)).rejects.toThrow(message);
  await expect(assertCurrent(sql, { schema, dir: await folder(older) })).rejects.toThrow(message);
});

test("gaps, doubles and odd names are refused", async () => {
  await expect(run({ "migrations/0002_b.sql": "" })).rejects.toThrow("Migration 1 is missing");
  await expect(run({ "migrations/0001_a.sql": "", "migrations/0001_b.sql": "" })).rejects.toThrow("have number 1");
  await expect(run({ "migrations/1-a.sql": "" })).rejects.toThrow("is not named like");
});

test("functions and views follow their files: changed, added, and gone", async () => {
  await run(both);
  const changed = { ...both, "functions/entries/entry_count.sql": countEntries.replace("count(*)", "42::bigint") };
  const dir = await folder(changed);
  expect((await status(sql, { schema, dir })).functions).toBe("outdated");
  await expect(assertCurrent(sql, { schema, dir })).rejects.toThrow(
    "its functions are outdated: run ./scripts/migrate",
  );
  const { applied } = await migrate(sql, { schema, dir, log: silent });
  expect(applied).toEqual(["functions/check_name.sql", "functions/entries/entry_count.sql", "views/busy_logs.sql"]);
  expect(await dumpSchema(sql, schema)).toContain("42::bigint");

  const { "functions/entries/entry_count.sql": _, "views/busy_logs.sql": __, ...fewer } = both;
  await run(fewer);
  const dump = await dumpSchema(sql, schema);
  expect(dump).not.toContain("entry_count");
  expect(dump).not.toContain("busy_logs");
  expect(dump).toContain("FUNCTION check_name()");
});

test("a database migrated in two steps, by way of other functions, equals a fresh one of another name", async () => {
  await run({
    "migrations/0001_logs.sql": first,
    "functions/gone.sql": "create or replace function gone(a int[]) returns int language sql as 'select 1'",
    "functions/entries/entry_count.sql": countEntries.replace("count(*)", "1::bigint"),
  });
  expect((await run(both)).from).toBe(1);
  const stepwise = await dumpSchema(sql, schema);
  schema = `fresh_${turn}`;
  await run(both);
  expect(stepwise).toBe(await dumpSchema(sql, schema));
});

test("the dump tells all that matters", async () => {
  await run(both);
  const dump = await dumpSchema(sql, schema);
  if (process.env.SHOW_DUMP) console.log(dump);
  for (const line of [
    "  id   bigint not null generated always as identity,",
    "  constraint entries_log_id_fkey foreign key (log_id) references logs(id)",
    ') partition by RANGE ("offset");',
    "create table entries_1 partition of entries FOR VALUES FROM ('0') TO ('1000') with (fillfactor=70);",
    "create view busy_logs as",
    "comment on table logs is 'A log''s name';",
    "CREATE OR REPLACE FUNCTION entry_count(of_log bigint)",
  ]) {
    expect(dump.toLowerCase()).toContain(line.toLowerCase());
  }
  expect(dump).not.toContain(schema);
});

test("a name that Postgres would cut or reserve is no schema", () => {
  for (const name of ["", "ü".repeat(32), "pg_mine"]) expect(() => searchPath(name)).toThrow("cannot be the name");
  expect(searchPath('a"b')).toBe('"a""b", pg_temp');
});
