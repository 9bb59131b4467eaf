// The pace of the purge: slow as long as partitions may take the rows along, as fast as it can when too much waits.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { createPurger } from "../../src/stream/purge.ts";
import { deleteStream } from "../../src/stream/streams.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { logDefects, openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: postgres.Sql;
let pool: Pool;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
  pool = { run: (task) => task(sql), stop: async () => {} };
  await sql`select log_partition_add(false, 100000)`;
});
afterAll(() => sql.end());

const purger = (partitionSize: number, everyMs: number) =>
  createPurger({ pool, everyMs, deduplicationMs: 86_400_000, partitionSize, log: createLog("silent", "test") });

async function removed(stream: string, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1_000) {
    const events = Array.from({ length: Math.min(left, 1_000) }, () => newEvent());
    await callLogAppend(sql, [{ stream, events, expected: "any", idempotency: null }]);
  }
  await deleteStream(pool, stream, async () => {});
}

const onDisk = async () =>
  (await sql`select from events e join streams s on s.id = e.stream_id where not s.internal`).length;

test("what a round is good for is deleted, stream by stream, and the rest waits for later rounds or its partition", async () => {
  await Promise.all(["a", "b", "c"].map((stream) => removed(stream, 1_500)));
  const slow = purger(100_000, 1_000);
  slow.start();
  await until("a round is over", () => slow.counters().waiting === 2_500);
  expect(slow.counters().rows).toBe(2_000);
  await slow.stop();
});

test("when more than two partitions' worth of rows wait, all of them go at once", async () => {
  await removed("d", 5_000);
  await sql`delete from duties`;
  const urgent = purger(2_000, 1_000);
  urgent.start();
  await until("nothing waits", () => urgent.counters().rows > 0 && urgent.counters().waiting === 0);
  await urgent.stop();
  expect(await onDisk()).toBe(0);
  expect(await logDefects(sql)).toEqual([]);
});

test("of processes side by side one does a round; one that has removed something does not wait for its turn", async () => {
  await removed("e", 100);
  const late = purger(100_000, 3_600_000);
  await sql`insert into duties values ('purge', clock_timestamp()) on conflict (name) do update set begun_at = excluded.begun_at`;
  late.start();
  await until(
    "it has looked",
    async () =>
      (await sql`select from pg_stat_activity where query like '%duty_begin%' and pid <> pg_backend_pid()`).length > 0,
  );
  expect(await onDisk()).toBe(100);
  late.wake();
  await until("they are gone", async () => (await onDisk()) === 0);
  await late.stop();
});

test("one that removes something while it asks whose turn it is does not forget that", async () => {
  await removed("f", 100);
  await sql`insert into duties values ('purge', clock_timestamp()) on conflict (name) do update set begun_at = excluded.begun_at`;
  const asking = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const held: Pool = {
    async run(task) {
      const result = await task(sql);
      asking.resolve();
      await answered.promise;
      return result;
    },
    stop: async () => {},
  };
  const options = { everyMs: 3_600_000, deduplicationMs: 86_400_000, partitionSize: 100_000 };
  const woken = createPurger({ pool: held, ...options, log: createLog("silent", "test") });
  woken.start();
  await asking.promise;
  woken.wake();
  answered.resolve();
  await until("they are gone", async () => (await onDisk()) === 0);
  await woken.stop();
});
