// The SQL functions of sagas: each record has its own outcome, only an owner records, and what is due goes to one owner.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import type { Sql } from "../../src/storage/pool.ts";
import { callLogAppend } from "../../src/stream/log-append.ts";
import type { Match } from "../../src/workflow/sagas/awaited.ts";
import {
  callSagaClaim,
  callSagaFlag,
  callSagaFree,
  callSagaRecord,
  callSagaStart,
  callSagaWatch,
  type RecordCall,
  type StartCall,
} from "../../src/workflow/sagas/calls.ts";
import type { Instance } from "../../src/workflow/sagas/instance.ts";
import { notStarted } from "../../src/workflow/sagas/progress.ts";
import { transitionEvent } from "../../src/workflow/sagas/saga-events.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";
import { openSql } from "../support/sql.ts";

let sql: postgres.Sql;
let database: Database;
beforeAll(async () => {
  const connection = await createTestDatabase();
  sql = openSql(connection);
  const limits = { poolSize: 2, commandTimeoutMs: 15_000, appendsInFlight: 1, claimsInFlight: 8 };
  database = createDatabase({ connection, schema: testSchema, ...limits, log: createLog("silent", "test") });
  await sql`select log_partition_add(false, 1000)`;
});
afterAll(async () => {
  await sql.end();
  await database.stop();
});
/** As the service calls them. */
const called =
  <Arguments extends unknown[], Answer>(call: (sql: Sql, ...given: Arguments) => Promise<Answer>) =>
  (...given: Arguments) =>
    database.claims.run((its) => call(its, ...given));
const [start, put, take, free, flag, watch] = [
  called(callSagaStart),
  called(callSagaRecord),
  called(callSagaClaim),
  called(callSagaFree),
  called(callSagaFlag),
  called(callSagaWatch),
];

let names = 0;
const newName = () => `saga-${++names}`;
const running = { ...notStarted(null), state: "Running" as const };
const places = { from: -1, seen: {} };

function saga(name: string, more: Partial<StartCall> = {}): StartCall {
  const id = more.id ?? randomUUID();
  const subject = { id, saga: name, correlationId: more.correlationId ?? id };
  const events = [transitionEvent(subject, { type: "started" })];
  return {
    ...subject,
    version: 1,
    steps: ["one", "two"],
    progress: running,
    places,
    data: "{}",
    requestHash: null,
    run: true,
    events,
    ...more,
  };
}
const instanceOf = (call: StartCall, epoch = 1, turn = 0): Instance => ({
  ...call,
  epoch,
  turn,
  lost: 0,
  waitingFor: null,
});

function record(instance: Instance, more: Partial<RecordCall> = {}): RecordCall {
  return {
    instance,
    version: 1,
    steps: instance.steps,
    progress: { ...instance.progress, completed: ["one"] },
    places,
    data: null,
    waitingFor: null,
    restMs: null,
    events: [transitionEvent(instance, { type: "step-completed", step: "one" })],
    ...more,
  };
}
async function started(owner: string, name: string, more: Partial<StartCall> = {}): Promise<Instance> {
  const call = saga(name, more);
  expect(await start(owner, [call])).toEqual(["started"]);
  return instanceOf(call, 1);
}
const told = async (id: string) =>
  (await sql<{ type: string }[]>`select type from outbox where partition_key = ${id} order by id`).map(
    ({ type }) => type,
  );
const rowOf = async (id: string) => {
  const [row] = await sql<
    {
      owner: string | null;
      is_due: boolean | null;
      epoch: string;
      turn: string;
      lost: number;
      state: string;
      data: unknown;
    }[]
  >`select owner, due_at <= clock_timestamp() as is_due, epoch, turn, lost, state, data from sagas where id = ${id}`;
  return row as NonNullable<typeof row>;
};
const claim = (owner: string, name: string, limit = 100, version = 1) => take(owner, new Map([[name, version]]), limit);
/** The owner is alive for so long. */
const live = (owner: string, ms: number) =>
  sql`select lease_hold(${owner}, ${`{"sagas:${owner}"}`}::text[], ${`${ms} ms`}::text::interval)`;

