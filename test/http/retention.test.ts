// Streams that forget by themselves, as their users see it: retention by count, size and age, ids that outlive it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, type Envelope, expectProblem, readAll, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
let other: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  const env = { TRIM_INTERVAL: "50ms", DEDUPLICATION_WINDOW: "1s", HEARTBEAT: "200ms" };
  service = await startService(env);
  // Another process on the same database: what one of them trims is gone for both.
  other = await startService({ ...env, DATABASE_URL: service.databaseUrl });
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await Promise.all([service.stop(), other.stop()]);
});

type Description = { length: string; firstOffset: string | null; lastOffset: string | null; bytes: string };
const url = (name: string) => `${service.url}/api/streams/${name}`;
const put = (name: string, body: unknown) => send(url(name), { method: "PUT", body: JSON.stringify(body) });
const describeStream = async (name: string) => (await send<Description>(url(name))).body;
const begins = (name: string, offset: string | null) =>
  until(`${name} begins at ${offset}`, async () => (await describeStream(name)).firstOffset === offset);
const numbered = (count: number) => Array.from({ length: count }, (_, n) => ({ type: "A", data: { n } }));

test("of a stream with maxEvents the newest stay, for every way of reading and on every process", async () => {
  await put("counted", { retention: { maxEvents: 3 } });
  await append(service.url, "counted", numbered(10));
  await begins("counted", "7");
  expect(await describeStream("counted")).toMatchObject({ length: "3", firstOffset: "7", lastOffset: "9" });
  for (const { url: base } of [service, other]) {
    expect((await readAll(base, "counted")).map((event) => event.offset)).toEqual(["7", "8", "9"]);
    const page = await send<{ events: Envelope[] }>(`${base}/api/streams/counted/events?direction=backward`);
    expect(page.body.events.map((event) => event.offset)).toEqual(["9", "8", "7"]);
    const removed = expectProblem(await send(`${base}/api/streams/counted/events/6`), 410, "event-removed");
    expect(removed.firstOffset).toBe("7");
  }
  expect((await append(service.url, "counted", { type: "A" })).body.firstOffset).toBe("10");
  await begins("counted", "8");
});

test("of a stream with maxBytes as many stay as fit", async () => {
  await append(service.url, "sized", numbered(1));
  const { bytes } = await describeStream("sized");
  await put("sized", { retention: { maxBytes: String(Number(bytes) * 4) } });
  for (let n = 0; n < 5; n++) await append(service.url, "sized", { type: "A", data: { n } });
  await begins("sized", "2");
  expect(await describeStream("sized")).toMatchObject({ length: "4", bytes: String(Number(bytes) * 4) });
});

test("of a stream with maxAge nothing stays that is older, and its offsets go on", async () => {
  await put("aged", { retention: { maxAge: "1h" } });
  await append(service.url, "aged", numbered(5));
  expect((await readAll(service.url, "aged")).length).toBe(5);
  await put("aged", { retention: { maxAge: "100ms" } });
  await begins("aged", null);
  expect(await describeStream("aged")).toMatchObject({ length: "0", lastOffset: null, bytes: "0" });
  await until("the rows are gone", async () => {
    const rows = await sql`select from events e join streams s on s.id = e.stream_id where s.name = 'aged'`;
    return rows.length === 0;
  });
  await put("aged", {});
  expect((await append(service.url, "aged", { type: "A" })).body.firstOffset).toBe("5");
  expect((await append(service.url, "aged", { type: "B" }, { "if-match": '"5"' })).body.firstOffset).toBe("6");
});

test("a follower that stands behind a trim is told the gap, one beyond it notices nothing, at any process", async () => {
  await append(service.url, "followed", numbered(6));
  const current = await Promise.all(
    [service, other].map(({ url: base }) => openEventStream(`${base}/api/streams/followed/events?from=beginning`)),
  );
  for (const stream of current) await stream.until("it is live", ({ events }) => events().length === 6);
  await put("followed", { retention: { maxEvents: 2 } });
  await begins("followed", "4");
  const late = await Promise.all(
    [service, other].map(({ url: base }) =>
      openEventStream(`${base}/api/streams/followed/events`, { "last-event-id": "0" }),
    ),
  );
  await append(other.url, "followed", { type: "Last" });
  for (const stream of [...current, ...late])
    await stream.until("the last event has come", ({ events }) => events().at(-1)?.type === "Last");
  const gaps = (stream: (typeof late)[number]) =>
    stream.frames.filter(({ event }) => event === "sluice.gap").map(({ data }) => JSON.parse(data as string));
  for (const stream of current) expect(gaps(stream)).toEqual([]);
  for (const stream of late) {
    const [gap, ...more] = gaps(stream);
    expect([gap.from, more]).toEqual(["1", []]);
    // The trim goes on: either two were left, or the last one had come already.
    const first = Number(gap.to) + 1;
    expect([4, 5]).toContain(first);
    expect(stream.events().map((event) => event.offset)).toEqual(["4", "5", "6"].slice(first - 4));
  }
  for (const stream of [...current, ...late]) stream.close();
});

test("a trim raises nothing twice, however many processes look: each is one record", async () => {
  await put("once", { retention: { maxEvents: 5 } });
  for (let n = 0; n < 20; n++) await append(n % 2 === 0 ? service.url : other.url, "once", numbered(3));
  await begins("once", "55");
  const rows = await sql<{ from: string; to: string }[]>`
    select r->>'from' as from, r->>'to' as to
    from events e join streams s on s.id = e.stream_id, json_array_elements(e.data->'streams') r
    where s.internal and e.type = 'sluice.streams-trimmed' and r->>'stream' = 'once' order by e.position`;
  let next = 0;
  for (const { from, to } of rows) {
    expect(Number(from)).toBe(next);
    next = Number(to) + 1;
  }
  expect(next).toBe(55);
});

test("ids are known for a window after their events were trimmed, and then forgotten", async () => {
  await put("known", { retention: { maxEvents: 1 } });
  const first = { type: "A", id: "first", data: 1 };
  await append(service.url, "known", first);
  await append(service.url, "known", { type: "A", id: "second", data: 2 });
  await begins("known", "1");
  const again = await append(service.url, "known", first);
  expect([again.status, again.body.events]).toEqual([200, [{ id: "first", offset: "0", duplicate: true }]]);
  const other = { ...first, data: 2 };
  expectProblem(await append(service.url, "known", other), 409, "event-id-conflict");
  await until("the id is forgotten", async () => (await sql`select from event_ids where id = 'first'`).length === 0);
  expect([...(await sql`select id from event_ids where id in ('first', 'second')`)]).toEqual([{ id: "second" }]);
  const anew = await append(service.url, "known", first);
  expect([anew.status, anew.body.firstOffset]).toEqual([201, "2"]);
});

test("the metrics tell what was forgotten", async () => {
  await put("measured", { retention: { maxEvents: 1 } });
  await append(service.url, "measured", numbered(50));
  await begins("measured", "49");
  await until("both processes together have counted it", async () => {
    const texts = await Promise.all(
      [service, other].map(async ({ url: base }) => (await send(`${base}/metrics`)).text),
    );
    const sum = (name: string) =>
      texts.reduce((total, text) => total + Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1]), 0);
    expect(sum("sluice_partitions_dropped_total")).toBe(0);
    expect(sum("sluice_trim_round_seconds")).toBeLessThan(10);
    return (
      sum("sluice_events_trimmed_total") >= 49 &&
      sum("sluice_rows_purged_total") >= 49 &&
      sum("sluice_rows_waiting_for_purge") === 0
    );
  });
});
