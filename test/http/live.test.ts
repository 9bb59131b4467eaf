// Live connections: many streams and subscriptions on one event stream, added and removed while it is open.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, subscription } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
let other: Service;
let sql: ReturnType<typeof openSql>;
// Two processes on one database.
beforeAll(async () => {
  service = await startService({ HEARTBEAT: "200ms" });
  other = await startService({ HEARTBEAT: "200ms", DATABASE_URL: service.databaseUrl });
  sql = openSql(service.databaseUrl, 1);
});
afterAll(async () => {
  await sql.end();
  await other.stop();
  await service.stop();
});

let names = 0;
const newName = () => `flow-${++names}`;
const fill = (stream: string, count: number, type = "A") =>
  append(
    service.url,
    stream,
    Array.from({ length: count }, (_, n) => ({ type, data: { n } })),
  );
const open = (id: string, headers: Record<string, string> = {}, base = service.url) =>
  openEventStream(`${base}/api/live/${id}`, headers);
const add = (id: string, path: string, base = service.url) => put(`${base}/api/live/${id}/${path}`);
const remove = (id: string, path: string, base = service.url) =>
  send(`${base}/api/live/${id}/${path}`, { method: "DELETE" });
const seen = (live: EventStream, stream: string) =>
  live
    .events()
    .filter((event) => event.stream === stream)
    .map((event) => Number(event.offset));
const dataOf = (live: EventStream, event: string) =>
  live.frames.filter((frame) => frame.event === event).map((frame) => JSON.parse(frame.data as string));

test("of connects of one id at the same moment one stays, and the others are told that they were replaced", async () => {
  const id = crypto.randomUUID();
  const connected = await Promise.all([open(id), open(id), open(id, {}, other.url), open(id, {}, other.url)]);
  await until("one is left", () => connected.filter((live) => !live.ended()).length === 1);
  const replaced = connected.filter((live) => live.ended());
  expect(replaced.map((live) => dataOf(live, "sluice.end"))).toEqual(Array(3).fill([{ reason: "replaced" }]));
  const [left] = connected.filter((live) => !live.ended()) as [EventStream];
  const stream = newName();
  await add(id, `streams/${stream}`);
  await left.until("it flows", () => dataOf(left, "sluice.caught-up").length === 1);
  left.close();
});

test("streams are added and removed while it is open, from any process", async () => {
  const [a, b] = [newName(), newName()];
  await fill(a, 2);
  const id = crypto.randomUUID();
  const live = await open(id);
  expect((await add(id, `streams/${a}?from=beginning`)).status).toBe(201);
  await live.until("history has come", () => seen(live, a).length === 2);
  expect((await add(id, `streams/${b}`, other.url)).status).toBe(201);
  await live.until("b flows", () => dataOf(live, "sluice.caught-up").some((data) => data.stream === b));
  await fill(b, 1);
  await fill(a, 1);
  await live.until("both have come", () => seen(live, a).length === 3 && seen(live, b).length === 1);
  expect((await remove(id, `streams/${a}`, other.url)).status).toBe(204);
  await until("a flows no more", async () => {
    await fill(a, 1);
    const before = seen(live, a).length;
    const { lastOffset } = (await fill(b, 1)).body;
    await live.until("b goes on", () => seen(live, b).includes(Number(lastOffset)));
    return seen(live, a).length === before;
  });
  live.close();
});

test("filters decide what flows, and changing them begins the stream anew", async () => {
  const stream = newName();
  await append(service.url, stream, [
    { type: "A", data: { n: 1 } },
    { type: "B", data: { n: 5 }, partitionkey: "k" },
    { type: "B", data: { n: 9 } },
  ]);
  const id = crypto.randomUUID();
  await add(id, `streams/${stream}?from=beginning&types=B&where=${encodeURIComponent("$.n > 6")}`);
  const live = await open(id);
  await live.until("it has come", () => seen(live, stream).length === 1);
  expect((await add(id, `streams/${stream}?from=beginning&key=k`)).status).toBe(200);
  await live.until("the other has come", () => seen(live, stream).length === 2);
  expect(seen(live, stream)).toEqual([2, 1]);
  live.close();
});

