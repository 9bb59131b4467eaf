// Requests that are stored together or not at all, and the answer of a command that goes with them.
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import type postgres from "postgres";
import { Problem } from "../../src/base/errors.ts";
import { createLog } from "../../src/base/log.ts";
import { createPool, type Pool } from "../../src/storage/pool.ts";
import { type Appended, type Appender, createAppender } from "../../src/stream/append.ts";
import type { AppendRequest, CommandAnswer, Expected } from "../../src/stream/append-request.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { noValidation } from "../support/schemas.ts";
import { logDefects, openSql } from "../support/sql.ts";

let sql: postgres.Sql;
let pool: Pool;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 6);
  await sql`select log_partition_add(false, 4000000)`;
  pool = createPool({ connect: () => sql, size: 6, timeLimitMs: 10_000 });
});
afterAll(() => sql.end());

const appender = (): Appender =>
  createAppender({
    pool,
    log: createLog("silent", "test"),
    maxBatchEvents: 1_000,
    maxBatchBytes: 4_000_000,
    batchesInFlight: 2,
    maxWaitingBytes: 64_000_000,
    onAppended() {},
    onUnknown() {},
    onNoPartition: () => Promise.resolve(),
    validation: noValidation,
  });
const request = (stream: string, expected: Expected = "any", events = [newEvent()]): AppendRequest => ({
  stream,
  events,
  expected,
  idempotency: null,
});
const answerOf = (key: string, answer = "{}", requestHash = "00000000-0000-0000-0000-000000000001"): CommandAnswer => ({
  key,
  requestHash,
  answer,
});
const codeOf = (appended: Promise<unknown>) =>
  appended.then(
    () => "stored",
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );
async function streamOf(name: string): Promise<{ id: string; position: number; offset: number }[]> {
  const rows = await sql`
    select e.id, e.position, e."offset" from events e join streams s on s.id = e.stream_id where s.name = ${name} order by e.position`;
  return rows.map((row) => ({ id: row.id as string, position: Number(row.position), offset: Number(row.offset) }));
}

test("events of several streams stand in the log in the order in which they came, one stream again and again", async () => {
  const names = ["order-b", "order-a", "order-b", "order-c", "order-a"];
  const requests = names.map((name) => request(name, "any", [newEvent(), newEvent()]));
  const appended = (await appender().appendTogether(requests, null)) as Appended[];
  expect(appended.map(({ stream, events }) => [stream, ...events.map(({ offset }) => offset)])).toEqual([
    ["order-b", 0, 1],
    ["order-a", 0, 1],
    ["order-b", 2, 3],
    ["order-c", 0, 1],
    ["order-a", 2, 3],
  ]);
  const positions = await sql`
    select e.id from events e join streams s on s.id = e.stream_id where s.name like 'order-_' order by e.position`;
  expect(positions.map(({ id }) => id as string)).toEqual(requests.flatMap(({ events }) => events.map(({ id }) => id)));
});

test("what is wrong with one request refuses all of its group, and nothing beside it", async () => {
  const appends = appender();
  await appends.append(request("wrong-a"));
  const before = appends.append(request("wrong-d"));
  const group = appends.appendTogether([request("wrong-b"), request("wrong-a", 7), request("wrong-c")], null);
  const after = appends.append(request("wrong-d", 0));
  expect(await codeOf(group)).toBe("wrong-expected-version");
  expect([(await before).events[0]?.offset, (await after).events[0]?.offset]).toEqual([0, 1]);
  expect(await streamOf("wrong-b")).toEqual([]);
  expect(await streamOf("wrong-c")).toEqual([]);
  const visible = await sql`select name from streams where name in ('wrong-b', 'wrong-c') and created_at is not null`;
  expect(visible).toHaveLength(0);
  const known = newEvent({ id: "taken", data: "1" });
  await appends.append(request("wrong-e", "any", [known]));
  const other = newEvent({ id: "taken", data: "2" });
  expect(await codeOf(appends.appendTogether([request("wrong-b"), request("wrong-e", "any", [other])], null))).toBe(
    "event-id-conflict",
  );
  expect(await streamOf("wrong-b")).toEqual([]);
});

test("two events of one id and another content are refused together, in one request and in two of a group; the same one counts once", async () => {
  const appends = appender();
  const event = (data: string) => newEvent({ id: "one", data });
  const inOne = appends.append(request("twice", "any", [event("1"), event("2")]));
  expect(await codeOf(inOne)).toBe("event-id-conflict");
  const inTwo = appends.appendTogether(
    [request("twice", "any", [event("1")]), request("beside"), request("twice", "any", [event("2")])],
    null,
  );
  expect(await codeOf(inTwo)).toBe("event-id-conflict");
  expect([await streamOf("twice"), await streamOf("beside")]).toEqual([[], []]);
  const { events } = await appends.append(request("twice", "any", [event("3"), event("3")]));
  expect(events.map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
    [0, false],
    [0, true],
  ]);
});

