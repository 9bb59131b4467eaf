// Ephemeral streams: followed live by whoever names them, never read back, and gone once they are settled.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, expectProblem, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { logDefects, openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
let other: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService({ TRIM_INTERVAL: "50ms" });
  other = await startService({ TRIM_INTERVAL: "50ms", DATABASE_URL: service.databaseUrl });
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await Promise.all([service.stop(), other.stop()]);
});

const url = (name: string) => `${service.url}/api/streams/${name}`;
const put = (name: string, body: unknown) => send(url(name), { method: "PUT", body: JSON.stringify(body) });
const length = async (name: string) => (await send<{ length: string }>(url(name))).body.length;

test("its events stand in the family of their own, and are shown to nobody who reads back", async () => {
  await put("mails", { type: "ephemeral" });
  await append(service.url, "letters", { type: "Persistent" });
  const stored = await append(service.url, "mails", [{ type: "A", id: "known" }, { type: "B" }]);
  expect([stored.status, stored.body.firstOffset]).toEqual([201, "0"]);
  expect((await append(service.url, "mails", { type: "A", id: "known" })).status).toBe(200);
  const families = await sql`
    select s.name, e.ephemeral, count(*)::int as n from events e join streams s on s.id = e.stream_id
    where s.name in ('mails', 'letters') group by 1, 2 order by 1`;
  expect([...families]).toEqual([
    { name: "letters", ephemeral: false, n: 1 },
    { name: "mails", ephemeral: true, n: 2 },
  ]);
  for (const accept of ["application/json", "application/cloudevents-batch+json", "application/x-ndjson"]) {
    const read = (path: string) => send(`${service.url}${path}`, { headers: { accept } });
    expectProblem(await read("/api/streams/mails/events"), 403, "replay-forbidden");
    expectProblem(await read("/api/events?stream=mails&stream=letters"), 403, "replay-forbidden");
    const all = await read("/api/events?from=0");
    expect([all.status, all.text.includes('"letters"'), all.text.includes('"mails"')]).toEqual([200, true, false]);
  }
  expectProblem(await send(`${url("mails")}/events/0`), 403, "replay-forbidden");
  const follow = { headers: { accept: "text/event-stream" } };
  expectProblem(await send(`${url("mails")}/events?from=beginning`, follow), 403, "replay-forbidden");
  expectProblem(await send(`${service.url}/api/events?stream=mails&from=0`, follow), 403, "replay-forbidden");
  expect(await length("mails")).toBe("2");
});

test("who names it follows it live, at any process; who follows all streams is not shown it", async () => {
  await put("live", { type: "ephemeral" });
  const bases = [service.url, other.url];
  const own = await Promise.all(bases.map((base) => openEventStream(`${base}/api/streams/live/events`)));
  const named = await Promise.all(
    bases.map((base) => openEventStream(`${base}/api/events?stream=live&stream=beside&types=A`)),
  );
  const all = await Promise.all(bases.map((base) => openEventStream(`${base}/api/events`)));
  const everybody = [...own, ...named, ...all];
  for (const stream of everybody)
    await stream.until("it is live", ({ frames }) => frames.some((f) => f.event === "sluice.caught-up"));
  for (let n = 0; n < 10; n++) await append(bases[n % 2] as string, "live", { type: "A", data: { n } });
  await append(service.url, "beside", { type: "A", data: { n: 10 } });
  const numbers = (stream: (typeof own)[number]) => stream.events().map((event) => (event.data as { n: number }).n);
  for (const stream of own) await stream.until("all events have come", () => numbers(stream).length === 10);
  for (const stream of [...named, ...all])
    await stream.until("the last event has come", () => numbers(stream).at(-1) === 10);
  for (const stream of own) expect(numbers(stream)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  for (const stream of named) expect(numbers(stream)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  for (const stream of all) expect(numbers(stream)).toEqual([10]);
  // Its cursor resumes behind what it saw.
  const resumed = await openEventStream(`${url("live")}/events`, { "last-event-id": "9" });
  await append(other.url, "live", { type: "A", data: { n: 11 } });
  await resumed.until("it goes on", () => numbers(resumed).length === 1);
  expect(resumed.frames.filter(({ event }) => event === "sluice.gap")).toEqual([]);
  for (const stream of [...everybody, resumed]) stream.close();
});

test("a payload predicate works on the live end of one, as on any", async () => {
  await put("filtered", { type: "ephemeral" });
  const where = encodeURIComponent("$.n > 1");
  const stream = await openEventStream(`${url("filtered")}/events?where=${where}`);
  await stream.until("it is live", ({ frames }) => frames.some((f) => f.event === "sluice.caught-up"));
  for (let n = 0; n < 4; n++) await append(service.url, "filtered", { type: "A", data: { n } });
  await stream.until("what matches has come", ({ events }) => events().length === 2);
  expect(stream.events().map((event) => event.offset)).toEqual(["2", "3"]);
  stream.close();
});

test("what all subscriptions have settled is forgotten, and leaves the disk; the rest stays", async () => {
  await put("settled", { type: "ephemeral" });
  await put("unsettled", { type: "ephemeral" });
  for (const name of ["settled", "unsettled"])
    await append(
      service.url,
      name,
      Array.from({ length: 20 }, (_, n) => ({ type: "A", id: `id-${n}` })),
    );
  const follower = await openEventStream(`${url("settled")}/events`);
  await sql`create table floors (stream_id bigint primary key, floor bigint)`;
  await sql`insert into floors select id, null from streams where name = 'settled'`;
  await sql.unsafe(`create or replace function ephemeral_floor(p_stream_id bigint) returns bigint language sql stable as
    'select floor from floors where stream_id = p_stream_id'`);
  const settle = (offset: number) => sql`
    update floors f set floor = (select position from events e where e.stream_id = f.stream_id and e."offset" = ${offset})`;
  await settle(13);
  await until("they are gone", async () => (await length("settled")) === "7");
  await until("their rows are gone", async () => {
    const rows = await sql`select from events e join streams s on s.id = e.stream_id where s.name = 'settled'`;
    return rows.length === 7;
  });
  // All of it: the floor lies behind the last event.
  await sql`update floors set floor = 1000000`;
  await until("all are gone", async () => (await length("settled")) === "0");
  expect(await length("unsettled")).toBe("20");
  expect((await append(service.url, "settled", { type: "A", id: "id-5" })).status).toBe(200);
  await sql`update floors set floor = 0`;
  expect((await append(other.url, "settled", { type: "Next" })).body.firstOffset).toBe("20");
  await follower.until("the follower goes on", ({ events }) => events().at(-1)?.type === "Next");
  expect(follower.frames.filter(({ event }) => event === "sluice.gap")).toEqual([]);
  follower.close();
  expect(await logDefects(sql)).toEqual([]);
});

test("one that nobody consumes is bounded by its age", async () => {
  await put("unread", { type: "ephemeral", retention: { maxAge: "200ms" } });
  await append(service.url, "unread", [{ type: "A" }, { type: "B" }]);
  await until("its events are gone", async () => (await length("unread")) === "0");
});
