// The functions that forget, called as they are: what is found, what is checked again, and what waits for whom.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import type { Pool, Sql } from "../../src/storage/pool.ts";
import { beginDuty } from "../../src/stream/duty.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { forgetEventIds, purgeRows } from "../../src/stream/purge.ts";
import { type DueStreams, findDueStreams, type Trimmed, trimStreams } from "../../src/stream/retention.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { configure, logDefects, openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: postgres.Sql;
let pool: Pool;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 6);
  pool = { run: (task) => task(sql), stop: async () => {} };
  for (const ephemeral of [false, true])
    for (let n = 0; n < 4; n++) await sql`select log_partition_add(${ephemeral}, 5000)`;
  await sql`create table test_floors (stream_id bigint primary key, floor bigint)`;
  await sql.unsafe(`create or replace function ephemeral_floor(p_stream_id bigint) returns bigint language sql stable as
    'select floor from test_floors where stream_id = p_stream_id'`);
});
afterAll(() => sql.end());

async function append(stream: string, count: number, on: Sql = sql, ids = false): Promise<void> {
  const events = Array.from({ length: count }, (_, n) => newEvent(ids ? { id: `${stream}-${n}` } : {}));
  await callLogAppend(on, [{ stream, events, expected: "any", idempotency: null }]);
}

const find = () => findDueStreams(pool, 0, 1_000, 1_000);
const trim = (due: DueStreams, on: Pool = pool): Promise<Trimmed> => trimStreams(on, due, 1_000, async () => {});
const trimAll = async () => trim(await find());
const settle = (name: string, floor: number | null) => sql`
  insert into test_floors select id, ${floor} from streams where name = ${name}
  on conflict (stream_id) do update set floor = excluded.floor`;

async function first(name: string): Promise<number> {
  const [row] = await sql<{ first: number }[]>`select first_offset::int as first from streams where name = ${name}`;
  return row?.first ?? -1;
}

test("a stream that is configured anew between the look and the trim is left alone", async () => {
  await configure(sql, "changed", { retention: { maxEvents: 2 } });
  await append("changed", 10);
  const due = await find();
  expect(due.count).toBe(1);
  await configure(sql, "changed", { retention: { maxEvents: 9 } });
  expect(await trim(due)).toEqual({ events: 0, position: null });
  expect(await first("changed")).toBe(0);
  expect(await trimAll()).toMatchObject({ events: 1 });
  expect(await first("changed")).toBe(1);
});

test("a stream that is deleted, or trimmed by another process, between the look and the trim is left alone", async () => {
  for (const name of ["deleted", "overtaken"]) {
    await configure(sql, name, { retention: { maxEvents: 2 } });
    await append(name, 10);
  }
  const [due, same] = [await find(), await find()];
  await sql`select stream_delete('deleted')`;
  await append("deleted", 1);
  expect(await trim(due)).toMatchObject({ events: 8 });
  expect(await trim(same)).toEqual({ events: 0, position: null });
  expect([await first("deleted"), await first("overtaken")]).toEqual([10, 8]);
});

test("a floor that has fallen, or that nobody knows any more, between the look and the trim is obeyed", async () => {
  await configure(sql, "floor", { type: "ephemeral" });
  await append("floor", 10);
  const [{ position = -1 } = {}] = await sql<{ position: number }[]>`
    select position::int from events e join streams s on s.id = e.stream_id where s.name = 'floor' and e."offset" = 6`;
  for (const now of [position - 3, null]) {
    await settle("floor", position);
    const due = await find();
    expect(due.count).toBe(1);
    await settle("floor", now);
    expect(await trim(due)).toEqual({ events: 0, position: null });
  }
  await settle("floor", position + 2);
  expect(await trimAll()).toMatchObject({ events: 8 });
  expect(await first("floor")).toBe(8);
});

test("a stream that is emptied and purged before the checkpoint comes to it goes on with its offsets and bytes", async () => {
  await configure(sql, "emptied", { type: "ephemeral" });
  await append("emptied", 10);
  await settle("emptied", 1_000_000);
  expect(await trimAll()).toMatchObject({ events: 10 });
  while ((await purgeRows(pool, 0, 1_000)).gone > 0);
  const [rows] =
    await sql`select count(*)::int as n from events e join streams s on s.id = e.stream_id where s.name = 'emptied'`;
  expect(rows?.n).toBe(0);
  await append("other", 30);
  const [row] = await sql<{ head: number }[]>`select max(position)::int as head from events`;
  while ((await sql`select log_checkpoint(${row?.head ?? 0}, 10) as more`)[0]?.more === true);
  await settle("emptied", null);
  await append("emptied", 2);
  const [head] =
    await sql`select first_offset::int, last_offset::int, bytes::int from stream_heads where name = 'emptied'`;
  expect(head).toEqual({ first_offset: 10, last_offset: 11, bytes: 200 });
  expect(await logDefects(sql)).toEqual([]);
});

test("a trim leaves the indexes of streams alone: its updates stay within their pages", async () => {
  for (const name of ["hot-1", "hot-2", "hot-3"]) {
    await configure(sql, name, { retention: { maxEvents: 5 } });
    await append(name, 30);
  }
  await sql`vacuum full streams`;
  await sql.begin(async (tx) => {
    const due = await find();
    // The session may not have reported yet what it did before.
    const updates = async () => {
      const [row] = await tx<{ rows: number; hot: number }[]>`
        select pg_stat_get_xact_tuples_updated('streams'::regclass)::int as rows,
               pg_stat_get_xact_tuples_hot_updated('streams'::regclass)::int as hot`;
      return row as NonNullable<typeof row>;
    };
    const before = await updates();
    expect(await trim(due, { ...pool, run: (task) => task(tx as unknown as Sql) })).toMatchObject({ events: 75 });
    const after = await updates();
    expect([after.rows - before.rows, after.hot - before.hot]).toEqual([3, 3]);
  });
});

