// Handlers of deciders that do what they must not, or ask for what is not known yet.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Problem } from "../../../src/base/errors.ts";
import { Rejection } from "../../../src/workflow/commands/rejection.ts";
import { type DeciderDefinition, defineDecider, defineEvent, reject, Type } from "../../../src/workflow/index.ts";
import { type DeciderProcess, startDeciderProcess } from "../../support/decider-process.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { until } from "../../support/until.ts";

const Put = defineEvent("Put", Type.Object({ item: Type.String() }));
const State = Type.Object({ items: Type.Array(Type.String()) });
const Body = Type.Object({ id: Type.String(), item: Type.String() });
const empty = defineDecider("basket", { state: State, initialState: { items: [] } });
const basket = empty.on(Put, ({ items }, { item }) => ({ items: [...items, item] }));
const put = { body: Body, id: ({ id }: { id: string }) => id };

let databaseUrl: string;
const processes: DeciderProcess[] = [];
beforeAll(async () => {
  databaseUrl = await createTestDatabase();
  await start(basket).sql`select log_partition_add(false, 4000000)`;
});
afterAll(async () => {
  for (const process of processes) await process.stop();
});

function start(decider: DeciderDefinition): DeciderProcess {
  const process = startDeciderProcess(databaseUrl, decider);
  processes.push(process);
  return process;
}
let ids = 0;
/** What one command with this handler comes to, on a stream of its own with one event. */
async function outcomeOf(decide: unknown, decider: unknown = basket, result?: unknown): Promise<string> {
  const id = `o-${++ids}`;
  await start(basket.command("first", { ...put, decide: () => Put.event({ item: "a" }) })).run("first", {
    id,
    item: "",
  });
  const options = { ...put, decide, ...(result === undefined ? {} : { result }) };
  const process = start((decider as typeof basket).command("try", options as never));
  const outcome = await process.run("try", { id, item: "b" }).then(
    ({ appended }) => `stored ${appended?.events.length ?? 0}`,
    (error: Error) => (error instanceof Problem ? error.code : `${error.name}: ${error.message}`),
  );
  const [row] = await process.sql<{ count: string }[]>`
    select count(*) from events e join streams s on s.id = e.stream_id where s.name = ${`basket-${id}`}`;
  return `${outcome}, ${row?.count} there`;
}

test("a decision that is none is refused with what is wrong with it, and nothing is stored", async () => {
  const event = () => Put.event({ item: "b" });
  const Other = Type.Object({ n: Type.Integer() });
  const cases: [decide: unknown, outcome: string, result?: unknown][] = [
    [event, "stored 1, 2 there"],
    [() => [], "stored 0, 1 there"],
    [() => [event(), event()], "stored 2, 3 there"],
    [() => undefined, "Defect: it returned what is no event: events are made by event of their types, 1 there"],
    [() => [event(), {}], "Defect: it returned what is no event: events are made by event of their types, 1 there"],
    [
      async () => event(),
      "Defect: it returned a promise: a decision follows from the state and the body alone, 1 there",
    ],
    [
      () => Promise.reject(new Error("x")),
      "Defect: it returned a promise: a decision follows from the state and the body alone, 1 there",
    ],
    [() => Array.from({ length: 1_001 }, event), "Defect: it returned 1001 events; there are at most 1000, 1 there"],
    [
      () => Put.event({ item: 1 as never }),
      "Defect: it emitted Put, which its schema refuses: /item must be string, 1 there",
    ],
    [() => reject("not today"), "Rejection: not today, 1 there"],
    [
      (state: never) => (state as { nothing: { here: 1 } }).nothing.here,
      "TypeError: undefined is not an object (evaluating 'state.nothing.here'), 1 there",
    ],
    [
      (state: { items: string[] }) => state.items.push("c"),
      "Defect: it changed the state or the body it was given, 1 there",
    ],
    [
      (_: unknown, body: { item: string }) => Object.assign(body, { item: "z" }),
      "Defect: it changed the state or the body it was given, 1 there",
    ],
    [() => ({ events: [], result: { n: 1 } }), "stored 0, 1 there", Other],
    [() => ({ events: event(), result: { n: 1 } }), "stored 1, 2 there", Other],
    [() => event(), "Defect: it has a result, so it returns { events, result }, 1 there", Other],
    [
      () => ({ events: [event()], result: { n: "x" } }),
      "Defect: it returned what the schema of its result refuses: /n must be integer, 1 there",
      Other,
    ],
  ];
  for (const [decide, outcome, result] of cases) expect(await outcomeOf(decide, basket, result)).toBe(outcome);
});

test("a refusal bears its details", async () => {
  const process = start(basket.command("try", { ...put, decide: () => reject("full", { most: 3 }) }));
  const error = await process.run("try", { id: "details", item: "" }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Rejection);
  expect((error as Rejection).details).toEqual({ most: 3 });
});