test("of sagas that are started together each has its own outcome", async () => {
  const [owner, name, hash] = [randomUUID(), newName(), randomUUID()];
  const first = saga(name, { requestHash: hash });
  expect(await start(owner, [first])).toEqual(["started"]);
  const other = saga(name);
  const batch = [first, { ...first, requestHash: randomUUID() }, other];
  expect(await start(owner, batch)).toEqual(["again", "conflict", "started"]);
  expect(await told(first.id)).toEqual(["sluice.saga-started"]);
  expect(await told(other.id)).toEqual(["sluice.saga-started"]);
});

test("only its owner, in its epoch and at its turn, records a saga, and nothing is told of the others", async () => {
  const [owner, name] = [randomUUID(), newName()];
  const mine = await started(owner, name);
  const theirs = await started(randomUUID(), name);
  const unowned = await started(owner, name, { run: false });
  const gone = instanceOf(saga(name));
  const wrong = [theirs, unowned, gone, { ...mine, epoch: 2 }, { ...mine, epoch: 0 }, { ...mine, turn: 1 }];
  for (const one of wrong) expect(await put(owner, [record(one)])).toEqual(["stale"]);
  const batch = [record(theirs), record(mine, { data: '{"a":1}' }), record(unowned)];
  expect(await put(owner, batch)).toEqual(["stale", "recorded", "stale"]);
  expect(await rowOf(mine.id)).toMatchObject({ owner, turn: "1", data: { a: 1 }, is_due: null });
  expect(await told(mine.id)).toEqual(["sluice.saga-started", "sluice.saga-step-completed"]);
  expect(await told(theirs.id)).toEqual(["sluice.saga-started"]);
  // Nobody's owner records what nobody owns, and nothing else.
  expect(await put(null, [record(mine), record(unowned)])).toEqual(["stale", "recorded"]);
});

test("a record that is repeated because its outcome was not known is made once", async () => {
  const owner = randomUUID();
  const mine = await started(owner, newName());
  for (let n = 0; n < 3; n++) expect(await put(owner, [record(mine)])).toEqual(["recorded"]);
  expect((await rowOf(mine.id)).turn).toBe("1");
  expect(await told(mine.id)).toEqual(["sluice.saga-started", "sluice.saga-step-completed"]);
  expect(await put(owner, [record({ ...mine, turn: 1 })])).toEqual(["recorded"]);
  expect(await put(owner, [record(mine)])).toEqual(["stale"]);
});

test("who does not know that a saga was paused or cancelled is told, and records nothing until he does", async () => {
  const owner = randomUUID();
  const mine = await started(owner, newName());
  const flagged = (what: "pause" | "resume" | "cancel") =>
    flag(mine.id, what, { type: `sluice.saga-${what}`, data: "{}" });
  expect([await flagged("pause"), await flagged("pause"), await flagged("cancel"), await flagged("cancel")]).toEqual([
    "changed",
    "unchanged",
    "changed",
    "unchanged",
  ]);
  const flags = { paused: true, cancelRequested: true };
  expect(await put(owner, [record(mine)])).toEqual([flags]);
  expect(await told(mine.id)).toEqual(["sluice.saga-started", "sluice.saga-pause", "sluice.saga-cancel"]);
  const knowing = { ...mine, progress: { ...mine.progress, ...flags } };
  expect(await put(owner, [record(knowing, { restMs: 0 })])).toEqual(["recorded"]);
  // Paused: it is nobody's turn.
  expect(await rowOf(mine.id)).toMatchObject({ owner: null, is_due: null });
  expect(await flagged("resume")).toBe("changed");
  expect((await rowOf(mine.id)).is_due).toBe(true);
  expect(await flag(randomUUID(), "pause", { type: "x", data: "{}" })).toBe("missing");
});

