// The background duties of the log, one process among several.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createPool } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { createUpkeep, type Upkeep } from "../../src/stream/upkeep.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { openSql } from "../support/sql.ts";

let sql: postgres.Sql;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
});
afterAll(() => sql.end());

function upkeep(head: () => number): Upkeep {
  return createUpkeep({
    pool: createPool({ connect: () => sql, size: 2, timeLimitMs: 10_000 }),
    head,
    partitionSize: 500,
    idempotencyKeysMs: 86_400_000,
    log: createLog("silent", "test"),
  });
}

const end = async () => (await sql`select log_partition_end(false)::int as upper`)[0]?.upper as number;

test("two processes that start at once add each partition once", async () => {
  const processes = [upkeep(() => -1), upkeep(() => -1), upkeep(() => -1)];
  await Promise.all(processes.map((process) => process.start()));
  expect(await end()).toBe(2_000);
  expect(processes.map((process) => process.partitionRoom())).toEqual([2_000, 2_000, 2_000]);
  await Promise.all(processes.map((process) => process.stop()));
});

test("partitions are added behind what others appended, though this process has not heard of it", async () => {
  const deaf = upkeep(() => -1);
  await deaf.start();
  const events = Array.from({ length: 1_500 }, () => newEvent());
  await callLogAppend(sql, [{ stream: "heard-late", events, expected: "any", idempotency: null }]);
  await deaf.wakePartitions();
  expect(await end()).toBe(3_500);
  await deaf.stop();
});
