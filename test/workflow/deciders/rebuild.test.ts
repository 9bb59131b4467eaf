// The state that a command is decided on: from snapshots and the events since, or a clear answer why there is none.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Static, Type } from "@sinclair/typebox";
import { Problem } from "../../../src/base/errors.ts";
import { createLog } from "../../../src/base/log.ts";
import type { StoredEvent, UpcastFailure } from "../../../src/stream/event.ts";
import { type DeciderDefinition, defineDecider, defineEvent } from "../../../src/workflow/index.ts";
import { type DeciderProcess, type DeciderProcessOptions, startDeciderProcess } from "../../support/decider-process.ts";
import { newEvent } from "../../support/new-event.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { until } from "../../support/until.ts";

const Counted = defineEvent("Counted", Type.Object({ by: Type.Integer() }));
const Noted = defineEvent("Noted", Type.Object({ text: Type.String() }));
const State = Type.Object({ count: Type.Integer() });
const Body = Type.Object({ id: Type.String(), by: Type.Integer() });

let evolved = 0;
function counter(options: { snapshotEvery?: number; version?: number } = {}): DeciderDefinition {
  return defineDecider("counter", { state: State, initialState: { count: 0 }, ...options })
    .on(Counted, ({ count }, { by }) => {
      evolved++;
      return { count: count + by };
    })
    .command("count", {
      body: Body,
      result: State,
      id: ({ id }) => id,
      decide: ({ count }, { by }) => ({
        events: Array.from({ length: by }, () => Counted.event({ by: 1 })),
        result: { count: count + by },
      }),
    })
    .command("note", {
      body: Body,
      id: ({ id }) => id,
      decide: (_, { by }) => Array.from({ length: by }, () => Noted.event({ text: "x" })),
    });
}

let databaseUrl: string;
const processes: DeciderProcess[] = [];
beforeAll(async () => {
  databaseUrl = await createTestDatabase();
  await start(counter()).sql`select log_partition_add(false, 4000000)`;
});
afterAll(async () => {
  for (const process of processes) await process.stop();
});

function start(decider: DeciderDefinition, options: DeciderProcessOptions = {}): DeciderProcess {
  const process = startDeciderProcess(databaseUrl, decider, options);
  processes.push(process);
  return process;
}
async function count({ run }: DeciderProcess, id: string, by: number): Promise<number | string> {
  return run("count", { id, by }).then(
    ({ result }) => (result as Static<typeof State>).count,
    (error: Error) => (error instanceof Problem ? `${error.code}: ${error.message}` : error.message),
  );
}
type SnapshotRow = { offset: string; state: string; tag: string };
const snapshotsOf = async ({ sql }: DeciderProcess, id: string) =>
  sql<SnapshotRow[]>`
    select n."offset", n.state, n.tag from snapshots n join streams s on s.id = n.stream_id
    where s.name = ${`counter-${id}`} and n.owner = 'decider:counter'`;
const trim = ({ sql }: DeciderProcess, id: string, first: number) =>
  sql`update streams set first_offset = ${first} where name = ${`counter-${id}`}`;

test("a snapshot is saved every so many events, and a process that knows nothing begins behind it", async () => {
  const process = start(counter({ snapshotEvery: 10 }));
  for (let n = 1; n <= 25; n++) expect(await count(process, "saved", 1)).toBe(n);
  await until("the second snapshot is saved", () => process.deciders.counters().snapshots === 2);
  const [snapshot] = await snapshotsOf(process, "saved");
  expect(snapshot).toMatchObject({ offset: "19", state: '{"count":20}' });
  const cold = start(counter({ snapshotEvery: 10 }));
  evolved = 0;
  expect(await count(cold, "saved", 0)).toBe(25);
  expect(evolved).toBe(5);
  // Shown to clients as any other.
  expect(cold.deciders.counters()).toMatchObject({ looks: 1, commands: 1 });
});

test("a long stream without a snapshot is read in pages, and a snapshot is saved of what that comes to", async () => {
  const process = start(counter({ snapshotEvery: 0 }));
  for (let n = 0; n < 3; n++) await process.run("count", { id: "long", by: 600 });
  const cold = start(counter());
  expect(await count(cold, "long", 0)).toBe(1_800);
  await until("a snapshot is saved", () => cold.deciders.counters().snapshots === 1);
  expect(await snapshotsOf(cold, "long")).toMatchObject([{ offset: "1799", state: '{"count":1800}' }]);
});