test("an event that the decider's own handler cannot fold is not stored, or nobody could decide on the stream any more", async () => {
  type Handler = (state: { items: string[] }, data: { item: string }) => { items: string[] };
  const event = () => Put.event({ item: "b" });
  const failing = (handler: unknown) => {
    // The first event is folded by any.
    const once = (state: { items: string[] }, data: { item: string }) =>
      data.item === "a" ? state : (handler as Handler)(state, data);
    return empty.on(Put, once);
  };
  const cases: [handler: unknown, outcome: string][] = [
    [
      () => {
        throw new Error("cannot");
      },
      "Error: Put: cannot, 1 there",
    ],
    [() => undefined, "Error: Put: it returned nothing, 1 there"],
    [async () => ({ items: [] }), "Error: Put: it returned a promise: the state follows from the event alone, 1 there"],
    [
      (state: { items: string[] }) => {
        state.items.push("b");
        return state;
      },
      "Error: Put: it changed the state it was given, instead of returning a new one, 1 there",
    ],
  ];
  for (const [handler, outcome] of cases) expect(await outcomeOf(event, failing(handler))).toBe(outcome);
});

test("an id that makes no name of a stream is refused as the client's, and one that is no text as the module's", async () => {
  const event = () => Put.event({ item: "b" });
  const process = start(
    basket.command("try", { ...put, decide: event }).command("wrong", { ...put, id: () => 7 as never, decide: event }),
  );
  for (const id of ["a b", "ä", "x".repeat(200), "a/b"])
    expect(await process.run("try", { id, item: "" }).catch((error: Problem) => error.code)).toBe(
      "invalid-stream-name",
    );
  expect(await process.run("wrong", { id: "1", item: "" }).catch((error: Error) => error.message)).toBe(
    "its id is no text",
  );
});

test("a handler that asks when an event was recorded is told what the log says, also with many commands at once", async () => {
  const Kept = Type.Object({ at: Type.Array(Type.String()), positions: Type.Array(Type.Integer()) });
  const diary = defineDecider("diary", { state: Kept, initialState: { at: [], positions: [] } })
    .on(Put, ({ at, positions }, _, event) => ({
      at: [...at, event.recordedTime],
      positions: [...positions, event.position],
    }))
    .command("write", { ...put, decide: (state, { item }) => (state.at.length < 12 ? Put.event({ item }) : []) })
    .command("ask", { ...put, result: Kept, decide: (state) => ({ events: [], result: { ...state } }) });
  const process = start(diary);
  await Promise.all(Array.from({ length: 15 }, (_, n) => process.run("write", { id: "1", item: String(n) })));
  const { result } = await process.run("ask", { id: "1", item: "" });
  const rows = await process.sql<{ recorded_at: string; position: string }[]>`
    select e.recorded_at, e.position from events e join streams s on s.id = e.stream_id where s.name = 'diary-1' order by e.position`;
  expect(rows).toHaveLength(12);
  expect(result).toEqual({
    at: rows.map((row) => row.recorded_at),
    positions: rows.map((row) => Number(row.position)),
  });
});

test("an event with an id of its own is stored once, and the state has it once", async () => {
  const process = start(
    basket.command("put", { ...put, decide: (_, { item }) => Put.event({ item }, { id: item }) }).command("ask", {
      ...put,
      result: State,
      decide: (state) => ({ events: [], result: { items: [...state.items] } }),
    }),
  );
  const runs = await Promise.all(
    ["a", "b", "a", "c", "b", "a"].map((item) => process.run("put", { id: "once", item })),
  );
  expect(runs.map(({ appended }) => appended?.events[0]?.duplicate)).toEqual([false, false, true, false, true, true]);
  expect(runs.map(({ appended }) => appended?.events[0]?.offset)).toEqual([0, 1, 0, 2, 1, 0]);
  const { result } = await process.run("ask", { id: "once", item: "" });
  expect(result).toEqual({ items: ["a", "b", "c"] });
});

test("whoever does not wait any more ends the attempts", async () => {
  const decider = basket.command("put", { ...put, decide: (_, { item }) => Put.event({ item }) });
  const process = start(decider);
  const abort = new AbortController();
  let commits = 0;
  const command = decider.commands[0] as (typeof decider.commands)[number];
  const run = process.deciders.run(
    decider,
    command,
    { id: "left", item: "" },
    {
      cause: { correlationId: "w", causationId: "c", traceparent: null },
      signal: abort.signal,
      commit() {
        if (++commits === 2) abort.abort(new Error("gone"));
        return Promise.reject(new Problem("wrong-expected-version", "another was first"));
      },
    },
  );
  expect(await run.catch((error: Error) => error.message)).toBe("gone");
  expect(commits).toBe(2);
  await until("nobody is there any more", () => process.deciders.counters().commands === 1);
});