test("a group is judged on what stood before it, and what comes later on what it stored", async () => {
  const appends = appender();
  const outcomes = await Promise.all([
    codeOf(appends.appendTogether([request("judged-a", "nothing"), request("judged-b", "nothing")], null)),
    codeOf(appends.appendTogether([request("judged-b", "nothing"), request("judged-c", "nothing")], null)),
    codeOf(appends.appendTogether([request("judged-c", "nothing"), request("judged-a", 0)], null)),
  ]);
  expect(outcomes).toEqual(["stored", "wrong-expected-version", "stored"]);
});

test("the answer of a command is stored with its events, once for its key whichever process is first", async () => {
  const processes = [appender(), appender(), appender()];
  const outcomes = await Promise.all(
    processes.map((appends, n) =>
      appends.appendTogether([request(`answered-${n}`), request("answered")], answerOf("p\nc\nonce", `{"n":${n}}`)),
    ),
  );
  const winners = outcomes.flatMap((outcome, n) => (outcome === null ? [] : [n]));
  expect(winners).toHaveLength(1);
  expect(await streamOf("answered")).toHaveLength(1);
  const [row] =
    await sql`select answer::text as answer, offsets::text as offsets from command_answers where key = ${"p\nc\nonce"}`;
  expect(row).toEqual({ answer: `{"n":${winners[0]}}`, offsets: "{0,0}" });
  for (const n of [0, 1, 2]) expect(await streamOf(`answered-${n}`)).toHaveLength(n === winners[0] ? 1 : 0);
});

test("an answer whose events are refused is not kept", async () => {
  const appends = appender();
  const refused = appends.appendTogether([request("unkept-a"), request("unkept-b", 4)], answerOf("p\nc\nunkept"));
  expect(await codeOf(refused)).toBe("wrong-expected-version");
  expect(await sql`select 1 from command_answers where key = ${"p\nc\nunkept"}`).toHaveLength(0);
  expect(await appends.appendTogether([request("unkept-a")], answerOf("p\nc\nunkept"))).toHaveLength(1);
});

test("batches of two processes that lock streams and keys in any order both come to their ends", async () => {
  const [a, b] = [appender(), appender()] as const;
  const rounds = Array.from({ length: 30 }, (_, n) => n);
  const stored = await Promise.all(
    rounds.flatMap((n) => [
      a.appendTogether([request("cross-a"), request("cross-b")], answerOf(`p\nc\nx${n}`)),
      b.appendTogether([request("cross-b"), request("cross-a")], answerOf(`p\nc\nx${rounds.length - 1 - n}`)),
    ]),
  );
  expect(stored.filter((outcome) => outcome !== null)).toHaveLength(rounds.length);
  expect(await streamOf("cross-a")).toHaveLength(rounds.length);
});

test("random groups beside each other: each is there whole or not at all, and the log has no defect", async () => {
  const part = fc.record({
    stream: fc.integer({ min: 0, max: 3 }),
    count: fc.integer({ min: 1, max: 3 }),
    expected: fc.constantFrom<Expected>("any", "any", "any", "nothing", "something", 0, 2),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(part, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 }),
      async (groups) => {
        const name = `random-${run++}`;
        const processes = [appender(), appender()];
        const asked = groups.map((parts) => {
          const seen = new Set<number>();
          return parts.map(({ stream, count, expected }) => {
            const first = !seen.has(stream);
            seen.add(stream);
            const events = Array.from({ length: count }, () => newEvent());
            return request(`${name}-${stream}`, first ? expected : "any", events);
          });
        });
        const outcomes = await Promise.all(
          asked.map((requests, n) => codeOf((processes[n % 2] as Appender).appendTogether(requests, null))),
        );
        const there = new Set(
          (await Promise.all([0, 1, 2, 3].map((n) => streamOf(`${name}-${n}`)))).flat().map(({ id }) => id),
        );
        for (const [n, requests] of asked.entries()) {
          const isStored = outcomes[n] === "stored";
          for (const { events } of requests) for (const { id } of events) expect(there.has(id)).toBe(isStored);
        }
      },
    ),
    { numRuns: 40 },
  );
  expect(await logDefects(sql)).toEqual([]);
});
