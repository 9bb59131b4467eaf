// The functions of the log, called as they are.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { configure, logDefects, openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: postgres.Sql;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 2);
  await sql`select log_partition_add(false, 1000)`;
});
afterAll(() => sql.end());

const store = (stream: string, count = 1) =>
  callLogAppend(sql, [
    { stream, events: Array.from({ length: count }, () => newEvent()), expected: "any", idempotency: null },
  ]);

test("a partition is added while a reader's transaction is open, and appends go on meanwhile", async () => {
  await sql.begin("isolation level repeatable read", async (tx) => {
    await tx`select count(*) from events`;
    await sql.begin(async (other) => {
      await other`set local lock_timeout = '500ms'`;
      await other`select log_partition_add(false, 1000), log_partition_add(true, 1000)`;
    });
    await store("beside-a-reader");
  });
  const ends = await sql`select log_partition_end(false)::int as persistent, log_partition_end(true)::int as ephemeral`;
  expect(ends[0]).toEqual({ persistent: 2_000, ephemeral: 1_000 });
});

test("an added partition has the indexes and constraints of the first one", async () => {
  const definitions = async (from: number) => {
    const leaf = `events_persistent_${from}`;
    const rows = await sql<{ definition: string }[]>`
      select indexdef as definition from pg_indexes where tablename = ${leaf}
      union all select pg_get_constraintdef(oid) from pg_constraint where conrelid = ${leaf}::regclass order by 1`;
    return rows.map((row) => row.definition.replaceAll(leaf, "leaf"));
  };
  expect(await definitions(1_000)).toEqual(await definitions(0));
  expect((await definitions(1_000)).length).toBeGreaterThan(4);
});

test("an append beyond the last partition fails with the error that is recognised, and leaves no trace", async () => {
  const before = await sql`select max(position) as head from events`;
  const failed = await store("beyond", 2_500).then(
    () => null,
    (error: unknown) => error as { code: string; message: string },
  );
  expect(failed?.code).toBe("23514");
  expect(failed?.message).toContain("no partition of relation");
  expect(await sql`select max(position) as head from events`).toEqual(before);
  expect(await sql`select from streams where name = 'beyond'`).toHaveLength(0);
});

test("a partition that is added while an append is being planned is not overlooked by those that follow", async () => {
  const url = await createTestDatabase();
  const [one, other, locker] = [openSql(url, 1), openSql(url, 1), openSql(url, 1)];
  try {
    for (let n = 0; n < 2; n++) await other`select log_partition_add(false, 1000)`;
    const append = (by: postgres.Sql, count = 1) =>
      callLogAppend(by, [
        { stream: "s", events: Array.from({ length: count }, () => newEvent()), expected: "any", idempotency: null },
      ]);
    await append(other);
    await one`set plan_cache_mode = force_generic_plan`;
    // It has looked which partitions there are, and waits for an index of this one.
    const planned = await locker.begin(async (tx) => {
      await tx`reindex index events_persistent_1000_stream_offset`;
      const appending = append(one);
      await until("it is being planned", async () => {
        const waiting = await other`
          select from pg_locks where relation = 'events_persistent_1000_stream_offset'::regclass and not granted`;
        return waiting.length > 0;
      });
      await other`select log_partition_add(false, 1000)`;
      return { appending };
    });
    await planned.appending;
    for (let n = 0; n < 5; n++) await append(other, 500);
    await append(one);
    expect(await logDefects(other)).toEqual([]);
  } finally {
    await Promise.all([one, other, locker].map((each) => each.end()));
  }
});

test("the first position at or after a time is found, whatever is missing between", async () => {
  for (let i = 0; i < 30; i++) await store(`timed-${i % 3}`, 1 + (i % 4));
  await sql`update events set recorded_at = '2026-01-01T00:00:00Z'::timestamptz + (position / 3) * interval '1 second'`;
  await sql`delete from events where position % 7 in (2, 3)`;
  const rows = await sql<
    { position: string; recorded_at: Date }[]
  >`select position, recorded_at from events order by position`;
  const head = Number(rows.at(-1)?.position);
  for (let second = -1; second <= head / 3 + 2; second++) {
    for (const ms of [0, 1]) {
      const time = new Date(Date.UTC(2026, 0, 1, 0, 0, second, ms));
      const [found] = await sql`select log_position_at(${time}, ${head})::int as position`;
      const expected = rows.find((row) => row.recorded_at >= time);
      // A missing position before the first event of the time is as good as the event's own.
      const after = rows.findLast((row) => row.recorded_at < time);
      const position = found?.position as number;
      expect(position).toBeGreaterThan(Number(after?.position ?? -1));
      expect(position).toBeLessThanOrEqual(expected ? Number(expected.position) : head + 1);
    }
  }
});

test("control records and appends take turns in one order", async () => {
  const clean = openSql(await createTestDatabase(), 6);
  await clean`select log_partition_add(false, 10000)`;
  const append = (stream: string) =>
    callLogAppend(clean, [{ stream, events: [newEvent(), newEvent()], expected: "any", idempotency: null }]);
  await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      i % 3 === 0 ? clean`select log_control('sluice.test', '{"n":1}')` : append(`turns-${i % 4}`),
    ),
  );
  expect(await logDefects(clean)).toEqual([]);
  const [count] = await clean`select count(*)::int as n from events`;
  expect(count?.n).toBe(20 + 2 * 40);
  await clean.end();
});

