// The plans of the append path, made while the log is young, must not become scans when it has grown.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import type { Sql } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";

let database: Database;
beforeAll(async () => {
  database = createDatabase({
    connection: await createTestDatabase(),
    schema: testSchema,
    poolSize: 1,
    commandTimeoutMs: 10_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log: createLog("silent", "test"),
  });
});
afterAll(() => database.stop());

const store = (sql: Sql, streams: string[]) =>
  callLogAppend(
    sql,
    streams.map((stream) => ({ stream, events: [newEvent()], expected: "any" as const, idempotency: null })),
  );

/** Rows of streams that were read so far, by whatever scan. */
async function rowsRead(sql: Sql): Promise<number> {
  await sql`select pg_stat_force_next_flush()`;
  const rows = await sql<{ read: string }[]>`
    select seq_tup_read + (select sum(i.idx_tup_read) from pg_stat_user_indexes i where i.relid = t.relid) as read
    from pg_stat_user_tables t where t.relid = 'streams'::regclass`;
  return Number(rows[0]?.read);
}

test("an append to a few of thousands of streams reads these few", async () => {
  await database.appends.run(async (sql) => {
    await sql`alter table streams set (autovacuum_enabled = off)`;
    await sql`select log_partition_add(false, 100000)`;
    for (let n = 0; n < 3; n++) await store(sql, [`young-${n}`]);
    await store(
      sql,
      Array.from({ length: 3_000 }, (_, n) => `many-${n}`),
    );
    const before = await rowsRead(sql);
    await store(sql, ["many-7", "many-70", "many-700", "new"]);
    expect((await rowsRead(sql)) - before).toBeLessThan(100);
  });
});

test("an id is looked up by itself, however many its stream knows", async () => {
  const used = async (sql: Sql) => {
    await sql`select pg_stat_force_next_flush()`;
    const rows = await sql<{ scans: string }[]>`
      select coalesce(sum(idx_tup_read), 0) as scans from pg_stat_user_indexes
      where relname like 'event_ids_%' and indexrelname not like '%_pkey'`;
    return Number(rows[0]?.scans);
  };
  const storeIds = (sql: Sql, ids: string[]) =>
    callLogAppend(
      sql,
      ids.map((id) => ({ stream: "ids", events: [newEvent({ id })], expected: "any" as const, idempotency: null })),
    );
  await database.appends.run(async (sql) => {
    for (let n = 0; n < 3; n++) await storeIds(sql, [`young-${n}`]);
    await storeIds(
      sql,
      Array.from({ length: 1_000 }, (_, n) => `many-${n}`),
    );
    const before = await used(sql);
    expect((await storeIds(sql, ["many-7", "new"])).status).toBe("{1,0}");
    expect((await used(sql)) - before).toBe(0);
  });
});
