// Answers of commands by key: of two who answer one key, the second waits and finds the answer of the first.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createAppender } from "../../src/stream/append.ts";
import { appendGroups } from "../../src/stream/log-append.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { noValidation } from "../support/schemas.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: postgres.Sql;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
  await sql`select log_partition_add(false, 100000)`;
});
afterAll(() => sql.end());

const requestHash = "00000000-0000-0000-0000-000000000001";
const request = () => ({ stream: "commands", events: [newEvent()], expected: "any", idempotency: null }) as const;
const group = (key: string) => ({
  requests: [request()],
  checked: null,
  answer: { key, requestHash, answer: '{"n":1}' },
});
type Connection = postgres.Sql | postgres.TransactionSql;
const store = async (on: Connection, key: string) => (await appendGroups(on as postgres.Sql, [group(key)])).status;
const answer = async (on: Connection, key: string) =>
  (await on<{ kept: boolean }[]>`select command_answer(${key}, ${requestHash}, '{"n":2}') as kept`)[0]?.kept;
const waiting = (event: string) =>
  until("the second one waits", async () => {
    const rows = await sql`
      select 1 from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and wait_event = ${event}`;
    return rows.length > 0;
  });

/** What the second one comes to, who begins while the first one's transaction is open. */
async function behind<T>(first: (tx: Connection) => Promise<unknown>, second: () => Promise<T>, event = "advisory") {
  let outcome: Promise<T> | null = null;
  await sql.begin(async (tx) => {
    await first(tx);
    outcome = second();
    await waiting(event);
  });
  return outcome as unknown as Promise<T>;
}

test("who appends behind an answer without events finds it, and stores nothing", async () => {
  const status = await behind(
    (tx) => answer(tx, "a"),
    () => store(sql, "a"),
  );
  expect(status).toBe("{10}");
});

test("who answers behind an append finds its answer", async () => {
  const kept = await behind(
    (tx) => store(tx, "b"),
    () => answer(sql, "b"),
  );
  expect(kept).toBe(false);
  expect(await sql`select answer->>'n' as n from command_answers where key = 'b'`).toMatchObject([{ n: "1" }]);
});

test("a batch of thousands of keys takes no more than a thousand locks or so", async () => {
  const keys = Array.from({ length: 5_000 }, (_, n) => `many-${n}`);
  await sql.begin(async (tx) => {
    const { status } = await appendGroups(tx as unknown as postgres.Sql, keys.map(group));
    expect(status).toBe(`{${keys.map(() => 0)}}`);
    const [held] = await tx<{ n: number }[]>`
      select count(*)::int as n from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'`;
    // The log's own beside them.
    expect(held?.n).toBeLessThanOrEqual(1_025);
  });
});

test("an answer that came without the lock, from an earlier version's transaction, is found all the same", async () => {
  const appender = createAppender({
    ...{ pool: { run: (task) => task(sql), stop: async () => {} }, log: createLog("silent", "test") },
    ...{ maxBatchEvents: 10, maxBatchBytes: 10_000, batchesInFlight: 1, maxWaitingBytes: 10_000 },
    onAppended() {},
    onUnknown() {},
    onNoPartition: async () => {},
    validation: noValidation,
  });
  const appended = await behind(
    (tx) => tx`
      insert into command_answers (key, request_hash, answer, offsets, recorded_at)
      values ('c', ${requestHash}, '{"n":3}', '{}', now())`,
    () => appender.appendTogether([request()], group("c").answer),
    "transactionid",
  );
  expect(appended).toBeNull();
  await appender.stop();
});
