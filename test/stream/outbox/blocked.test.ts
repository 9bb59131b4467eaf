// A stream that cannot be relayed for a while, with more rows than fit into a page: the others go on, and it loses nothing.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../../src/base/log.ts";
import { createDatabase, type Database } from "../../../src/storage/database.ts";
import { createAppender } from "../../../src/stream/append.ts";
import { createRelay } from "../../../src/stream/outbox/relay.ts";
import { insertRow } from "../../support/outbox.ts";
import { createTestDatabase, testSchema } from "../../support/postgres.ts";
import { noValidation } from "../../support/schemas.ts";
import { logDefects, openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

const log = createLog("silent", "test");
let sql: postgres.Sql;
let database: Database;
beforeAll(async () => {
  const connection = await createTestDatabase();
  sql = openSql(connection, 2);
  const limits = { poolSize: 2, commandTimeoutMs: 15_000, appendsInFlight: 1, claimsInFlight: 8 };
  database = createDatabase({ connection, schema: testSchema, ...limits, log });
  await sql`select log_partition_add(false, 100000)`;
});
afterAll(async () => {
  await sql.end();
  await database.stop();
});

/** Relays until it is stopped, as a service does that is woken all the time. */
function startRelay() {
  const appender = createAppender({
    pool: database.appends,
    log,
    maxBatchEvents: 1_000,
    maxBatchBytes: 1_000_000,
    batchesInFlight: 1,
    maxWaitingBytes: 100_000_000,
    onAppended: () => {},
    onUnknown: () => {},
    onNoPartition: async () => {},
    validation: noValidation,
  });
  const relay = createRelay({ pool: database.claims, appender, service: "test", maxEventBytes: 1_000_000, log });
  const abort = new AbortController();
  const ended = (async () => {
    while (!abort.signal.aborted) {
      await relay.drain(abort.signal);
      await Bun.sleep(1);
    }
  })();
  return {
    stop: async () => {
      abort.abort();
      await ended;
      await appender.stop();
    },
  };
}

const insertMany = (stream: string, from: number, to: number) => sql`
  insert into outbox (stream, type, data) select ${stream}, 'A', to_json(n) from generate_series(${from}::int, ${to}::int) n order by n`;
const dataOf = async (stream: string) =>
  (
    await sql<{ data: number }[]>`
      select e.data::text::int as data from events e join streams s on s.id = e.stream_id
      where s.name = ${stream} order by e."offset"`
  ).map((row) => row.data);
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

test("streams go on beside two that wait with more rows than a page takes, and those come later, in order", async () => {
  await insertMany("held-a", 1, 6_000);
  await insertMany("held-b", 1, 6_000);
  await insertMany("free", 1, 20);
  let relay: ReturnType<typeof startRelay> | null = null;
  await sql.begin(async (tx) => {
    // Whoever holds a row keeps its stream from being relayed.
    await tx`select 1 from outbox where id in (select min(id) from outbox where stream like 'held-%' group by stream) for update`;
    relay = startRelay();
    await until("the free one is relayed", async () => (await dataOf("free")).length === 20);
    // What comes meanwhile goes behind what waits, and passes by in the free one.
    await insertMany("held-a", 6_001, 6_010);
    await insertMany("free", 21, 40);
    await until("the free one goes on", async () => (await dataOf("free")).length === 40);
    expect(await dataOf("held-a")).toEqual([]);
    expect(await dataOf("held-b")).toEqual([]);
  });
  await until("nothing waits", async () => (await sql`select 1 from outbox limit 1`).length === 0);
  expect(await dataOf("held-a")).toEqual(upTo(6_010));
  expect(await dataOf("held-b")).toEqual(upTo(6_000));
  expect(await dataOf("free")).toEqual(upTo(40));
  await insertRow(sql, { stream: "held-a", data: 6_011 });
  await until("it goes on as any other", async () => (await dataOf("held-a")).length === 6_011);
  await (relay as unknown as ReturnType<typeof startRelay>).stop();
  expect(await logDefects(sql)).toEqual([]);
});