test("what is due goes to one owner, in a new epoch", async () => {
  const name = newName();
  const ids = await Promise.all(
    Array.from({ length: 60 }, () => started(randomUUID(), name, { run: false }).then(({ id }) => id)),
  );
  const owners = [randomUUID(), randomUUID(), randomUUID()];
  const claimed = await Promise.all(owners.flatMap((owner) => [claim(owner, name, 15), claim(owner, name, 15)]));
  const rest = await claim(owners[0] as string, name);
  const all = [...claimed.flat(), ...rest];
  expect(all.map(({ id }) => id).sort()).toEqual([...ids].sort());
  for (const one of all) expect(one).toMatchObject({ epoch: 2, turn: 0, steps: ["one", "two"], data: "{}" });
  expect(await claim(randomUUID(), name)).toEqual([]);
});

test("who knows an older version of a saga only does not get it", async () => {
  const name = newName();
  const { id } = await started(randomUUID(), name, { run: false, version: 3 });
  expect(await claim(randomUUID(), name, 10, 2)).toEqual([]);
  expect(await claim(randomUUID(), "another")).toEqual([]);
  expect((await claim(randomUUID(), name, 10, 4)).map((one) => one.id)).toEqual([id]);
});

test("a saga that rests is due when its time has come, and one that waits when somebody asks", async () => {
  const [owner, name] = [randomUUID(), newName()];
  const [soon, late, never] = [await started(owner, name), await started(owner, name), await started(owner, name)];
  const batch = [
    record(soon, { restMs: 0 }),
    record(late, { restMs: 3_600_000 }),
    record(never, { restMs: Number.POSITIVE_INFINITY }),
  ];
  expect(await put(owner, batch)).toEqual(["recorded", "recorded", "recorded"]);
  expect(await Promise.all([soon, late, never].map(({ id }) => rowOf(id)))).toMatchObject([
    { is_due: true, owner: null },
    { is_due: false, owner: null },
    { is_due: null, owner: null },
  ]);
  expect((await claim(owner, name)).map(({ id }) => id)).toEqual([soon.id]);
});

test("the sagas of an owner that died are free for others, and those of one that lives are not", async () => {
  const [dead, alive, name] = [randomUUID(), randomUUID(), newName()];
  await live(alive, 60_000);
  const [lost, paused, kept] = [await started(dead, name), await started(dead, name), await started(alive, name)];
  await flag(paused.id, "pause", { type: "sluice.saga-paused", data: "{}" });
  await free(null);
  expect(await rowOf(lost.id)).toMatchObject({ owner: null, is_due: true, lost: 1 });
  expect(await rowOf(paused.id)).toMatchObject({ owner: null, is_due: null, lost: 1 });
  expect(await rowOf(kept.id)).toMatchObject({ owner: alive, lost: 0 });
  // The dead one was only slow: it cannot record any more, also before somebody has taken it over.
  expect(await put(dead, [record(lost)])).toEqual(["stale"]);
  expect((await claim(alive, name)).map(({ epoch, lost: times }) => [epoch, times])).toEqual([[2, 1]]);
  expect(await put(dead, [record(lost)])).toEqual(["stale"]);
  // What an owner does not know that it has is free, and that is nobody's death.
  const inHand = (await claim(alive, name)).map(({ id }) => id);
  expect(await free({ owner: alive, inHand: [...inHand, lost.id] })).toBe(1);
  expect(await rowOf(kept.id)).toMatchObject({ owner: null, is_due: true, lost: 0 });
  expect((await rowOf(lost.id)).owner).toBe(alive);
});

