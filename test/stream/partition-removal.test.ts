// Partitions are dropped whole, and nobody waits for it: not appends, not reads, not a start after an interruption.
import { afterEach, beforeEach, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import type { Sql } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { decideRemovals, type RemovalDependencies, removeDecided } from "../../src/stream/partition-removal.ts";
import { deleteStream } from "../../src/stream/streams.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";
import { configure, logDefects, openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

const log = createLog("silent", "test");
let sql: postgres.Sql;
let database: Database;
let dependencies: RemovalDependencies;
beforeEach(async () => {
  const connection = await createTestDatabase();
  sql = openSql(connection, 6);
  const limits = { poolSize: 2, commandTimeoutMs: 10_000, appendsInFlight: 1, claimsInFlight: 1 };
  database = createDatabase({ connection, schema: testSchema, ...limits, log });
  dependencies = {
    pool: database.reads,
    connect: database.connect,
    recordsMs: 3_600_000,
    onTrimmed() {},
    onNoPartition: async () => {},
    log,
  };
  for (const ephemeral of [false, true])
    for (let n = 0; n < 5; n++) await sql`select log_partition_add(${ephemeral}, 100)`;
});
afterEach(async () => {
  await database.stop();
  await sql.end();
});

async function append(stream: string, count: number): Promise<void> {
  const events = Array.from({ length: count }, () => newEvent());
  await callLogAppend(sql, [{ stream, events, expected: "any", idempotency: null }]);
}

const remove = (stream: string) => deleteStream(database.appends, stream, async () => {});
const signal = new AbortController().signal;
const decide = () => decideRemovals(dependencies, new Map(), signal);

async function checkpoint(): Promise<void> {
  const [row] = await sql`select max(position)::int as head from events`;
  while ((await sql`select log_checkpoint(${row?.head}, 10) as more`)[0]?.more === true);
}

async function partitions(): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select c.relname as name from pg_class c where c.relname ~ '^events_(persistent|ephemeral)_' and c.relkind = 'r'
    order by c.relname ~ 'persistent', length(c.relname), 1`;
  return rows.map(({ name }) => name.replace("events_", ""));
}
const persistent = (...lowers: number[]) => lowers.map((lower) => `persistent_${lower}`);
const ephemeral = (...lowers: number[]) => lowers.map((lower) => `ephemeral_${lower}`);

test("what is wholly gone is dropped, of both families, and nothing that somebody can still see or append to", async () => {
  await configure(sql, "quick", { type: "ephemeral" });
  await append("old", 90);
  await append("quick", 60); // 90 to 149
  await append("kept", 120); // 150 to 269
  await append("quick", 60); // 270 to 329
  await remove("old"); // 330
  await decide();
  await removeDecided(dependencies, signal);
  // Before the checkpoint has come there, ends of streams are looked for in it.
  expect(await partitions()).toHaveLength(10);
  await checkpoint();
  await decide();
  await removeDecided(dependencies, signal);
  expect(await partitions()).toEqual([...ephemeral(0, 100, 200, 300, 400), ...persistent(100, 200, 300, 400)]);
  await remove("quick"); // 331
  await decide();
  await removeDecided(dependencies, signal);
  expect(await partitions()).toEqual([...ephemeral(300, 400), ...persistent(100, 200, 300, 400)]);
  expect(await logDefects(sql)).toEqual([]);
  await append("old", 1);
  await append("quick", 1);
  const rows =
    await sql`select s.name, e."offset"::int, e.position::int from events e join streams s on s.id = e.stream_id
                         where e.position >= 332 order by e.position`;
  expect([...rows]).toEqual([
    { name: "old", offset: 90, position: 332 },
    { name: "quick", offset: 120, position: 333 },
  ]);
});

test("the service's own records go with their partition once they are old, and their offsets go on", async () => {
  await append("a", 60);
  await remove("a"); // 60
  await append("b", 200); // 61 to 260
  await remove("b"); // 261
  await append("c", 60); // 262 to 321
  await checkpoint();
  await decide();
  expect([...(await sql`select partition from partition_removals order by 1`)]).toEqual(
    [...ephemeral(0, 100, 200), ...persistent(100)].map((name) => ({ partition: `events_${name}` })),
  );
  dependencies.recordsMs = 0;
  const trimmed: number[] = [];
  dependencies.onTrimmed = (position) => trimmed.push(position);
  await decide();
  expect(trimmed).toEqual([322]);
  await removeDecided(dependencies, signal);
  expect(await partitions()).toEqual([...ephemeral(300, 400), ...persistent(200, 300, 400)]);
  const [record] = await sql`select "offset"::int, type, data from events where position = 322`;
  const streams = [{ stream: "$control", from: "0", to: "0" }];
  expect(record).toMatchObject({ offset: 2, type: "sluice.streams-trimmed", data: { streams } });
  expect(await logDefects(sql)).toEqual([]);
});

/** Waits until a statement that begins like this waits for another transaction. */
const waits = (statement: string) =>
  until(`${statement} waits`, async () => {
    const rows = await sql`
      select from pg_stat_activity where starts_with(query, ${statement}) and wait_event_type = 'Lock' and datname = current_database()`;
    return rows.length > 0;
  });

async function appendWithin(ms: number, stream: string): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`select set_config('lock_timeout', ${`${ms}ms`}, true)`;
    await callLogAppend(tx as unknown as Sql, [{ stream, events: [newEvent()], expected: "any", idempotency: null }]);
  });
}

test("appends, reads and new partitions go on while a reader's transaction holds the partition open", async () => {
  await append("old", 110);
  await remove("old");
  await append("new", 30);
  await checkpoint();
  await decide();
  let removing: Promise<void> = Promise.resolve();
  await sql.begin("isolation level repeatable read", async (reader) => {
    const count = () => reader`select count(*)::int as n from events where position < 100`;
    expect((await count())[0]?.n).toBe(100);
    removing = removeDecided(dependencies, signal);
    await waits("alter table events_");
    await appendWithin(200, "new");
    await appendWithin(200, "another");
    const [seen] = await sql`select count(*)::int as n from events where position >= 100`;
    expect(seen?.n).toBe(10 + 1 + 30 + 2);
    await sql.begin(async (tx) => {
      await tx`select set_config('lock_timeout', '200ms', true), log_partition_add(false, 100), log_partition_add(true, 100)`;
    });
    // The reader sees what it saw.
    expect((await count())[0]?.n).toBe(100);
  });
  await removing;
  expect(await partitions()).not.toContain("persistent_0");
  expect(await logDefects(sql)).toEqual([]);
}, 120_000);

test("a removal that is interrupted is finished by the next one, whatever it had come to", async () => {
  await append("old", 350);
  await remove("old");
  await append("new", 30);
  await checkpoint();
  await decide();
  const stop = new AbortController();
  await sql.begin("isolation level repeatable read", async (reader) => {
    await reader`select count(*) from events`;
    const removing = removeDecided(dependencies, stop.signal);
    await waits("alter table events_ephemeral detach");
    const cancel = () => sql`
      select pg_cancel_backend(pid) from pg_stat_activity
      where starts_with(query, 'alter table events_') and datname = current_database()`;
    await cancel();
    await removing;
    const pending = await sql`select inhrelid::regclass::text as name from pg_inherits where inhdetachpending`;
    expect([...pending]).toEqual([{ name: "events_ephemeral_0" }]);
    // It cannot be finished either as long as the reader looks on; nor is anything else in the way.
    await removeDecided(dependencies, signal);
    await appendWithin(200, "new");
    expect(await partitions()).toContain("ephemeral_0");
  });
  // One that was detached, and not dropped any more.
  await sql.unsafe("alter table events_persistent detach partition events_persistent_0 concurrently");
  // And one that was dropped, and not noted any more.
  await sql.unsafe("alter table events_persistent detach partition events_persistent_100 concurrently");
  await sql.unsafe("drop table events_persistent_100");
  await removeDecided(dependencies, signal);
  expect(await partitions()).toEqual([...ephemeral(300, 400), ...persistent(300, 400)]);
  expect([...(await sql`select from partition_removals`)]).toEqual([]);
  expect(await logDefects(sql)).toEqual([]);
}, 120_000);

test("of processes that remove side by side one does, and a partition that is not noted is left alone", async () => {
  await append("old", 250);
  await remove("old");
  await append("new", 30);
  await checkpoint();
  // Somebody detached it by hand, to keep it.
  await sql.unsafe("alter table events_persistent detach partition events_persistent_0 concurrently");
  await Promise.all([decide(), decide(), decide()]);
  let dropped = 0;
  const removing = () => removeDecided(dependencies, signal, () => dropped++);
  await Promise.all([removing(), removing(), removing()]);
  await removing();
  expect(dropped).toBe(3);
  expect(await partitions()).toEqual([...ephemeral(200, 300, 400), ...persistent(0, 200, 300, 400)]);
});
