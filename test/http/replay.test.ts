// Replays as lines: complete and in order, at the reader's pace, to the head of the moment in which they started.
import { afterAll, beforeAll, expect, setSystemTime, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { createLog } from "../../src/base/log.ts";
import { everyone } from "../../src/base/principal.ts";
import { createSemaphore } from "../../src/base/semaphore.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { StalledConnection } from "../../src/storage/pg-errors.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { type LogReader, resolveRange } from "../../src/stream/range.ts";
import { readRangePage } from "../../src/stream/read.ts";
import { replayLines } from "../../src/stream/replay.ts";
import { asStored } from "../../src/stream/schema/target.ts";
import { append, type Envelope, send } from "../support/client.ts";
import { type CountedPool, countTasks } from "../support/counted-pool.ts";
import { testSchema } from "../support/postgres.ts";
import { unversioned } from "../support/schemas.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

const total = 20_000;
const log = createLog("silent", "test");
const replays = createSemaphore(2);
let service: Service;
let database: Database;

beforeAll(async () => {
  service = await startService();
  const filler = "x".repeat(1_500);
  for (let first = 0; first < total; first += 500) {
    const events = Array.from({ length: 500 }, (_, i) => ({
      type: (first + i) % 9_000 === 8_999 ? "Rare" : "Common",
      data: { n: first + i, filler },
    }));
    expect((await append(service.url, "long", events)).status).toBe(201);
  }
  database = createDatabase({
    connection: service.databaseUrl,
    schema: testSchema,
    poolSize: 2,
    commandTimeoutMs: 10_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log,
  });
});
afterAll(async () => {
  await database.stop();
  await service.stop();
});

const lines = (path: string) => fetch(service.url + path, { headers: { accept: "application/x-ndjson" } });
const numbers = (text: string) => [...text.matchAll(/"data":\{"n":(\d+)/g)].map((match) => Number(match[1]));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

function query(streams: readonly string[] | null, types: readonly string[] | null = null) {
  return {
    selection: { streams, types, correlation: null, key: null, where: null },
    single: streams !== null,
    from: null,
    after: null,
    to: null,
    direction: "forward" as const,
    principal: everyone,
  };
}

test("a long replay is complete, in order, and equal to the pages", async () => {
  const response = await lines("/api/streams/long/events");
  expect(response.headers.get("content-type")).toBe("application/x-ndjson");
  const found = (await response.text()).split("\n");
  expect(found.pop()).toBe("");
  expect(found.length).toBe(total);
  let n = 0;
  for (let next: string | null = "/api/streams/long/events?limit=1000"; next !== null; ) {
    const page: { events: Envelope[]; next: string | null } = (
      await send<{ events: Envelope[]; next: string | null }>(service.url + next)
    ).body;
    for (const event of page.events) {
      if (found[n] !== JSON.stringify(event)) expect(found[n]).toBe(JSON.stringify(event));
      n++;
    }
    next = page.next;
  }
  expect(n).toBe(total);
});

test("backward, limited and filtered replays give what was asked for", async () => {
  expect(numbers(await (await lines("/api/streams/long/events?direction=backward&limit=2500")).text())).toEqual(
    range(total - 2_500, total - 1).reverse(),
  );
  expect(numbers(await (await lines("/api/streams/long/events?types=Rare")).text())).toEqual([8_999, 17_999]);
  expect(numbers(await (await lines("/api/events?stream=long&from=100&to=101")).text())).toEqual([100, 101]);
});

test("a page that finds nothing in its time still brings the reader on", async () => {
  const reader: LogReader = { pool: database.reads, knownHead: () => 0 };
  const given = { ...query(["long"], ["Rare"]), direction: "backward" as const };
  // Behind the head of the stream there is nothing rare for thousands of events.
  await append(
    service.url,
    "elsewhere",
    range(0, 999).map(() => ({ type: "Common" })),
  );
  const seen: number[] = [];
  let pages = 0;
  const resolved = await resolveRange(reader, given);
  for (let cursor = resolved.start.position; ; ) {
    const page = await readRangePage(reader, resolved, cursor, 1, 0);
    expect(page.done || page.reached < cursor).toBe(true);
    cursor = page.reached;
    seen.push(...page.events.map((event) => event.offset));
    pages++;
    if (page.done) break;
  }
  expect(seen).toEqual([17_999, 8_999]);
  expect(pages).toBeGreaterThan(2);
});

test("a replay ends at the head of the moment in which it started", async () => {
  await append(
    service.url,
    "growing",
    range(0, 999).map((n) => ({ type: "T", data: { n } })),
  );
  const response = await lines("/api/streams/growing/events");
  await append(
    service.url,
    "growing",
    range(1_000, 1_999).map((n) => ({ type: "T", data: { n } })),
  );
  expect(numbers(await response.text())).toEqual(range(0, 999));
});

test("a database that drops every connection in the middle costs neither an event nor a repetition", async () => {
  const sql = openSql(service.databaseUrl);
  const response = await lines("/api/streams/long/events");
  let text = "";
  let killed = 0;
  const decoder = new TextDecoder();
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (killed > 3) continue;
    const rows = await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'sluice reads' and datname = current_database()`;
    if (rows.length > 0) killed++;
  }
  await sql.end();
  expect(killed).toBeGreaterThan(3);
  expect(numbers(text)).toEqual(range(0, total - 1));
});

test("a replay of the whole log is complete and in order, both ways, also where pages are cut by their bytes", async () => {
  // A thousand of them are several times the bytes of one page.
  const filler = "y".repeat(40_000);
  for (let first = 0; first < 300; first += 20) {
    const events = Array.from({ length: 20 }, (_, i) => ({ type: "Bulky", data: { n: first + i, filler } }));
    expect((await append(service.url, "bulky", events)).status).toBe(201);
  }
  const positions = async (parameters: string) =>
    [...(await (await lines(`/api/events?${parameters}`)).text()).matchAll(/"position":"(\d+)"/g)].map((match) =>
      Number(match[1]),
    );
  const forward = await positions("direction=forward");
  const head = Number((await send<{ head: string }>(`${service.url}/api/events?limit=1`)).body.head);
  expect(forward).toEqual(range(0, head));
  expect(await positions("direction=backward")).toEqual(range(0, head).reverse());
  expect(await positions(`from=150&to=${head - 150}`)).toEqual(range(150, head - 150));
  expect(await positions(`direction=backward&from=${head - 150}&to=150`)).toEqual(range(150, head - 150).reverse());
  expect(await positions("limit=2500")).toEqual(range(0, 2_499));
  expect(await positions(`from=${head}&to=5`)).toEqual([]);
});

/** Serves replays of the long stream with a pool that counts, to a raw client that decides when it reads. */
async function serve(
  streams: readonly string[] | null = ["long"],
): Promise<{ pool: CountedPool; port: number; stop: () => Promise<void> }> {
  const pool = countTasks(database.reads);
  const reader: LogReader = { pool, knownHead: () => 0 };
  const resolved = await resolveRange(reader, query(streams));
  const server = Bun.serve({
    port: 0,
    // A reader may be idle for as long as the others take.
    idleTimeout: 255,
    fetch: () => new Response(replayLines(unversioned(reader), resolved, asStored, null, replays, log)),
  });
  return { pool, port: server.port as number, stop: () => server.stop(true) };
}

function ask(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
      resolve(socket);
    });
    socket.on("error", () => {});
    socket.pause();
  });
}

test.each([
  ["a stream", ["long"]],
  ["the log", null],
])("for a reader of %s that stops reading, the service stops reading too", async (_, streams) => {
  const stalled = await serve(streams);
  const running = await serve(streams);
  const idle = await ask(stalled.port);
  await until("its first page is read", () => stalled.pool.asked() > 1);
  // Three complete replays later it would have come to its end, if nothing held it.
  for (let n = 0; n < 3; n++) {
    const text = await (await fetch(`http://127.0.0.1:${running.port}`)).text();
    expect(numbers(text).length).toBeGreaterThanOrEqual(total);
  }
  const whole = running.pool.asked() / 3;
  expect(stalled.pool.asked()).toBeLessThan(whole);
  let bytes = 0;
  let ends = "";
  idle.on("data", (chunk) => {
    bytes += chunk.length;
    ends = (ends + chunk.toString("latin1")).slice(-10);
  });
  idle.resume();
  await until("it has read on to the end", () => ends.endsWith("0\r\n\r\n"));
  expect(bytes).toBeGreaterThan(total * 1_500);
  idle.destroy();
  await stalled.stop();
  await running.stop();
});

test.each([
  ["a stream", ["long"]],
  ["the log", null],
])("for a reader of %s that vanishes, nothing is read any more and no connection stays taken", async (_, streams) => {
  const served = await serve(streams);
  const sockets = await Promise.all([1, 2, 3, 4].map(() => ask(served.port)));
  await until("all have begun", () => served.pool.asked() > 4);
  for (const socket of sockets) socket.resetAndDestroy();
  // Both connections of the pool are free at the same time.
  let together = 0;
  await Promise.all(
    [1, 2].map(() =>
      database.reads.run(async (sql) => {
        together++;
        await until("both run at once", () => together === 2);
        await sql`select 1`;
      }),
    ),
  );
  let last = -1;
  await until("the reading has ended", async () => {
    const before = last;
    last = served.pool.asked();
    for (let n = 0; n < 20; n++) await database.reads.run((sql) => sql`select 1`);
    return last === before && served.pool.asked() === last;
  });
  expect(served.pool.asked()).toBeLessThan(4 * 20);
  await served.stop();
});

/** The reads of the service's database, which are refused while `away`, as they are in an outage. */
function openFailing() {
  const state = { away: false, refused: 0 };
  const pool: Pool = {
    ...database.reads,
    run(task, signal) {
      if (!state.away) return database.reads.run(task, signal);
      state.refused++;
      return Promise.reject(new StalledConnection("away"));
    },
  };
  return { state, reader: { pool, knownHead: () => 0 } satisfies LogReader };
}

test("an outage that is over when the reader comes back does not break its replay off", async () => {
  const { state, reader } = openFailing();
  const resolved = await resolveRange(reader, query(["long"]));
  state.away = true;
  const lines = replayLines(unversioned(reader), resolved, asStored, 300, replays, log);
  await until("it has read ahead, in vain", () => state.refused > 0);
  try {
    setSystemTime(new Date(Date.now() + 10 * 60_000));
    state.away = false;
    expect(numbers(await new Response(lines).text())).toEqual(range(0, 299));
  } finally {
    setSystemTime();
  }
});

test("the time that a page waits for its turn does not count as an outage", async () => {
  const { state, reader } = openFailing();
  const resolved = await resolveRange(reader, query(["long"]));
  const turns = createSemaphore(1);
  const others = Promise.withResolvers<void>();
  const busy = turns.run(() => others.promise);
  state.away = true;
  const lines = replayLines(unversioned(reader), resolved, asStored, 300, turns, log);
  await until("it waits for its turn", () => turns.waiting() > 0);
  try {
    setSystemTime(new Date(Date.now() + 10 * 60_000));
    others.resolve();
    await busy;
    await until("it has met the outage", () => state.refused > 0);
    state.away = false;
    expect(numbers(await new Response(lines).text())).toEqual(range(0, 299));
  } finally {
    setSystemTime();
  }
});

test("a replay of the log passes over a long hole in few steps", async () => {
  expect((await fetch(`${service.url}/api/streams/long`, { method: "DELETE" })).status).toBe(204);
  const pool = countTasks(database.reads);
  const reader: LogReader = { pool, knownHead: () => 0 };
  const resolved = await resolveRange(reader, query(null));
  const before = pool.asked();
  const text = await new Response(replayLines(unversioned(reader), resolved, asStored, null, replays, log)).text();
  expect(numbers(text).slice(-300)).toEqual(range(0, 299));
  expect(text).not.toContain('"stream":"long"');
  // It is longer than twenty pages.
  expect(pool.asked() - before).toBeLessThan(15);
});

test("behind a long hole two pages are read side by side again", async () => {
  for (let first = 0; first < 12_000; first += 1_000) {
    const events = range(first, first + 999).map((n) => ({ type: "T", data: { n } }));
    expect((await append(service.url, "dense", events)).status).toBe(201);
  }
  // Once the hole is passed, each page waits at the gate.
  const gate: (() => void)[] = [];
  let isGated = false;
  const pool: Pool = {
    ...database.reads,
    async run(task, signal) {
      if (isGated) await new Promise<void>((resolve) => gate.push(resolve));
      return database.reads.run(task, signal);
    },
  };
  const reader: LogReader = { pool, knownHead: () => 0 };
  const resolved = await resolveRange(reader, query(null));
  const body = replayLines(unversioned(reader), resolved, asStored, null, replays, log).getReader();
  let text = "";
  const decoder = new TextDecoder();
  while (!text.includes('"stream":"dense"')) text += decoder.decode((await body.read()).value, { stream: true });
  isGated = true;
  const rest = (async () => {
    for (let part = await body.read(); !part.done; part = await body.read())
      text += decoder.decode(part.value, { stream: true });
  })();
  for (let round = 0; round < 3; round++) {
    await until("two wait at the gate", () => gate.length === 2);
    for (const pass of gate.splice(0)) pass();
  }
  isGated = false;
  for (const pass of gate.splice(0)) pass();
  await rest;
  expect(numbers(text).slice(-12_000)).toEqual(range(0, 11_999));
});