test("a reconnect to the same URL resumes all of it, on another process too, without gap or repetition", async () => {
  const [a, b] = [newName(), newName()];
  await Promise.all([fill(a, 1), fill(b, 1)]);
  const id = crypto.randomUUID();
  await add(id, `streams/${a}`);
  await add(id, `streams/${b}`);
  const first = await open(id);
  await first.until("both flow", () => dataOf(first, "sluice.caught-up").length === 2);
  await fill(a, 1);
  const { lastPosition } = (await fill(b, 1)).body;
  await first.until("they have come", () => Number(first.lastEventId()) >= Number(lastPosition));
  first.close();
  await fill(b, 2);
  await fill(a, 1);
  const second = await open(id, { "last-event-id": first.lastEventId() }, other.url);
  await second.until("the rest has come", () => second.events().length >= 3);
  expect([seen(first, a), seen(first, b), seen(second, a), seen(second, b)]).toEqual([[1], [1], [2], [2, 3]]);
  second.close();
});

test("history that was cut off goes on after a reconnect, and what had caught up is not repeated", async () => {
  const [a, b] = [newName(), newName()];
  await fill(a, 1);
  const id = crypto.randomUUID();
  await add(id, `streams/${a}`);
  const first = await open(id);
  await first.until("it flows", () => dataOf(first, "sluice.caught-up").length === 1);
  await fill(b, 300);
  await fill(a, 1);
  await add(id, `streams/${b}?from=beginning`);
  await first.until("some history has come", () => seen(first, b).length > 0 && seen(first, a).length === 1);
  first.close();
  const second = await open(id, { "last-event-id": first.lastEventId() });
  await second.until("all has come", () => seen(second, b).at(-1) === 299);
  expect(new Set([...seen(first, b), ...seen(second, b)]).size).toBe(300);
  expect([...seen(first, a), ...seen(second, a)]).toEqual([1]);
  second.close();
});

test("a stream that is added while the id runs ahead of it begins at its own place", async () => {
  const [a, b] = [newName(), newName()];
  await Promise.all([fill(a, 1), fill(b, 1)]);
  const id = crypto.randomUUID();
  await add(id, `streams/${a}`);
  await add(id, `streams/${b}`);
  await fill(b, 2);
  // The connection had told its reader of later events of the other stream before it knew of this one.
  const { lastPosition } = (await fill(a, 1)).body;
  const live = await open(id, { "last-event-id": String(lastPosition) });
  await live.until("what was appended since has come", () => seen(live, b).length === 2);
  expect(seen(live, b)).toEqual([1, 2]);
  live.close();
});

test("a stream that was added at its end repeats nothing after a reconnect, as soon as that is stored", async () => {
  const stream = newName();
  await fill(stream, 1);
  const id = crypto.randomUUID();
  const first = await open(id);
  await add(id, `streams/${stream}`);
  // It is at once, and not only when a minute has passed.
  await until("it goes by the id", async () => {
    const [row] = await sql`select catch_up_position from live_streams where connection_id = ${id}`;
    return row?.catch_up_position === null;
  });
  const { lastPosition } = (await fill(stream, 1)).body;
  await first.until("it has come", () => Number(first.lastEventId()) >= Number(lastPosition));
  first.close();
  const second = await open(id, { "last-event-id": first.lastEventId() }, other.url);
  await fill(stream, 1);
  await second.until("the next has come", () => seen(second, stream).includes(2));
  expect([seen(first, stream), seen(second, stream)]).toEqual([[1], [2]]);
  second.close();
});

test("subscriptions flow on it with their tokens, and what is held goes to others when it closes", async () => {
  const stream = newName();
  await fill(stream, 2);
  await put(`${service.url}/api/subscriptions/${stream}`, { stream, mode: "exclusive", from: "beginning" });
  const source = subscription(service.url, stream);
  const id = crypto.randomUUID();
  const live = await open(id);
  expect((await add(id, `subscriptions/${stream}`, other.url)).status).toBe(201);
  await live.until("they have come", () => live.events().length === 2);
  const [one, two] = live.events();
  expect(one).toMatchObject({ deliverysubscription: stream, deliveryattempt: 1, offset: "0" });
  expect(await ack(source, [String(one?.deliverytoken)])).toEqual(["settled"]);
  live.close();
  expect(offsets(await claim(source, { consumer: "x", max: 5, wait: "20s" }))).toEqual([1]);
  expect(await ack(source, [String(two?.deliverytoken)])).toEqual(["stale"]);
});

const catchUp = async (id: string, name: string, base = other.url) =>
  expect((await send(`${base}/api/live/${id}/subscriptions/${name}/catch-up`, { method: "POST" })).status).toBe(202);

