// The checkpoint of stream ends, moved over logs of many streams and beside deletions.
import { afterEach, expect, test } from "bun:test";
import type postgres from "postgres";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

const opened: postgres.Sql[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((sql) => sql.end()));
});

/** A log of its own, with partitions of 2,000 positions; by one connection, whose statistics are then complete. */
async function openLog(partitions: number): Promise<{ url: string; sql: postgres.Sql }> {
  const url = await createTestDatabase();
  const sql = open(url);
  for (let n = 0; n < partitions; n++) await sql`select log_partition_add(false, 2000)`;
  return { url, sql };
}

function open(url: string): postgres.Sql {
  const sql = openSql(url, 1);
  opened.push(sql);
  return sql;
}

const store = (sql: postgres.Sql, streams: readonly string[], count = 1) =>
  callLogAppend(
    sql,
    streams.map((stream) => ({
      stream,
      events: Array.from({ length: count }, () => newEvent()),
      expected: "any" as const,
      idempotency: null,
    })),
  );

const ends = (sql: postgres.Sql) => sql<{ name: string; noted: string; exact: string }[]>`
  select s.name, concat_ws(' ', s.checkpoint_offset, s.checkpoint_bytes, s.checkpoint_position) as noted,
         concat_ws(' ', e."offset", e.stream_bytes, e.position) as exact
  from streams s cross join lateral (
    select * from events e where e.stream_id = s.id and e.position < (select checkpoint_position from log)
    order by e.position desc limit 1
  ) e
  order by s.name`;

/** Rows of events that were read so far, by whatever scan. */
async function eventsRead(sql: postgres.Sql): Promise<number> {
  await sql`select pg_stat_force_next_flush()`;
  const [row] = await sql`
    select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as read
    from pg_stat_user_tables where relname like 'events_persistent%'`;
  return row?.read as number;
}

test("the end of each stream is noted, and each event is looked at once, however many streams there are", async () => {
  const { sql } = await openLog(5);
  const streams = Array.from({ length: 2_000 }, (_, n) => `end-${n}`);
  for (let n = 0; n < 4; n++) await store(sql, streams);
  await sql`analyze`;
  const before = await eventsRead(sql);
  for (const more of [true, true, false]) {
    expect([...(await sql`select log_checkpoint(7999, 2000) as more`)]).toEqual([{ more }]);
  }
  // The planner looks at a few more.
  expect((await eventsRead(sql)) - before).toBeLessThan(6_100);
  const noted = await ends(sql);
  expect(noted).toHaveLength(2_000);
  for (const end of noted) expect(end.noted).toBe(end.exact);
});

test("a checkpoint that waits for streams which are deleted and used anew meanwhile takes none of them back", async () => {
  const { url, sql } = await openLog(2);
  const streams = ["deleted", "kept", "purged", "used-anew"];
  for (let n = 0; n < 5; n++) await store(sql, streams);
  await store(sql, ["other"], 10);
  // Their last events lie above the checkpoint that is to be.
  await store(sql, ["purged", "used-anew"], 2);
  const beside = open(url);
  let moving: Promise<unknown> = Promise.resolve();
  await sql.begin(async (tx) => {
    // It has looked at the events before it waits for the first of the streams.
    await tx`select from streams where name in ${tx(streams)} for no key update`;
    moving = beside`select log_checkpoint(29, 25)`.execute();
    await until("it waits for a stream", async () => (await tx`select from pg_locks where not granted`).length > 0);
    await tx`select stream_delete('deleted')`;
    await tx`select stream_delete('purged'), stream_delete('used-anew')`;
    await tx`select stream_purge(0, 100) from generate_series(1, 2)`;
    await store(tx as unknown as postgres.Sql, ["used-anew", "kept"], 2);
  });
  await moving;
  const [log] = await sql`select checkpoint_position::int as position from log`;
  expect(log?.position).toBe(25);
  const noted = await sql`
    select name, checkpoint_offset::int as "offset", checkpoint_bytes::int as bytes, first_offset::int as first
    from streams where name in ${sql(streams)} order by name`;
  expect([...noted]).toEqual([
    { name: "deleted", offset: 4, bytes: 500, first: 5 },
    { name: "kept", offset: 4, bytes: 500, first: 0 },
    { name: "purged", offset: 6, bytes: 700, first: 7 },
    { name: "used-anew", offset: 6, bytes: 700, first: 7 },
  ]);
  const answer = await store(sql, streams);
  expect(answer.offsets).toBe("{5,7,7,9}");
  const last = await sql`
    select distinct on (s.name) s.name, e."offset"::int, e.stream_bytes::int as bytes
    from events e join streams s on s.id = e.stream_id where s.name in ${sql(streams)} order by s.name, e.position desc`;
  expect(last.map((row) => [row.name, row.offset, row.bytes])).toEqual([
    ["deleted", 5, 600],
    ["kept", 7, 800],
    ["purged", 7, 800],
    ["used-anew", 9, 1000],
  ]);
});