test("a snapshot of another version, or of another schema of the state, is not used, and is replaced in time", async () => {
  const process = start(counter({ snapshotEvery: 5 }));
  await process.run("count", { id: "versions", by: 10 });
  await until("the snapshot is saved", () => process.deciders.counters().snapshots === 1);
  await process.sql`
    update snapshots set state = '{"count":1000}' where stream_id = (select id from streams where name = 'counter-versions')`;
  expect(await count(start(counter({ snapshotEvery: 5 })), "versions", 0)).toBe(1_000);
  const newer = start(counter({ snapshotEvery: 5, version: 2 }));
  expect(await count(newer, "versions", 0)).toBe(10);
  await until("it is replaced", () => newer.deciders.counters().snapshots === 1);
  expect((await snapshotsOf(newer, "versions"))[0]?.state).toBe('{"count":10}');
  expect(await count(start(counter({ snapshotEvery: 5, version: 2 })), "versions", 1)).toBe(11);
  // Of this very version, and yet nothing that the schema allows.
  await process.sql`
    update snapshots set state = '{"count":"x"}' where stream_id = (select id from streams where name = 'counter-versions')`;
  expect(await count(start(counter({ snapshotEvery: 5, version: 2 })), "versions", 0)).toBe(11);
});

test("a trimmed stream goes on from a snapshot or from memory, and is refused where nothing stands for what was removed", async () => {
  const process = start(counter({ snapshotEvery: 10 }));
  await process.run("count", { id: "trimmed", by: 10 });
  await until("the snapshot is saved", () => process.deciders.counters().snapshots === 1);
  await process.run("count", { id: "trimmed", by: 5 });
  await trim(process, "trimmed", 10);
  expect(await count(start(counter({ snapshotEvery: 10 })), "trimmed", 0)).toBe(15);
  await trim(process, "trimmed", 12);
  expect(await count(start(counter({ snapshotEvery: 10 })), "trimmed", 0)).toBe(
    "state-not-rebuilt: The state of counter cannot be rebuilt from stream counter-trimmed, at offset 10: the events before offset 12 have been removed, and no snapshot stands for them",
  );
  expect(await count(process, "trimmed", 1)).toBe(16);
  await trim(process, "trimmed", 16);
  expect(await count(process, "trimmed", 1)).toBe(17);
});

test("a snapshot that cannot be saved costs nothing but a line in the log", async () => {
  const lines: unknown[] = [];
  const log = Object.assign(createLog("silent", "test"), { warn: (...given: unknown[]) => void lines.push(given[1]) });
  const odd = defineDecider("odd", {
    state: Type.Object({ at: Type.Any() }),
    initialState: { at: null },
    snapshotEvery: 1,
  })
    .on(Counted, () => ({ at: new Date() }))
    .command("happen", { body: Body, id: ({ id }) => id, decide: () => Counted.event({ by: 1 }) });
  const process = start(odd, { log });
  await process.run("happen", { id: "1", by: 1 });
  await until("it has failed", () => process.deciders.counters().failedSnapshots === 1);
  await process.run("happen", { id: "1", by: 1 });
  await until("it has failed again", () => process.deciders.counters().failedSnapshots === 2);
  expect(lines).toEqual(["snapshot not saved", "snapshot not saved"]);
});