test("two schemas of one database have logs of their own, and locks of their own", async () => {
  const [own] = await sql`select log_lock() as key`;
  const [other] = await sql.begin(async (tx) => {
    await tx`create schema other_log`;
    await tx`create function other_log.log_lock() returns bigint language sql stable as
      'select event_streaming.log_lock()'`;
    return tx`select set_config('search_path', 'other_log', true), event_streaming.log_lock() as key`;
  });
  expect(other?.key).toBeString();
  expect(other?.key).not.toBe(own?.key);
});

test("an id of a deleted life is unknown at once, and forgetting it leaves the same id of the new life", async () => {
  const storeId = async (data: string) => {
    const event = newEvent({ id: "same", data });
    const request = { stream: "lives", events: [event, newEvent()], expected: "any", idempotency: null } as const;
    const { status, offsets, duplicates } = await callLogAppend(sql, [request]);
    return [status, offsets, duplicates];
  };
  expect(await storeId("1")).toEqual(["{0}", "{0,1}", "{f,f}"]);
  const [deleted] = await sql`select first_offset::int, last_offset::int from stream_delete('lives')`;
  expect(deleted).toMatchObject({ first_offset: 0, last_offset: 1 });
  expect(await storeId("2")).toEqual(["{0}", "{2,3}", "{f,f}"]);
  const purged = await sql<{ gone: number }[]>`select (stream_purge(0, 1)).gone as gone from generate_series(1, 4)`;
  expect(purged.map((row) => row.gone)).toEqual([1, 1, 0, 0]);
  // The id of the old life was given anew: nothing is left to forget.
  expect([...(await sql`select event_ids_forget(clock_timestamp(), 10) as gone`)]).toEqual([{ gone: 0 }]);
  expect([...(await sql`select event_ids_forget(clock_timestamp(), 10) as gone`)]).toEqual([{ gone: null }]);
  expect(await storeId("2")).toEqual(["{0}", "{2,4}", "{t,f}"]);
  const left = await sql`
    select e."offset"::int from events e join streams s on s.id = e.stream_id where s.name = 'lives' order by 1`;
  expect(left.map((row) => row.offset)).toEqual([2, 3, 4]);
});

test("names that refused appends left behind are removed, streams that exist or existed are not", async () => {
  await store("kept");
  await store("kept-deleted");
  await sql`select stream_delete('kept-deleted')`;
  await configure(sql, "kept-empty");
  await configure(sql, "left-empty");
  await sql`select stream_delete('left-empty')`;
  const refused = ["left-1", "left-2"].map((stream) => ({
    stream,
    events: [newEvent()],
    expected: 5,
    idempotency: null,
  }));
  const answer = await callLogAppend(sql, refused);
  expect(answer.status).toBe("{2,2}");
  const names = async () => {
    const rows = await sql<{ name: string }[]>`select name from streams where name ~ '^(kept|left)' order by name`;
    return rows.map((row) => row.name);
  };
  expect(await names()).toEqual(["kept", "kept-deleted", "kept-empty", "left-1", "left-2", "left-empty"]);
  expect([...(await sql`select stream_forget_unborn(2) as gone`)]).toEqual([{ gone: 2 }]);
  expect([...(await sql`select stream_forget_unborn(10) as gone`)]).toEqual([{ gone: 1 }]);
  expect(await names()).toEqual(["kept", "kept-deleted", "kept-empty"]);
  await store("kept-deleted");
  const [head] = await sql`select last_offset::int from stream_heads where name = 'kept-deleted'`;
  expect(head?.last_offset).toBe(1);
});

test("an append that waits for a name which is removed meanwhile begins anew", async () => {
  const expected = 5;
  const refused = () => callLogAppend(sql, [{ stream: "fleeting", events: [newEvent()], expected, idempotency: null }]);
  await refused();
  let waiting: Promise<unknown> = Promise.resolve();
  await sql.begin(async (tx) => {
    await tx`select stream_forget_unborn(10)`;
    waiting = store("fleeting").catch((error: { code: string }) => error.code);
    await until("it waits for the row", async () => {
      const rows = await tx`select from pg_locks where not granted`;
      return rows.length > 0;
    });
  });
  expect(await waiting).toBe("40001");
  await store("fleeting");
});

test("appends and configurations of names that come and go succeed while the removal runs", async () => {
  const own = openSql(await createTestDatabase(), 5);
  await own`select log_partition_add(false, 1000)`;
  let running = true;
  const removing = (async () => {
    while (running) await own`select stream_forget_unborn(10)`;
  })();
  const insist = async (stream: string, expected: number | "any") => {
    for (;;) {
      try {
        return await callLogAppend(own, [{ stream, events: [newEvent()], expected, idempotency: null }]);
      } catch (error) {
        if ((error as { code: string }).code !== "40001") throw error;
      }
    }
  };
  await Promise.all(
    [0, 1].map(async () => {
      for (let n = 0; n < 150; n++) {
        const stream = `contested-${n}`;
        expect((await insist(stream, 7)).status).toMatch(/^\{[02]\}$/);
        if (n % 3 === 0) await configure(own, stream, { replay: false });
        expect((await insist(stream, "any")).status).toBe("{0}");
      }
    }),
  );
  running = false;
  await removing;
  const [streams] = await own`select count(*)::int as found, count(*) filter (where not replay)::int as configured
                              from streams where name like 'contested-%' and created_at is not null`;
  expect([streams?.found, streams?.configured]).toEqual([150, 50]);
  expect(await logDefects(own)).toEqual([]);
  await own.end();
}, 120_000);