test("an event that comes while its saga is looked after is not forgotten when the owner gives it up", async () => {
  const [owner, name] = [randomUUID(), newName()];
  const correlationId = randomUUID();
  const mine = await started(owner, name, { correlationId });
  const waiting = record(mine, { waitingFor: { type: "SagaPaid", match: null } });
  expect(await put(owner, [waiting])).toEqual(["recorded"]);
  const watcher = randomUUID();
  const [held] = await sql<{ held_epoch: string }[]>`
    select held_epoch from lease_hold(${watcher}, '{"watch"}'::text[], interval '1 minute')`;
  const lease = { name: "watch", owner: watcher, epoch: Number(held?.held_epoch) };
  const paid = newEvent({ type: "SagaPaid", correlationId });
  const { base } = await callLogAppend(sql, [
    { stream: "payments", events: [newEvent(), paid, newEvent()], expected: "any", idempotency: null },
  ]);
  const at = Number(base) + 1;
  expect(await watch(lease, at - 1, at, false)).toEqual({ reached: at, woken: 1 });
  // Looked at before the event came.
  const rest = record(
    { ...mine, turn: 1 },
    { waitingFor: { type: "SagaPaid", match: null }, restMs: Number.POSITIVE_INFINITY },
  );
  expect(await put(owner, [rest])).toEqual(["recorded"]);
  expect(await rowOf(mine.id)).toMatchObject({ owner: null, is_due: true });
  const [place] = await sql<{ position: string }[]>`select position from saga_watch`;
  expect(Number(place?.position)).toBe(at);
  const stale = watch({ ...lease, epoch: lease.epoch - 1 }, at - 1, at, true);
  expect(await stale.catch((error: { code: string }) => error.code)).toBe("SL010");
});

test("those are made due that wait for what an event bears: its stream, its subject or its partition key", async () => {
  const [owner, name] = [randomUUID(), newName()];
  const wait = async (match: Match | null, correlationId: string = randomUUID()) => {
    const mine = await started(owner, name, { correlationId });
    const waitingFor = { type: "SagaMatched", match };
    await put(owner, [record(mine, { waitingFor, restMs: Number.POSITIVE_INFINITY })]);
    return mine.id;
  };
  const waits = {
    stream: await wait({ by: "stream", key: "carts-7" }),
    otherStream: await wait({ by: "stream", key: "s-7" }),
    subject: await wait({ by: "subject", key: "s-7" }),
    key: await wait({ by: "partition-key", key: "k-7" }),
    otherKey: await wait({ by: "partition-key", key: "s-7" }),
    // By its correlation no more.
    moved: await wait({ by: "subject", key: "none" }, "c-7"),
    correlation: await wait(null, "c-7"),
  };
  const watcher = randomUUID();
  const [held] = await sql<{ held_epoch: string }[]>`
    select held_epoch from lease_hold(${watcher}, '{"watch-7"}'::text[], interval '1 minute')`;
  const lease = { name: "watch-7", owner: watcher, epoch: Number(held?.held_epoch) };
  const attributes = JSON.stringify({ subject: "s-7" });
  const { base } = await callLogAppend(sql, [
    {
      stream: "carts-7",
      events: [newEvent({ type: "SagaMatched", correlationId: "c-7", partitionKey: "k-7", attributes })],
      expected: "any",
      idempotency: null,
    },
  ]);
  const at = Number(base);
  expect(await watch(lease, at - 1, at, false)).toEqual({ reached: at, woken: 4 });
  const due = await Promise.all(Object.entries(waits).map(async ([of, id]) => [of, (await rowOf(id)).is_due]));
  expect(due.filter(([, isDue]) => isDue).map(([of]) => of)).toEqual(["stream", "subject", "key", "correlation"]);
});

test("batches of the same sagas in any order do not wait for one another for ever", async () => {
  const [owner, name] = [randomUUID(), newName()];
  await live(owner, 60_000);
  const sagas = await Promise.all(Array.from({ length: 20 }, () => started(owner, name)));
  for (let turn = 0; turn < 30; turn++) {
    const batch = sagas.map((one) => record({ ...one, turn }));
    const resume = { type: "sluice.saga-resumed", data: "{}" };
    const [there, back] = await Promise.all([
      put(owner, batch),
      put(owner, [...batch].reverse()),
      free(null),
      ...sagas.map(({ id }) => flag(id, "resume", resume)),
    ]);
    expect([there, back]).toEqual([Array(20).fill("recorded"), Array(20).fill("recorded")]);
  }
});