test("what was missed is handed out anew when that is asked for, and however often, no attempt is counted", async () => {
  const stream = newName();
  await fill(stream, 2);
  await put(`${service.url}/api/subscriptions/${stream}`, {
    stream,
    mode: "exclusive",
    from: "beginning",
    maxAttempts: 2,
  });
  const source = subscription(service.url, stream);
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}?consumer=me`);
  const live = await open(id);
  await live.until("they have come", () => live.events().length === 2);
  const first = live.events().map((event) => String(event.deliverytoken));
  for (let times = 1; times <= 5; times++) {
    await catchUp(id, stream);
    await live.until("they have come again", () => live.events().length === 2 + 2 * times);
  }
  expect(live.events().map((event) => event.deliveryattempt)).toEqual(Array(12).fill(1));
  expect(await ack(source, first)).toEqual(["stale", "stale"]);
  const last = live.events().slice(-2);
  expect(
    await ack(
      source,
      last.map((event) => String(event.deliverytoken)),
    ),
  ).toEqual(["settled", "settled"]);
  expect((await send<{ deadLetters: string }>(source.url)).body.deadLetters).toBe("0");
  live.close();
});

test("what is missed of a group comes again in the order of its keys, and what others hold stays theirs", async () => {
  const stream = newName();
  await append(
    service.url,
    stream,
    Array.from({ length: 40 }, (_, n) => ({ type: "A", partitionkey: `k${n % 4}`, data: { n } })),
  );
  await put(`${service.url}/api/subscriptions/${stream}`, { stream, mode: "consumer-group", from: "beginning" });
  const source = subscription(service.url, stream);
  const held = await claim(source, { consumer: "another", max: 5, wait: "20s" });
  expect(held.length).toBe(5);
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}?consumer=me`);
  const live = await open(id);
  await send(`${source.url}/consumers/another`, { method: "DELETE" });
  await live.until("all have come", () => new Set(seen(live, stream)).size === 40);
  const before = live.events().length;
  await catchUp(id, stream);
  await live.until("all have come again", () => live.events().length === before + 40);
  const keys = Map.groupBy(live.events().slice(before), (event) => String(event.partitionkey));
  for (const events of keys.values()) {
    const offsets = events.map((event) => Number(event.offset));
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  }
  live.close();
});

test("an event that is marked as processed is not among what is handed out anew", async () => {
  const stream = newName();
  await fill(stream, 2);
  await put(`${service.url}/api/subscriptions/${stream}`, { stream, mode: "exclusive", from: "beginning" });
  const source = subscription(service.url, stream);
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}?consumer=me`);
  const live = await open(id);
  await live.until("they have come", () => live.events().length === 2);
  const one = live.events()[0];
  const mark = await put(`${source.url}/consumers/me/processed/${one?.id}`, { token: String(one?.deliverytoken) });
  expect(mark.status).toBe(201);
  await catchUp(id, stream);
  await live.until("the other has come again", () => live.events().length === 3);
  expect(seen(live, stream)).toEqual([0, 1, 1]);
  expect((await send<{ inFlight: string }>(source.url)).body.inFlight).toBe("1");
  live.close();
});

test("ack=auto settles what is sent; a nack of what is not settled brings it back on the same connection", async () => {
  const stream = newName();
  await fill(stream, 2);
  const [auto, manual] = [`${stream}-auto`, `${stream}-manual`];
  for (const name of [auto, manual])
    await put(`${service.url}/api/subscriptions/${name}`, {
      ...{ stream, mode: "exclusive", from: "beginning", backoff: { initial: "0s", max: "0s" } },
    });
  const id = crypto.randomUUID();
  const live = await open(id);
  await add(id, `subscriptions/${auto}?ack=auto`);
  await add(id, `subscriptions/${manual}`, other.url);
  await live.until("both have come", () => live.events().length === 4);
  const of = (name: string) => live.events().filter((event) => event.deliverysubscription === name);
  for (const event of of(auto)) expect(event).not.toHaveProperty("deliverytoken");
  expect(await claim(subscription(service.url, auto), { consumer: "x" })).toEqual([]);
  const source = subscription(other.url, manual);
  const [first, second] = of(manual).map((event) => String(event.deliverytoken)) as [string, string];
  expect(await nack(source, [first], { reason: "not now" })).toEqual(["settled"]);
  await live.until("it has come again", () => of(manual).length === 3);
  expect(of(manual)[2]).toMatchObject({ offset: "0", deliveryattempt: 2 });
  expect(await ack(source, [second, String(of(manual)[2]?.deliverytoken), first])).toEqual([
    "settled",
    "settled",
    "stale",
  ]);
  live.close();
});

test("a connection belongs to who made it", async () => {
  const stream = newName();
  await fill(stream, 1);
  await put(`${service.url}/api/subscriptions/${stream}`, { stream, mode: "exclusive", from: "beginning" });
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}`);
  await sql`update live_connections set owner = 'somebody else' where id = ${id}`;
  const { url } = service;
  const answers = await Promise.all([
    send(`${url}/api/live/${id}`, { headers: { accept: "application/json" } }),
    send(`${url}/api/live/${id}`, { headers: { accept: "text/event-stream" } }),
    add(id, `streams/${stream}`),
    add(id, `subscriptions/${stream}`),
    remove(id, `streams/${stream}`),
    remove(id, `subscriptions/${stream}`),
    send(`${url}/api/live/${id}/subscriptions/${stream}/catch-up`, { method: "POST" }),
    send(`${url}/api/live/${id}`, { method: "DELETE" }),
  ]);
  for (const answer of answers) expectProblem(answer, 403, "forbidden");
  expect(offsets(await claim(subscription(url, stream), { consumer: "x", max: 5 }))).toEqual([0]);
});

