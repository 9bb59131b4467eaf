import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import postgres from "postgres";
import { append, type Envelope, expectProblem, readLines, send } from "../support/client.ts";
import { type Service, spawnService, startService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
/** A second service on the same database. */
let other: Service;
const open: EventStream[] = [];

beforeAll(async () => {
  service = await startService({ HEARTBEAT: "100ms" });
  other = await startService({ DATABASE_URL: service.databaseUrl });
});
afterAll(async () => {
  for (const stream of open) stream.close();
  await other.stop();
  await service.stop();
});

async function follow(path: string, headers: Record<string, string> = {}, at = service): Promise<EventStream> {
  const stream = await openEventStream(at.url + path, headers);
  open.push(stream);
  return stream;
}

const offsets = (stream: EventStream) => stream.events().map((event) => Number(event.offset));
const named = (stream: EventStream, name: string) =>
  stream.frames
    .filter((frame) => frame.event === name)
    .map((frame) => ({ id: frame.id, data: JSON.parse(frame.data ?? "null") }));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test("ready, history, caught up, live, each with its id", async () => {
  await append(service.url, "told", [{ type: "A" }, { type: "B" }]);
  const stream = await follow("/api/streams/told/events?from=beginning");
  await stream.until("it is caught up", () => named(stream, "sluice.caught-up").length === 1);
  await append(service.url, "told", { type: "C" });
  await stream.until("the live event is there", () => offsets(stream).length === 3);
  const frames = stream.frames.filter((frame) => frame.data !== null);
  expect(frames.map((frame) => [frame.id, frame.event])).toEqual([
    ["-1", "sluice.ready"],
    ["0", null],
    ["1", null],
    ["1", "sluice.caught-up"],
    ["2", null],
  ]);
  const [ready] = named(stream, "sluice.ready");
  expect(ready?.data).toMatchObject({ stream: "told", from: "0", head: "1" });
  expect(ready?.data.logId).toBeString();
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  expect(stream.headers.get("cache-control")).toBe("no-cache, no-transform");
  expect(stream.headers.get("x-accel-buffering")).toBe("no");
});

test("live frames equal replayed ones to the byte", async () => {
  const live = await follow("/api/streams/equal/events");
  await live.until("it is live", () => named(live, "sluice.caught-up").length === 1);
  await append(service.url, "equal", { type: "A", subject: "s", data: { big: 1, ü: [1.0, 2] }, extra: true });
  await append(service.url, "equal", { type: "B", data_base64: "AAEC" });
  await live.until("both are there", () => live.events().length === 2);
  const data = (stream: EventStream) =>
    stream.frames.filter((f) => f.event === null && f.data !== null).map((f) => f.data as string);
  expect(data(live)).toEqual(await readLines(service.url, "equal"));
  const replayed = await follow("/api/streams/equal/events?from=0", {}, other);
  await replayed.until("both are there", () => replayed.events().length === 2);
  expect(data(replayed)).toEqual(data(live));
});

test("a reader resumes right behind its last id; the header wins over the query", async () => {
  await append(
    service.url,
    "resumed",
    range(0, 9).map((i) => ({ type: `T${i}` })),
  );
  const byHeader = await follow("/api/streams/resumed/events?lastEventId=2", { "last-event-id": "6" });
  await byHeader.until("the rest is there", () => offsets(byHeader).length === 3);
  expect(offsets(byHeader)).toEqual([7, 8, 9]);
  const byQuery = await follow("/api/streams/resumed/events?lastEventId=7");
  await byQuery.until("the rest is there", () => offsets(byQuery).length === 2);
  expect(offsets(byQuery)).toEqual([8, 9]);
  const fromStart = await follow("/api/streams/resumed/events", { "last-event-id": "-1" });
  await fromStart.until("everything is there", () => offsets(fromStart).length === 10);
});

test("a stream that does not exist yet is followed from its first event", async () => {
  const stream = await follow("/api/streams/unborn/events");
  await stream.until("it is live", () => named(stream, "sluice.caught-up").length === 1);
  expect(stream.lastEventId()).toBe("-1");
  await append(other.url, "unborn", { type: "First" });
  await stream.until("the first event is there", () => offsets(stream).length === 1);
  expect(stream.lastEventId()).toBe("0");
});

test("a cursor of another history is told, and the reader is not sent on its way", async () => {
  await append(service.url, "other-history", { type: "A" });
  for (const cursor of ["99", "garbage"]) {
    const stream = await follow("/api/streams/other-history/events", { "last-event-id": cursor });
    await stream.until("it has ended", () => stream.ended());
    expect(named(stream, "sluice.reset")[0]?.data).toMatchObject({ requested: cursor, head: "0" });
    expect(named(stream, "sluice.end")[0]?.data).toEqual({ reason: "reset" });
    const again = await fetch(`${service.url}/api/streams/other-history/events`, {
      headers: { accept: "text/event-stream", "last-event-id": stream.lastEventId() },
    });
    expect(again.status).toBe(204);
  }
});

test("heartbeats carry the cursor, also past events that the filter leaves out", async () => {
  const stream = await follow("/api/streams/sparse/events?types=Wanted");
  await append(
    service.url,
    "sparse",
    range(0, 4).map(() => ({ type: "Unwanted" })),
  );
  await stream.until("a heartbeat has the new cursor", () => stream.lastEventId() === "4");
  expect(stream.events()).toEqual([]);
});

describe("bounded", () => {
  test("limit ends the stream with an id that says so", async () => {
    await append(
      service.url,
      "bounded",
      range(0, 9).map((i) => ({ type: `T${i}` })),
    );
    const stream = await follow("/api/streams/bounded/events?from=0&limit=4");
    await stream.until("it has ended", () => stream.ended());
    expect(offsets(stream)).toEqual([0, 1, 2, 3]);
    expect(named(stream, "sluice.end")).toEqual([{ id: "end:3", data: { reason: "limit" } }]);
  });

  test("to ends it there, with progress on request, and live if it has to wait", async () => {
    const stream = await follow("/api/streams/bounded/events?from=2&to=5&progress=true");
    await stream.until("it has ended", () => stream.ended());
    expect(offsets(stream)).toEqual([2, 3, 4, 5]);
    expect(named(stream, "sluice.progress").at(-1)?.data).toEqual({ sent: "4", total: "4" });
    expect(named(stream, "sluice.end")).toEqual([{ id: "end:5", data: { reason: "to" } }]);
    const limited = await follow("/api/streams/bounded/events?from=0&types=T2,T5,T7&limit=2&progress=true");
    await limited.until("it has ended", () => limited.ended());
    expect(named(limited, "sluice.progress").at(-1)?.data).toEqual({ sent: "2", total: "2" });
    const waiting = await follow("/api/streams/bounded/events?to=11");
    await waiting.until("it is live", () => named(waiting, "sluice.caught-up").length === 1);
    await append(
      service.url,
      "bounded",
      range(10, 13).map((i) => ({ type: `T${i}` })),
    );
    await waiting.until("it has ended", () => waiting.ended());
    expect(offsets(waiting)).toEqual([10, 11]);
  });
});

test("named frames bear the type, but not those that mean something to EventSource", async () => {
  await append(service.url, "named", [{ type: "Placed" }, { type: "error" }, { type: "message" }, { type: "open" }]);
  const stream = await follow("/api/streams/named/events?from=0&named=true&limit=4");
  await stream.until("it has ended", () => stream.ended());
  expect(stream.frames.filter((f) => f.data?.includes("specversion")).map((f) => f.event)).toEqual([
    "Placed",
    null,
    null,
    null,
  ]);
});

test("a resumed stream without replay tells the gap and goes on live", async () => {
  await send(`${service.url}/api/streams/quiet`, { method: "PUT", body: '{"replay":false}' });
  await append(service.url, "quiet", [{ type: "A" }, { type: "B" }, { type: "C" }]);
  const stream = await follow("/api/streams/quiet/events", { "last-event-id": "0" });
  await stream.until("it is live", () => named(stream, "sluice.caught-up").length === 1);
  expect(named(stream, "sluice.gap")).toEqual([{ id: "2", data: { from: "1", to: "2" } }]);
  await append(service.url, "quiet", { type: "D" });
  await stream.until("the live event is there", () => offsets(stream).length === 1);
  expect(offsets(stream)).toEqual([3]);
});

test("a follower of deleted events is told the gap, and what comes later", async () => {
  await append(
    service.url,
    "deleted",
    range(0, 4).map((i) => ({ type: `T${i}` })),
  );
  await send(`${other.url}/api/streams/deleted`, { method: "DELETE" });
  await append(other.url, "deleted", { type: "After" });
  const stream = await follow("/api/streams/deleted/events", { "last-event-id": "1" });
  await stream.until("the later event is there", () => offsets(stream).length === 1);
  expect(named(stream, "sluice.gap")[0]?.data).toEqual({ from: "2", to: "4" });
  // Who is cut off before it reads of the gap comes back with this, and is told again.
  expect(named(stream, "sluice.ready")[0]?.id).toBe("1");
  expect(offsets(stream)).toEqual([5]);
});

test("payload predicates hold for the live end as for history", async () => {
  const where = encodeURIComponent("$.amount > 100");
  await append(service.url, "amounts", [
    { type: "A", data: { amount: 1 } },
    { type: "A", data: { amount: 500 } },
    { type: "A" },
  ]);
  const streams = await Promise.all([0, 1, 2].map(() => follow(`/api/streams/amounts/events?from=0&where=${where}`)));
  for (const stream of streams) await stream.until("it is live", () => named(stream, "sluice.caught-up").length === 1);
  await append(
    service.url,
    "amounts",
    range(0, 19).map((i) => ({ type: "A", data: { amount: i * 50 } })),
  );
  await append(other.url, "amounts", { type: "A", data: { amount: "much" } });
  await append(other.url, "amounts", { type: "A", data: { amount: 101 } });
  for (const stream of streams) {
    await stream.until("the last one is there", () => offsets(stream).includes(24));
    expect(offsets(stream)).toEqual([1, ...range(6, 22), 24]);
  }
});

test("the seam neither skips nor repeats: followers that start whenever they like, while two services append", async () => {
  const total = 600;
  const writers = [service, other].map(async ({ url }, w) => {
    for (let i = 0; i < total / 20; i++) {
      await append(
        url,
        `seam-${w}`,
        range(0, 9).map((n) => ({ type: `T${n % 3}`, data: { n } })),
      );
    }
  });
  const followers: { stream: EventStream; expected: (event: Envelope) => boolean }[] = [];
  for (let i = 0; i < 12; i++) {
    const at = i % 2 === 0 ? service : other;
    const w = i % 4 < 2 ? 0 : 1;
    const where = encodeURIComponent("$.n > 4");
    followers.push(
      {
        stream: await follow(`/api/streams/seam-${w}/events?from=0`, {}, at),
        expected: (e) => e.stream === `seam-${w}`,
      },
      {
        stream: await follow(`/api/events?stream=seam-0&stream=seam-1&from=0&types=T1`, {}, at),
        expected: (e) => e.type === "T1",
      },
      {
        stream: await follow(`/api/events?stream=seam-0&stream=seam-1&from=0&where=${where}`, {}, at),
        expected: (e) => (e.data as { n: number }).n > 4,
      },
    );
  }
  await Promise.all(writers);
  const log = (await Promise.all([0, 1].map((w) => readLines(service.url, `seam-${w}`))))
    .flat()
    .map((line) => JSON.parse(line) as Envelope);
  log.sort((a, b) => Number(a.position) - Number(b.position));
  expect(log.length).toBe(total);
  for (const { stream, expected } of followers) {
    const wanted = log.filter(expected).map((event) => event.position);
    await stream.until("everything is there", () => stream.events().length >= wanted.length);
    expect(stream.events().map((event) => event.position as string)).toEqual(wanted);
  }
});

test("a lost listener is replaced, and what happened meanwhile is found", async () => {
  const stream = await follow("/api/streams/unheard/events");
  await stream.until("it is live", () => named(stream, "sluice.caught-up").length === 1);
  const sql = postgres(service.databaseUrl, { max: 1 });
  const killed =
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sluice wake' and datname = current_database()`;
  expect(killed.length).toBeGreaterThan(0);
  await append(other.url, "unheard", { type: "A" });
  await stream.until("the event is there", () => offsets(stream).length === 1);
  await sql.end();
});

test("a reader that stops reading leaves the live set, holds little memory, and misses nothing", async () => {
  const response = await fetch(`${service.url}/api/streams/slow/events`, { headers: { accept: "text/event-stream" } });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const filler = "x".repeat(50_000);
  const metric = async (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await (await fetch(`${service.url}/metrics`)).text())?.[1]);
  let appended = 0;
  await until("it has fallen behind", async () => {
    await append(
      service.url,
      "slow",
      range(0, 9).map(() => ({ type: "A", data: filler })),
    );
    appended += 10;
    return (await metric("sluice_sse_connections_catching_up")) > 0;
  });
  for (let i = 0; i < 100; i++)
    await append(
      service.url,
      "slow",
      range(0, 9).map(() => ({ type: "A", data: filler })),
    );
  appended += 1_000;
  const decoder = new TextDecoder();
  let text = "";
  const seen: number[] = [];
  while (seen.length < appended) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
    const frames = text.split("\n\n");
    text = frames.pop() as string;
    for (const frame of frames)
      if (frame.includes('data: {"specversion')) seen.push(Number(/^id: (\d+)$/m.exec(frame)?.[1]));
  }
  expect(seen).toEqual(range(0, appended - 1));
  await reader.cancel();
});

