// What fails: it is tried again, then the projection stops at it and says why; people pause, resume, and do without an event.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { defineEvent, defineProjection, defineSqlProjection, type Static, Type } from "../../../src/workflow/index.ts";
import type { Generation } from "../../../src/workflow/projections/generation.ts";
import { setPaused, skipEvent } from "../../../src/workflow/projections/requests.ts";
import { newEvent } from "../../support/new-event.ts";
import { createProjectionRig, type ProjectionProcess, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Added = defineEvent(
  "Added",
  Type.Object({ key: Type.String(), n: Type.Number(), how: Type.Optional(Type.String()) }),
);
const retry = { attempts: 3, initial: "1ms", max: "5ms" };
const row = Type.Object({ key: Type.String(), n: Type.Integer({ maximum: 1000 }), any: Type.Unknown() });
type Row = Static<typeof row>;

/** What handlers do with events that say how they are to be handled. */
const ways: Record<string, (row: Row) => unknown> = {
  throws: () => {
    throw new Error("not today");
  },
  refused: (row) => ({ ...row, n: "1" }),
  tooMuch: (row) => ({ ...row, n: 1001 }),
  half: (row) => ({ ...row, any: "\ud800" }),
  nul: (row) => ({ ...row, any: { "a\0": 1 } }),
  date: (row) => ({ ...row, any: [new Date(0)] }),
  infinite: (row) => ({ ...row, any: [Number.POSITIVE_INFINITY] }),
  otherKey: (row) => ({ ...row, key: "other" }),
  more: (row) => ({ ...row, more: 1 }),
  promise: (row) => Promise.resolve(row),
  nothing: () => undefined,
};

let failing = true;
function sums(name: string, options: { attempts?: number; batchSize?: number; autoStart?: boolean } = {}) {
  const { attempts = 3, ...others } = options;
  return defineProjection(name, {
    streams: [name],
    row,
    key: "key",
    initial: { n: 0, any: null },
    retry: { ...retry, attempts },
    ...others,
  }).on(Added, {
    key: ({ key, how }) => (how === "longKey" ? "x".repeat(5_000_000) : how === "noKey" ? (undefined as never) : key),
    apply: (row, { n, how }) => {
      const made = how === undefined || how === "longKey" || !failing ? { ...row, n: row.n + n } : ways[how]?.(row);
      return made as Row;
    },
  });
}
const added = (key: string, n = 1, how?: string) => Added.event(how === undefined ? { key, n } : { key, n, how });
const live = async (process: ProjectionProcess, name: string): Promise<Generation> =>
  (await process.generations(name)).find(({ role }) => role === "live") as Generation;
const halted = (process: ProjectionProcess, name: string) =>
  until(`${name} has stopped`, async () => {
    const found = await live(process, name);
    return found?.halted ? found : null;
  });

test("a projection stops at an event that fails, with what stands before it done; skipped, it goes on behind it", async () => {
  failing = true;
  const process = await rig.start([sums("stops")]);
  const first = await process.append("stops", added("a"), added("a"), added("a", 1, "throws"), added("a"), added("b"));
  const bad = first - 2;
  const stopped = await halted(process, "stops");
  expect(stopped).toMatchObject({
    position: bad - 1,
    failedPosition: bad,
    attempts: 3,
    failures: 3,
    lastError: "not today",
  });
  expect(await rig.rows("stops")).toEqual([{ key: "a", n: "2", any: null }]);
  expect(await skipEvent(process.database.reads, "stops", bad - 1)).toBe(0);
  expect(await skipEvent(process.database.reads, "stops", bad)).toBe(1);
  expect(await skipEvent(process.database.reads, "stops", bad)).toBe(0);
  process.projections.tend();
  await process.reached("stops", first);
  expect(await rig.rows("stops")).toEqual([
    { key: "a", n: "3", any: null },
    { key: "b", n: "1", any: null },
  ]);
  expect(await live(process, "stops")).toMatchObject({ events: 4, halted: false, failedPosition: null, attempts: 0 });
  const skips = await rig.sql`select position, error from projection_skips where projection = 'stops'`;
  expect([...skips].map((skip) => ({ ...skip }))).toEqual([{ position: String(bad), error: "not today" }]);
  await process.stop();
});

test("resumed, a projection that has stopped tries again", async () => {
  failing = true;
  const process = await rig.start([sums("again")]);
  const last = await process.append("again", added("a"), added("a", 1, "throws"));
  await halted(process, "again");
  await setPaused(process.database.reads, "again", false);
  process.projections.tend();
  await until("it has tried again", async () => (await live(process, "again")).failures === 6);
  await halted(process, "again");
  failing = false;
  await setPaused(process.database.reads, "again", false);
  process.projections.tend();
  await process.reached("again", last);
  expect(await rig.rows("again")).toEqual([{ key: "a", n: "2", any: null }]);
  await process.stop();
});

test("one that has stopped stays so for whoever takes it over, and one that fails for a while goes on by itself", async () => {
  failing = true;
  const process = await rig.start([sums("over")]);
  const last = await process.append("over", added("a"), added("a", 1, "throws"));
  const { failures } = await halted(process, "over");
  await process.stop();
  const next = await rig.start([sums("over"), sums("while", { attempts: 1_000 })]);
  const there = await next.append("while", added("a", 1, "throws"), added("a"));
  await until("it has been tried ten times", async () => (await live(next, "while"))?.attempts >= 10);
  failing = false;
  await next.reached("while", there);
  expect(await rig.rows('"while"')).toEqual([{ key: "a", n: "2", any: null }]);
  expect(await live(next, "over")).toMatchObject({ halted: true, failures, failedPosition: last });
  await next.stop();
});

test("what a handler gives that is no row, or that would not come back as it is, fails its event with a plain sentence", async () => {
  failing = true;
  const expected: Record<string, RegExp> = {
    refused: /^it gave a row that its schema refuses: \/n must be integer$/,
    tooMuch: /^it gave a row that its schema refuses: \/n must be <= 1000$/,
    half: /^it gave a row whose any holds half a surrogate pair, which is no character$/,
    nul: /^it gave a row whose any holds U\+0000, which the database does not take$/,
    date: /^it gave a row whose any holds Date, which is no JSON$/,
    infinite: /^it gave a row whose any holds Infinity, which is no JSON$/,
    otherKey: /^it gave a row of another key: key is "other", not "a"$/,
    more: /^it gave a row with more, which is none of its properties$/,
    promise: /^it gave a promise: a fold waits for nothing$/,
    nothing: /^it gave a row that its schema refuses: \/ must be object$/,
    noKey: /^the key key must be a string, not undefined$/,
    // Only the database can tell: an index takes no such key.
    longKey: /^index row (size|requires) /,
  };
  const names = Object.keys(expected);
  const nameOf = (way: string) => `gives-${way.toLowerCase()}`;
  const process = await rig.start(names.map((way) => sums(nameOf(way), { attempts: 1 })));
  for (const way of names) {
    await process.append(nameOf(way), added("a"), added("a", 1, way), added("a"));
    const stopped = await halted(process, nameOf(way));
    expect([way, stopped.lastError]).toEqual([way, expect.stringMatching(expected[way] as RegExp)]);
    expect(stopped.events).toBe(1);
  }
  await process.stop();
});

test("an event that its type's schema refuses reaches no handler: a fold stops at it at once, and goes on when it is skipped", async () => {
  failing = false;
  const process = await rig.start([sums("unfit", { attempts: 1_000 })]);
  await process.append("unfit", added("a"));
  const data = JSON.stringify({ n: "1" });
  const bad = await process.appendRaw("unfit", newEvent({ type: "Added", data }));
  const last = await process.append("unfit", added("a"));
  expect(await halted(process, "unfit")).toMatchObject({
    position: bad - 1,
    failedPosition: bad,
    attempts: 1,
    lastError: "its data do not match Added: /key is required; /n must be number",
  });
  await skipEvent(process.database.reads, "unfit", bad);
  process.projections.tend();
  await process.reached("unfit", last);
  expect(await rig.rows("unfit")).toEqual([{ key: "a", n: "2", any: null }]);
  await process.stop();
});

test("neither do handlers in SQL see what a type denies, of one type or of several; one of whatever type sees it", async () => {
  const Other = defineEvent("Other", Type.Object({ n: Type.Number() }));
  const seen: unknown[] = [];
  const define = (name: string) =>
    defineSqlProjection(name, {
      streams: ["unfit-sql"],
      tables: (sql) => sql`create table t (n int)`,
      retry: { ...retry, attempts: 1_000 },
    });
  const process = await rig.start([
    define("unfit-one").on(Other, (_, data) => void seen.push(data)),
    define("unfit-several").onBatch([Added, Other], (_, events) => void seen.push(...events.map(({ data }) => data))),
    define("unfit-any").onAny((_, data) => void seen.push({ any: data })),
  ]);
  const last = await process.appendRaw("unfit-sql", newEvent({ type: "Other", data: '{"n":"1"}' }));
  for (const name of ["unfit-one", "unfit-several"])
    expect(await halted(process, name)).toMatchObject({
      failedPosition: last,
      attempts: 1,
      lastError: "its data do not match Other: /n must be number",
    });
  await process.reached("unfit-any", last);
  expect(seen).toEqual([{ any: { n: "1" } }]);
  await process.stop();
});

test("an event without JSON data, of a type that has a schema, fails and says why", async () => {
  failing = false;
  const process = await rig.start([sums("binary", { attempts: 1_000 })]);
  await process.append("binary", added("a"));
  await process.appendRaw("binary", newEvent({ type: "Added", binary: new Uint8Array([1]) }));
  expect(await halted(process, "binary")).toMatchObject({ attempts: 1, lastError: "it has no JSON data" });
  await process.stop();
});

test("what has been done when a pause is answered is all that is done until it goes on", async () => {
  failing = false;
  const process = await rig.start([sums("paused", { batchSize: 1 })]);
  let appending = true;
  const appended = (async () => {
    let last = -1;
    while (appending) last = await process.append("paused", added("a"), added("a"));
    return last;
  })();
  await until("it has begun", async () => ((await live(process, "paused"))?.events ?? 0) > 0);
  for (let round = 0; round < 5; round++) {
    await setPaused(process.database.reads, "paused", true);
    const [before] = await rig.rows("paused");
    for (let look = 0; look < 5; look++) await process.append("paused", added("b"));
    expect((await rig.rows("paused")).find(({ key }) => key === "a")).toEqual(before as Record<string, unknown>);
    await setPaused(process.database.reads, "paused", false);
    process.projections.tend();
    const events = (await live(process, "paused")).events;
    await until("it goes on", async () => (await live(process, "paused")).events > events + 3);
  }
  appending = false;
  await process.reached("paused", await appended);
  await process.stop();
});

test("one that does not start by itself waits to be resumed", async () => {
  failing = false;
  const process = await rig.start([sums("waits", { autoStart: false })]);
  const last = await process.append("waits", added("a"));
  await until("it is there", async () => (await live(process, "waits"))?.paused);
  expect((await live(process, "waits")).position).toBe(-1);
  await setPaused(process.database.reads, "waits", false);
  process.projections.tend();
  await process.reached("waits", last);
  await process.stop();
  // What somebody has decided is not undone by a start.
  const again = await rig.start([sums("waits", { autoStart: false })]);
  await again.reached("waits", await again.append("waits", added("a")));
  await again.stop();
});

test("an event that cannot be upcast fails like any other; one that this process cannot upcast is tried without end", async () => {
  failing = false;
  let isThere = false;
  const upcasting = {
    attempt: (events: readonly unknown[]) =>
      events.map((event) => {
        const { data } = event as { data: string };
        if (data.includes("never")) return { failure: "The upcaster failed: no way", passing: false };
        return data.includes("later") && !isThere ? { failure: "It is code that is not here", passing: true } : event;
      }) as never,
  };
  const process = await rig.start([sums("upcast")], { upcasting });
  const last = await process.append("upcast", added("a"), added("later"), added("a"), added("never"));
  await until("it has been tried often", async () => ((await live(process, "upcast"))?.attempts ?? 0) > 4);
  expect(await live(process, "upcast")).toMatchObject({ halted: false, lastError: "It is code that is not here" });
  isThere = true;
  expect(await halted(process, "upcast")).toMatchObject({
    failedPosition: last,
    events: 3,
    lastError: "The upcaster failed: no way",
  });
  await process.stop();
});

test("what breaks off before a projection has begun is tried again at once, and not in the next round of looks", async () => {
  let breaking = 4;
  let pools = 0;
  const closed = () => Object.assign(new Error("write CONNECTION_CLOSED"), { code: "CONNECTION_CLOSED" });
  const startedMs = performance.now();
  const process = await rig.start([sums("broken-off")], {
    // The first of them is that of the leases.
    through: (pool) =>
      ++pools === 1 ? pool : { ...pool, run: (task) => (--breaking >= 0 ? Promise.reject(closed()) : pool.run(task)) },
  });
  await process.reached("broken-off", await process.append("broken-off", added("a")));
  expect(breaking).toBeLessThan(0);
  // In rounds it would take four times five seconds.
  expect(performance.now() - startedMs).toBeLessThan(15_000);
});