test("what flows is forgotten when its reader has been away for LIVE_WINDOW, and not while it is there", async () => {
  const stream = newName();
  const [stays, left, recent] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
  const own = await startService({ LIVE_WINDOW: "1m", DATABASE_URL: service.databaseUrl });
  const reader = await open(stays, {}, own.url);
  await reader.until("it is ready", () => reader.frames.length > 0);
  for (const id of [stays, left, recent]) await add(id, `streams/${stream}`, own.url);
  const seen = (id: string, seconds: number) => sql`
    update live_connections set seen_at = clock_timestamp() - ${seconds} * interval '1 second' where id = ${id}`;
  await Promise.all([seen(stays, 30), seen(recent, 30), seen(left, 61)]);
  const describe = (id: string) => send(`${own.url}/api/live/${id}`, { headers: { accept: "application/json" } });
  await until("it is forgotten", async () => (await describe(left)).status === 404);
  expectProblem(await describe(left), 404, "live-connection-not-found");
  expect(await sql`select from live_streams where connection_id = ${left}`).toHaveLength(0);
  expect((await describe(recent)).status).toBe(200);
  const [{ since } = {}] = await sql`
    select extract(epoch from clock_timestamp() - seen_at)::float as since from live_connections where id = ${stays}`;
  expect(since).toBeLessThan(30);
  // Who comes back later than that begins anew: nothing flows until it is added.
  const back = await open(left, {}, own.url);
  await back.until("it is ready", () => back.frames.length > 0);
  expect((await describe(left)).body).toMatchObject({ streams: [], subscriptions: [] });
  reader.close();
  back.close();
  await own.stop();
});

test("a second connection of the same id replaces the first, on whichever process it is", async () => {
  const id = crypto.randomUUID();
  const first = await open(id);
  await first.until("it is ready", () => first.frames.length > 0);
  const second = await open(id, {}, other.url);
  await second.until("it is ready", () => second.frames.length > 0);
  await first.until("it is ended", () => first.ended());
  expect(dataOf(first, "sluice.end")).toEqual([{ reason: "replaced" }]);
  expect((await open(id, { "last-event-id": first.lastEventId() })).status).toBe(204);
  second.close();
});

