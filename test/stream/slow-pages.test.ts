// Pages of a log that is slow to read: what the database's time limit has taught is not forgotten with the page.
import { expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createSemaphore } from "../../src/base/semaphore.ts";
import { createDatabase } from "../../src/storage/database.ts";
import { isTooSlow } from "../../src/storage/pg-errors.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { resolveRange } from "../../src/stream/range.ts";
import { replayLines } from "../../src/stream/replay.ts";
import { asStored } from "../../src/stream/schema/target.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";
import { unversioned } from "../support/schemas.ts";

const total = 100;

test("a replay that ran into the time limit goes on with statements that keep it", async () => {
  const log = createLog("silent", "test");
  const database = createDatabase({
    connection: await createTestDatabase(),
    schema: testSchema,
    poolSize: 1,
    commandTimeoutMs: 1_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log,
  });
  let tooSlow = 0;
  const pool: Pool = {
    ...database.reads,
    run: (task, signal) =>
      database.reads.run(task, signal).catch((error: unknown) => {
        if (isTooSlow(error)) tooSlow++;
        throw error;
      }),
  };
  const reader = { pool, knownHead: () => 0 };
  await database.appends.run(async (sql) => {
    await sql`select log_partition_add(false, 1000)`;
    const events = Array.from({ length: total }, () => newEvent());
    await callLogAppend(sql, [{ stream: "slow", events, expected: "any", idempotency: null }]);
  });
  const range = await resolveRange(reader, {
    selection: { streams: null, types: null, correlation: null, key: null, where: null },
    single: false,
    from: null,
    after: null,
    to: null,
    direction: "forward",
    principal: everyone,
  });
  // From now on each event takes 20 ms to read.
  await database.appends.run(async (sql) => {
    await sql`create function takes_long() returns boolean language plpgsql volatile cost 100000 as
      'begin perform pg_sleep(0.02); return true; end'`;
    await sql`alter table events rename to quick_events`;
    await sql`create view events as select * from quick_events where takes_long()`;
  });
  const text = await new Response(
    replayLines(unversioned(reader), range, asStored, null, createSemaphore(1), log),
  ).text();
  expect(text.split("\n").length - 1).toBe(total);
  expect(tooSlow).toBeGreaterThan(0);
  expect(tooSlow).toBeLessThan(4);
  await database.stop();
}, 120_000);