test("an append waits for no purge and no forgetting of ids, and of processes that purge one does", async () => {
  await configure(sql, "hot", { retention: { maxEvents: 5 } });
  await append("hot", 30, sql, true);
  await trimAll();
  await sql.begin(async (purging) => {
    await purging`select gone from stream_purge(0, 10)`;
    await purging`select event_ids_forget(clock_timestamp() + interval '1 day', 10)`;
    await sql.begin(async (tx) => {
      await tx`select set_config('lock_timeout', '300ms', true)`;
      await append("hot", 3, tx as unknown as Sql);
    });
    // Another process that purges passes.
    expect(await purgeRows(pool, 0, 10)).toEqual({ gone: 0, reached: null });
    expect(await forgetEventIds(pool, 0, 10)).toBeNull();
  });
  while ((await purgeRows(pool, 0, 1_000)).gone > 0);
  expect(await logDefects(sql)).toEqual([]);
});

test("a trim that comes while rows are purged is purged too", async () => {
  await configure(sql, "twice", { retention: { maxEvents: 5 } });
  await append("twice", 10);
  await trimAll();
  let trimming: Promise<unknown> = Promise.resolve();
  await sql.begin(async (purging) => {
    await purging`select gone from stream_purge(0, 1000)`;
    await append("twice", 10);
    trimming = trimAll();
    await until("the trim waits for the queue's row", async () => {
      const rows = await sql`select from pg_locks where not granted`;
      return rows.length > 0;
    });
  });
  await trimming;
  expect(await first("twice")).toBe(15);
  while ((await purgeRows(pool, 0, 1_000)).gone > 0);
  const rows =
    await sql`select e."offset"::int from events e join streams s on s.id = e.stream_id where s.name = 'twice' order by 1`;
  expect(rows.map((row) => row.offset)).toEqual([15, 16, 17, 18, 19]);
  expect([...(await sql`select from stream_purges`)]).toEqual([]);
});

test("ids are forgotten in pieces, up to where their events were trimmed before the window, and no further", async () => {
  await configure(sql, "ids", { retention: { maxEvents: 4 } });
  await append("ids", 10, sql, true);
  await trimAll();
  const left = async () =>
    (await sql`select from event_ids i join streams s on s.id = i.stream_id where s.name = 'ids'`).length;
  expect(await forgetEventIds(pool, 3_600_000, 100)).toBeNull();
  expect(await left()).toBe(10);
  await sql`update event_id_horizons set trimmed_before = trimmed_before - interval '2 hours'`;
  // What other tests have left comes first.
  for (let gone: number | null = 0; gone !== null && (await left()) === 10; )
    gone = await forgetEventIds(pool, 3_600_000, 4);
  expect(await left()).toBe(6);
  while ((await forgetEventIds(pool, 3_600_000, 4)) !== null);
  expect(await left()).toBe(4);
  expect([...(await sql`select from event_id_horizons`)]).toEqual([]);
});

test("a stream is locked as appends lock it: trims, appends, deletions and checkpoints side by side make no deadlock", async () => {
  const names = ["mixed-c", "mixed-a", "mixed-d", "mixed-b"];
  for (const name of names) await configure(sql, name, { retention: { maxEvents: 3 } });
  const batch = () =>
    callLogAppend(
      sql,
      names.map((stream) => ({ stream, events: [newEvent(), newEvent()], expected: "any", idempotency: null })),
    );
  await Promise.all([
    ...[0, 1].map(async () => {
      for (let n = 0; n < 60; n++) await batch();
    }),
    (async () => {
      for (let n = 0; n < 60; n++) await trimAll();
    })(),
    (async () => {
      for (let n = 0; n < 20; n++) {
        await purgeRows(pool, 0, 50);
        const [row] = await sql<{ head: number }[]>`select max(position)::int as head from events`;
        await sql`select log_checkpoint(${row?.head ?? 0}, 20)`;
        await sql`select stream_delete('mixed-b')`;
        await configure(sql, "mixed-b", { retention: { maxEvents: 3 } });
      }
    })(),
  ]);
  await trimAll();
  const heads =
    await sql`select (last_offset - first_offset + 1)::int as length from stream_heads where name like 'mixed-%'`;
  for (const head of heads) expect(head.length).toBeLessThanOrEqual(3);
  expect(await logDefects(sql)).toEqual([]);
}, 120_000);

test("a duty is begun by one of many, once in its interval, also when the clock was set back", async () => {
  const began = await Promise.all(Array.from({ length: 6 }, () => beginDuty(pool, "test", 60_000)));
  expect(began.filter(Boolean)).toHaveLength(1);
  expect(await beginDuty(pool, "test", 60_000)).toBe(false);
  await sql`update duties set begun_at = begun_at - interval '1 minute' where name = 'test'`;
  expect(await beginDuty(pool, "test", 60_000)).toBe(true);
  await sql`update duties set begun_at = clock_timestamp() + interval '1 year' where name = 'test'`;
  expect(await beginDuty(pool, "test", 60_000)).toBe(true);
});
