// The appender: requests in batches, each with its own outcome, and what it does when the database refuses or fails.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type postgres from "postgres";
import { Problem } from "../../src/base/errors.ts";
import { createLog } from "../../src/base/log.ts";
import { createPool, type Pool } from "../../src/storage/pool.ts";
import { type Appender, type AppenderOptions, createAppender } from "../../src/stream/append.ts";
import type { AppendRequest } from "../../src/stream/append-request.ts";
import type { StoredEvent } from "../../src/stream/event.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { noValidation } from "../support/schemas.ts";
import { logDefects, openSql } from "../support/sql.ts";

let sql: postgres.Sql;
let pool: Pool;
let stored: StoredEvent[];
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 3);
  await sql`select log_partition_add(false, 4000000)`;
  pool = createPool({ connect: () => sql, size: 2, timeLimitMs: 10_000 });
});
afterAll(() => sql.end());
beforeEach(() => {
  stored = [];
});

function appender(options: Partial<AppenderOptions> = {}): Appender {
  return createAppender({
    pool,
    log: createLog("silent", "test"),
    maxBatchEvents: 1_000,
    maxBatchBytes: 4_000_000,
    batchesInFlight: 2,
    maxWaitingBytes: 64_000_000,
    onAppended: (events) => stored.push(...events),
    onUnknown() {},
    onNoPartition: () => Promise.resolve(),
    validation: noValidation,
    ...options,
  });
}

const request = (stream: string, fields: Partial<AppendRequest> = {}): AppendRequest => ({
  stream,
  events: [newEvent()],
  expected: "any",
  idempotency: null,
  ...fields,
});

async function problemOf(appended: Promise<unknown>): Promise<string> {
  const error = await appended.then(
    () => new Error("it was stored"),
    (e: unknown) => e,
  );
  return error instanceof Problem ? error.code : String(error);
}

/** A pool whose first statements fail with these errors; null lets one through. */
function failing(errors: (Error | null)[]): Pool {
  return {
    run: (task, signal) => {
      const error = errors.shift() ?? null;
      return error === null ? pool.run(task, signal) : Promise.reject(error);
    },
    stop: () => Promise.resolve(),
  };
}

const pgError = (code: string, message = "") => Object.assign(new Error(message), { code });

test("requests that arrive together travel in one batch", async () => {
  const appends = appender();
  await Promise.all(Array.from({ length: 50 }, (_, i) => appends.append(request(`together-${i % 7}`))));
  expect(appends.counters()).toMatchObject({ requests: 50, events: 50, batches: 1 });
  expect(stored.map((event) => event.position)).toEqual(
    Array.from({ length: 50 }, (_, i) => (stored[0]?.position as number) + i),
  );
});

test("data that only the database refuses fails its own request and none of its neighbours", async () => {
  const appends = appender();
  const guilty = new Set([3, 4, 17]);
  const outcomes = await Promise.all(
    Array.from({ length: 24 }, (_, i) => {
      const event = newEvent(guilty.has(i) ? { data: "{not json" } : { data: String(i) });
      const appended = appends.append(request(`neighbours-${i % 5}`, { events: [newEvent(), event] }));
      return appended.then(
        () => "stored",
        (error: unknown) => (error as Problem).code,
      );
    }),
  );
  expect(outcomes).toEqual(Array.from({ length: 24 }, (_, i) => (guilty.has(i) ? "internal-error" : "stored")));
  const rows = await sql`
    select e.data from events e join streams s on s.id = e.stream_id where s.name like 'neighbours-%' and e.data is not null`;
  expect(rows.map((row) => row.data).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 24 }, (_, i) => i).filter((i) => !guilty.has(i)),
  );
  expect(await logDefects(sql)).toEqual([]);
  expect(appends.counters()).toMatchObject({ requests: 24, failed: 3, events: 42 });
});

test("a batch of nothing but bad requests fails them all and leaves no trace", async () => {
  const appends = appender();
  const bad = () => appends.append(request("all-bad", { events: [newEvent({ data: "\\" })] }));
  expect(await Promise.all([problemOf(bad()), problemOf(bad()), problemOf(bad())])).toEqual([
    "internal-error",
    "internal-error",
    "internal-error",
  ]);
  expect(await sql`select from streams where name = 'all-bad'`).toHaveLength(0);
});

test("in one batch each request is judged by what those before it did", async () => {
  const appends = appender();
  const known = (id: string, type = "A") => newEvent({ id, type });
  const results = await Promise.allSettled([
    appends.append(request("judged", { expected: "something" })),
    appends.append(request("judged", { expected: "nothing", events: [known("1"), newEvent()] })),
    appends.append(request("judged", { expected: "nothing" })),
    appends.append(request("judged", { expected: 1 })),
    appends.append(request("judged", { expected: 0, events: [known("1")] })),
    appends.append(request("judged", { events: [known("1", "B")] })),
    appends.append(request("judged", { events: [known("2"), known("1"), known("2")] })),
    appends.append(request("judged", { expected: "something" })),
  ]);
  expect(appends.counters().batches).toBe(1);
  const told = results.map((result) =>
    result.status === "fulfilled"
      ? result.value.events.map((event) => `${event.offset}${event.duplicate ? "d" : ""}`).join(" ")
      : `${result.reason.code} ${result.reason.fields.actual ?? result.reason.fields.ids}`,
  );
  expect(told).toEqual([
    "wrong-expected-version -1",
    "0 1",
    "wrong-expected-version 1",
    "2",
    "0d",
    "event-id-conflict 1",
    "3 0d 3d",
    "4",
  ]);
  const fulfilled = results.flatMap((result) => (result.status === "fulfilled" ? [result.value.lastPosition] : []));
  const first = stored[0]?.position as number;
  expect(fulfilled.map((position) => position - first)).toEqual([1, 2, 0, 3, 4]);
});