test("what a connection held that was replaced is handed out at once", async () => {
  const stream = newName();
  await fill(stream, 2);
  await put(`${service.url}/api/subscriptions/${stream}`, { stream, mode: "exclusive", from: "beginning" });
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}`);
  const first = await open(id);
  await first.until("they have come", () => first.events().length === 2);
  const second = await open(id, {}, other.url);
  await second.until("they have come again", () => second.events().length === 2);
  expect(second.events().map((event) => event.deliveryattempt)).toEqual([2, 2]);
  second.close();
});

test("a problem of one part is a frame, and the others go on", async () => {
  const [stream, gone] = [newName(), newName()];
  await fill(stream, 1);
  await put(`${service.url}/api/subscriptions/${gone}`, { stream, mode: "exclusive" });
  const id = crypto.randomUUID();
  await add(id, `streams/${stream}?from=beginning`);
  await add(id, `subscriptions/${gone}`);
  const live = await open(id);
  await live.until("it flows", () => seen(live, stream).length === 1);
  await send(`${service.url}/api/subscriptions/${gone}`, { method: "DELETE" });
  await live.until("the problem is told", () => dataOf(live, "sluice.problem").length === 1);
  expect(dataOf(live, "sluice.problem")[0]).toMatchObject({
    type: "/problems/subscription-not-found",
    subscription: gone,
  });
  await fill(stream, 1);
  await live.until("the stream goes on", () => seen(live, stream).length === 2);
  live.close();
});

test("a subscription that has no room for its consumer says so once, and flows as soon as it has", async () => {
  const stream = newName();
  await fill(stream, 1);
  await put(`${service.url}/api/subscriptions/${stream}`, {
    stream,
    mode: "exclusive",
    from: "beginning",
    maxConsumers: 1,
  });
  const source = subscription(service.url, stream);
  expect((await put(`${source.url}/consumers/first`)).status).toBe(201);
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}?consumer=second`);
  const live = await open(id);
  await live.until("the problem is told", () => dataOf(live, "sluice.problem").length > 0);
  expect(dataOf(live, "sluice.problem")[0]).toMatchObject({
    type: "/problems/too-many-consumers",
    subscription: stream,
  });
  // A change of something else does not hurry it.
  await add(id, `streams/${newName()}`);
  await live.until("it has asked a few times", () => live.frames.filter((frame) => frame.data === null).length > 8);
  expect((await send(`${source.url}/consumers/first`, { method: "DELETE" })).status).toBe(204);
  await live.until("the event has come", () => live.events().length === 1);
  expect(dataOf(live, "sluice.problem").length).toBe(1);
  live.close();
});

test("a subscription that is completed says so once on a connection, and again only when it had been opened again", async () => {
  const stream = newName();
  await fill(stream, 1, "Closed");
  const configuration = { stream, mode: "exclusive", from: "beginning", terminal: ["Closed"] };
  await put(`${service.url}/api/subscriptions/${stream}`, configuration);
  const source = subscription(service.url, stream);
  const id = crypto.randomUUID();
  await add(id, `subscriptions/${stream}?consumer=me&ack=auto`);
  const live = await open(id);
  const ends = () => dataOf(live, "sluice.end").length;
  await live.until("it is completed", () => ends() === 1);
  expect(dataOf(live, "sluice.end")).toEqual([{ subscription: stream, reason: "completed" }]);
  const flowed = async () => {
    const another = newName();
    await fill(another, 1);
    await add(id, `streams/${another}?from=beginning`);
    await live.until("the stream flows", () => seen(live, another).length === 1);
  };
  for (let changes = 0; changes < 3; changes++) await flowed();
  expect(ends()).toBe(1);
  // What is open again may end again.
  expect((await post(`${source.url}/reset-offset`, { to: "beginning" })).status).toBe(200);
  await until("it has ended again", async () => {
    await flowed();
    return ends() === 2;
  });
  expect(seen(live, stream)).toEqual([0, 0]);
  live.close();
});

test("what flows is described, and removed for good", async () => {
  const stream = newName();
  const id = crypto.randomUUID();
  await add(id, `streams/${stream}?types=B,A`);
  const described = await send<Record<string, unknown>>(`${service.url}/api/live/${id}`, {
    headers: { accept: "application/json" },
  });
  expect(described.body).toEqual({
    live: id,
    streams: [{ stream, types: ["A", "B"], key: null, where: null, schema: "stored" }],
    subscriptions: [],
  });
  const live = await open(id);
  await live.until("it is ready", () => live.frames.length > 0);
  expect((await send(`${other.url}/api/live/${id}`, { method: "DELETE" })).status).toBe(204);
  await live.until("it is ended", () => live.ended());
  expectProblem(
    await send(`${service.url}/api/live/${id}`, { headers: { accept: "application/json" } }),
    404,
    "live-connection-not-found",
  );
});

test("bad requests say why", async () => {
  const id = crypto.randomUUID();
  expectProblem(await send(`${service.url}/api/live/mine`), 400, "invalid-parameter");
  expectProblem(await add(id, "streams/a%20b"), 400, "invalid-stream-name");
  expectProblem(await add(id, "streams/a?from=soon"), 400, "invalid-place");
  expectProblem(await add(id, "streams/a?where=$."), 400, "invalid-filter");
  expectProblem(await add(id, "subscriptions/nowhere"), 404, "subscription-not-found");
  expectProblem(await remove(id, "streams/a"), 404, "live-connection-not-found");
  expect((await openEventStream(`${service.url}/api/live/${id}`, { "last-event-id": "999999999" })).status).toBe(200);
});