test("events are folded as the versions that the code is written for", async () => {
  const Moved = defineEvent("Moved", Type.Object({ x: Type.Integer() })).version(
    Type.Object({ to: Type.Array(Type.Integer()) }),
    { upcast: ({ x }) => ({ to: [x] }) },
  );
  const mover = defineDecider("mover", { state: Type.Array(Type.Integer()), initialState: [] })
    .on(Moved, (state, { to }) => [...state, ...to])
    .command("ask", {
      body: Body,
      result: Type.Array(Type.Integer()),
      id: ({ id }) => id,
      decide: (state) => ({ events: [], result: [...state] }),
    });
  /** What the registry would do with the one hop. */
  const attempt = (events: readonly StoredEvent[]): (StoredEvent | UpcastFailure)[] =>
    events.map((event) => {
      if (event.schemaVersion === 2) return event;
      const { x } = JSON.parse(event.data as string) as { x: number };
      if (x < 0) return { failure: "x is negative", passing: false };
      if (x > 99) return { failure: "not in this process", passing: true };
      return { ...event, schemaVersion: 2, data: JSON.stringify({ to: [x] }) };
    });
  const process = start(mover, { upcasting: { attempt } });
  const ask = (id: string) =>
    process.run("ask", { id, by: 0 }).then(
      ({ result }) => result,
      (error: Problem) => [error.code, error.message],
    );
  const refusalOf = async (id: string) => (await ask(id)) as [code: string, message: string];
  const append = (stream: string, data: unknown, schemaVersion: number) =>
    process.appender.append({
      stream,
      events: [newEvent({ type: "Moved", schemaVersion, data: data === null ? null : JSON.stringify(data) })],
      expected: "any",
      idempotency: null,
    });
  await append("mover-1", { x: 1 }, 1);
  await append("mover-1", { to: [2, 3] }, 2);
  expect(await ask("1")).toEqual([1, 2, 3]);
  await append("mover-1", { x: -1 }, 1);
  expect(await ask("1")).toEqual([
    "state-not-rebuilt",
    "The state of mover cannot be rebuilt from stream mover-1, at offset 2: Moved: x is negative",
  ]);
  await append("mover-2", { x: 100 }, 1);
  expect(await ask("2")).toEqual(["schemas-unavailable", "not in this process"]);
  await append("mover-3", {}, 3);
  expect(await ask("3")).toEqual([
    "schemas-unavailable",
    "The event at offset 0 of stream mover-3 is version 3 of Moved, and this process knows 2",
  ]);
  await append("mover-4", null, 2);
  expect((await refusalOf("4"))[1]).toEndWith("at offset 0: Moved: it has no JSON data");
});

test("an event that its type's schema refuses reaches no handler: the problem names its offset, its type and the paths", async () => {
  const process = start(counter());
  await process.run("count", { id: "unfit", by: 2 });
  await process.appender.append({
    stream: "counter-unfit",
    events: [newEvent({ type: "Counted", data: '{"by":"1"}' })],
    expected: "any",
    idempotency: null,
  });
  evolved = 0;
  const refused = await start(counter())
    .run("count", { id: "unfit", by: 1 })
    .catch((error: unknown) => error);
  expect(refused).toMatchObject({
    code: "state-not-rebuilt",
    message:
      "The state of counter cannot be rebuilt from stream counter-unfit, at offset 2: Counted: its data do not match Counted: /by must be integer",
    fields: { offset: "2", errors: [{ path: "/by", message: "must be integer" }] },
  });
  expect(evolved).toBe(2);
  // The process that knew the state before.
  expect(await count(process, "unfit", 1)).toStartWith("state-not-rebuilt: ");
});

test("events of types that the decider does not handle are passed over, whatever is in them", async () => {
  const process = start(counter());
  await process.run("count", { id: "other", by: 2 });
  await process.run("note", { id: "other", by: 3 });
  await process.appender.append({
    stream: "counter-other",
    events: [newEvent({ type: "Unheard", schemaVersion: 99, binary: new Uint8Array(3) })],
    expected: "any",
    idempotency: null,
  });
  expect(await count(process, "other", 1)).toBe(3);
  expect(await count(start(counter()), "other", 0)).toBe(3);
});

test("only the streams last used are kept in memory, by number and by bytes, and the others are read again", async () => {
  const process = start(counter(), { maxKept: 3 });
  for (let n = 0; n < 6; n++) expect(await count(process, `kept-${n}`, 1)).toBe(1);
  expect(process.deciders.counters()).toMatchObject({ kept: 3, looks: 6 });
  expect(await count(process, "kept-5", 1)).toBe(2);
  expect(process.deciders.counters().looks).toBe(6);
  expect(await count(process, "kept-0", 1)).toBe(2);
  expect(process.deciders.counters()).toMatchObject({ kept: 3, looks: 7 });
  const small = start(counter(), { maxKeptBytes: 2_500 });
  for (let n = 0; n < 6; n++) await count(small, `kept-${n}`, 1);
  expect(small.deciders.counters().kept).toBe(2);
  // Those that are in use stay, however many: one line must not stand twice.
  await Promise.all(Array.from({ length: 20 }, (_, n) => count(process, `busy-${n % 10}`, 1)));
  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => count(process, `busy-${n}`, 1)));
  expect(answers).toEqual(Array.from({ length: 10 }, () => 3));
});

test("while the database is away a command is told so, and afterwards it is decided as ever", async () => {
  let away = true;
  const error = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  const through = start(counter());
  const process = start(counter(), {
    reads: {
      run: (task, signal) => (away ? Promise.reject(error) : through.reads.run(task, signal)),
      stop: async () => {},
    },
  });
  expect(await count(process, "away", 1)).toStartWith("storage-unavailable: ");
  away = false;
  expect(await count(process, "away", 1)).toBe(1);
});