test("events are handed on before their request is answered, in the order of positions", async () => {
  const appends = appender();
  let handed = -1;
  const answers = Array.from({ length: 10 }, () =>
    appends.append(request("handed")).then((appended) => {
      handed = Math.max(handed, stored.at(-1)?.position ?? -1);
      expect(handed).toBeGreaterThanOrEqual(appended.lastPosition);
    }),
  );
  await Promise.all(answers);
  expect(stored.map((event) => event.position)).toEqual(
    [...stored.map((event) => event.position)].sort((a, b) => a - b),
  );
});

test("more than may wait is refused as overload, and served again when there is room", async () => {
  const appends = appender({ maxWaitingBytes: 1_000 });
  const large = () => appends.append(request("overload", { events: [newEvent({ bytes: 600 })] }));
  const outcomes = await Promise.allSettled([large(), large(), large(), large()]);
  expect(outcomes.map((o) => (o.status === "fulfilled" ? "stored" : o.reason.code))).toEqual([
    "stored",
    "stored",
    "overloaded",
    "overloaded",
  ]);
  expect((await large()).events[0]?.offset).toBe(2);
});

test("what is refused or fails gives its room and its key back", async () => {
  const appends = appender({ maxWaitingBytes: 1_000, pool: failing([pgError("ECONNREFUSED")]) });
  const idempotency = { key: "k", requestHash: "00000000-0000-0000-0000-000000000000" };
  const attempt = () =>
    appends.append(request("room", { events: [newEvent({ id: "x", bytes: 900 })], idempotency, expected: 5 }));
  expect(await problemOf(attempt())).toBe("storage-unavailable");
  for (let i = 0; i < 3; i++) expect(await problemOf(attempt())).toBe("wrong-expected-version");
});

test("a transaction that the database rolled back for a passing reason is tried again", async () => {
  for (const code of ["40001", "40P01", "55P03"]) {
    const appends = appender({ pool: failing([pgError(code), pgError(code)]) });
    expect((await appends.append(request(`retried-${code}`))).events[0]?.offset).toBe(0);
    expect(appends.counters().batches).toBe(3);
  }
});

test("a passing reason that does not pass is an outage in which nothing was stored", async () => {
  const appends = appender({ pool: failing(Array(5).fill(pgError("40P01"))) });
  expect(await problemOf(appends.append(request("never")))).toBe("storage-unavailable");
});

test("a missing partition is asked for and the batch tried again", async () => {
  let asked = 0;
  const missing = pgError("23514", 'no partition of relation "events_persistent" found for row');
  const appends = appender({
    pool: failing([missing, null]),
    onNoPartition: async () => {
      asked++;
    },
  });
  expect((await appends.append(request("extended"))).events[0]?.offset).toBe(0);
  expect(asked).toBe(1);
});

test("a broken connection leaves the outcome unknown and is reported; a failed one does not", async () => {
  let unknown = 0;
  const errors = [
    pgError("CONNECTION_CLOSED"),
    pgError("57P01"),
    pgError("ECONNREFUSED"),
    pgError("53300"),
    pgError("42883"),
  ];
  const appends = appender({ pool: failing(errors), onUnknown: () => unknown++ });
  const problems: string[] = [];
  for (let i = 0; i < 5; i++) problems.push(await problemOf(appends.append(request("unknown"))));
  expect(problems).toEqual([
    "outcome-unknown",
    "outcome-unknown",
    "storage-unavailable",
    "storage-unavailable",
    "internal-error",
  ]);
  expect(unknown).toBe(2);
});

test("after a stop nothing is taken, and what was taken is finished", async () => {
  const appends = appender();
  const taken = Array.from({ length: 20 }, () => appends.append(request("stopped")));
  const stopped = appends.stop();
  expect(await problemOf(appends.append(request("stopped")))).toBe("shutting-down");
  await stopped;
  const settled = await Promise.race([
    Promise.all(taken),
    new Promise((resolve) => setImmediate(() => resolve("late"))),
  ]);
  expect(settled).toHaveLength(20);
});

test("an older open transaction does not stop appends, nor does it see them", async () => {
  const appends = appender();
  await appends.append(request("older"));
  const reading = sql.begin("isolation level repeatable read", async (tx) => {
    const count = async () => (await tx`select count(*)::int as n from events`)[0]?.n as number;
    const before = await count();
    for (let i = 0; i < 20; i++) await appends.append(request(i % 2 ? "older" : `older-new-${i}`));
    return [before, await count()];
  });
  const [before, after] = (await reading) as number[];
  expect(after).toBe(before as number);
  expect(stored).toHaveLength(21);
});
