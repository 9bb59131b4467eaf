// Pages of a correlation read its events by their index, however long the log is in which they lie.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import type { Sql } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { readPage } from "../../src/stream/page.ts";
import { countTasks } from "../support/counted-pool.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";

let database: Database;
const total = 20_000;
beforeAll(async () => {
  database = createDatabase({
    connection: await createTestDatabase(),
    schema: testSchema,
    poolSize: 1,
    commandTimeoutMs: 30_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log: createLog("silent", "test"),
  });
  await database.appends.run(async (sql) => {
    await sql`select log_partition_add(false, 1000000)`;
    for (let n = 0; n < total; n += 1_000) {
      const events = Array.from({ length: 1_000 }, (_, i) =>
        newEvent({ correlationId: (n + i) % 5_000 === 0 ? "rare" : "common", data: `{"n":${n + i}}` }),
      );
      await callLogAppend(sql, [{ stream: `s-${n % 3_000}`, events, expected: "any", idempotency: null }]);
    }
    await sql`analyze`;
    await sql`select pg_stat_force_next_flush()`;
  });
});
afterAll(() => database.stop());

const request = (where: string | null, bound: number) => ({
  selection: { streams: null, types: null, correlation: "rare", key: null, where },
  streamIds: null,
  principal: everyone,
  direction: "forward" as const,
  cursor: -1,
  bound,
  limit: 100,
  historyEnd: -1,
  budgetMs: 10_000,
});
const positions = (page: { events: { position: number }[] }) => page.events.map((event) => event.position);

/** Rows of events that were read so far, by whatever scan. */
async function rowsRead(sql: Sql): Promise<number> {
  await sql`select pg_stat_force_next_flush()`;
  const rows = await sql<{ read: string }[]>`
    select sum(seq_tup_read) + sum(coalesce(idx_tup_fetch, 0)) as read from pg_stat_user_tables where relname like 'events_persistent%'`;
  return Number(rows[0]?.read);
}

test("the events of a rare correlation are found without reading the others", async () => {
  const before = await database.reads.run(rowsRead);
  for (let i = 0; i < 8; i++)
    expect(positions(await readPage(database.reads, request(null, total - 1)))).toEqual([0, 5_000, 10_000, 15_000]);
  expect(positions(await readPage(database.reads, request("$.n > 9000", total - 1)))).toEqual([10_000, 15_000]);
  expect((await database.reads.run(rowsRead)) - before).toBeLessThan(200);
});

test("a predicate over a correlation takes a few statements in a log of any length", async () => {
  const pool = countTasks(database.reads);
  const page = await readPage(pool, request("$.n == 15000", 1_000_000_000));
  expect([positions(page), page.done]).toEqual([[15_000], true]);
  expect(pool.asked()).toBeLessThan(10);
});