test("after all readers have left nothing is counted any more", async () => {
  for (const stream of open.splice(0)) stream.close();
  await until("all connections are gone", async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    return /^sluice_sse_connections 0$/m.test(text) && /^sluice_sse_connections_catching_up 0$/m.test(text);
  });
});

test("backward is refused, and so is what no event stream takes", async () => {
  const sse = { headers: { accept: "text/event-stream" } };
  expectProblem(await send(`${service.url}/api/streams/told/events?direction=backward`, sse), 400, "invalid-parameter");
  expectProblem(await send(`${service.url}/api/streams/told/events?named=maybe`, sse), 400, "invalid-parameter");
});

test("a service that is asked to stop says goodbye, answers what is under way, and exits with 0", async () => {
  const child = await spawnService({ DATABASE_URL: service.databaseUrl, LOG_LEVEL: "info" });
  const stream = await openEventStream(`${child.url}/api/streams/told/events`);
  await stream.until("it is live", () => named(stream, "sluice.caught-up").length === 1);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  await stream.until("it has ended", () => stream.ended());
  const last = stream.frames.at(-1);
  expect([last?.event, last?.data, last?.id ?? null]).toEqual(["sluice.end", '{"reason":"shutting-down"}', null]);
  // Its last id is still a cursor: the reader goes on elsewhere.
  expect(stream.lastEventId()).toBe("2");
});

test("above the allowed number of event streams a reader is asked to come back", async () => {
  const small = await startService({ MAX_EVENT_STREAMS: "1" });
  const first = await openEventStream(`${small.url}/api/events`);
  await first.until("it is ready", () => named(first, "sluice.ready").length === 1);
  const second = await openEventStream(`${small.url}/api/events`);
  await second.until("it has ended", () => second.ended());
  expect([second.status, named(second, "sluice.problem")[0]?.data.status]).toEqual([200, 503]);
  first.close();
  await small.stop();
});
