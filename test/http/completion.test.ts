// Terminal types: nothing behind the first terminal event is handed out, and the subscription is over when all is settled.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, send } from "../support/client.ts";
import {
  ack,
  claim,
  type Delivery,
  nack,
  offsets,
  post,
  put,
  type Source,
  subscription,
  tokens,
} from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
let other: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  other = await startService({ DATABASE_URL: service.databaseUrl });
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await other.stop();
  await service.stop();
});

let names = 0;
const fill = (stream: string, types: readonly string[]) =>
  append(
    service.url,
    stream,
    types.map((type, n) => ({ type, data: { n }, partitionkey: `k${n}` })),
  );
/** An order that is closed by its third event; two more come behind it. */
const order = ["Placed", "Paid", "Closed", "Noted", "Closed"];
async function newSubscription(configuration: Record<string, unknown> = {}, types: readonly string[] = order) {
  const name = `ends-${++names}`;
  if (types.length > 0) await fill(name, types);
  const whole = { stream: name, mode: "exclusive", from: "beginning", terminal: ["Closed"], ...configuration };
  await put(`${service.url}/api/subscriptions/${name}`, whole);
  return { name, stream: name, whole, source: subscription(service.url, name) };
}
type Description = { state: string; completedAt: string | null; position: string; inFlight: string };
const describe = async ({ url }: Source) => (await send<Description>(url)).body;
const stateOf = async (source: Source) => (await describe(source)).state;
type Claimed = { deliveries: Delivery[]; completed?: boolean };
const claimed = async ({ url }: Source, body: Record<string, unknown>) =>
  (await post<Claimed>(`${url}/claims`, body)).body;
const isOver = { deliveries: [], completed: true as const };

test("nothing behind the terminal event is handed out, and the last acknowledgement completes it", async () => {
  const { source, stream } = await newSubscription();
  const before = await claim(source, { consumer: "a", max: 100 });
  expect(offsets(before)).toEqual([0, 1, 2]);
  // Not all of it is settled.
  expect(await claimed(source, { consumer: "a", max: 100 })).toEqual({ deliveries: [] });
  await ack(source, tokens(before).slice(1));
  expect(await claimed(source, { consumer: "b", max: 100 })).toEqual({ deliveries: [] });
  expect(await describe(source)).toMatchObject({ state: "active", completedAt: null, inFlight: "1" });
  const waiting = claimed(source, { consumer: "b", wait: "30s" });
  await ack(source, tokens(before).slice(0, 1));
  expect(await describe(source)).toMatchObject({ state: "completed", completedAt: expect.any(String), inFlight: "0" });
  expect(await waiting).toEqual(isOver);
  await fill(stream, ["Placed"]);
  expect(await claimed(source, { consumer: "a", wait: "30s" })).toEqual(isOver);
  // It is not behind with what is not its own.
  expect(await describe(source)).toMatchObject({ lag: { events: "0", atLeast: false, seconds: 0 } });
});

test("it is completed by events that come while its consumers wait", async () => {
  const { source, stream } = await newSubscription({}, []);
  const waiting = claim(source, { consumer: "a", max: 100, wait: "30s" });
  await fill(stream, order);
  const found = await waiting;
  expect(offsets(found)).toEqual([0, 1, 2]);
  const end = claimed(source, { consumer: "a", wait: "30s" });
  await ack(source, tokens(found));
  expect(await end).toEqual(isOver);
});

test("event streams of it end for good", async () => {
  const { name, source } = await newSubscription();
  const events = `${service.url}/api/subscriptions/${name}/events?consumer=a`;
  const consumer = await openEventStream(events);
  await consumer.until("all has come", () => consumer.events().length === 3);
  await ack(
    source,
    consumer.events().map((event) => String(event.deliverytoken)),
  );
  await consumer.until("it has ended", () => consumer.ended());
  expect(consumer.frames.at(-1)).toEqual({ id: "end:completed", event: "sluice.end", data: '{"reason":"completed"}' });
  expect(consumer.events().map((event) => event.type)).toEqual(["Placed", "Paid", "Closed"]);
  const back = await openEventStream(events, { "last-event-id": consumer.lastEventId() });
  expect(back.status).toBe(204);
  const late = await openEventStream(`${events}-late`);
  await late.until("it has ended", () => late.ended());
  expect(late.lastEventId()).toBe("end:completed");
});

test("what is given away without a lease completes it at once", async () => {
  const weak = await newSubscription({ delivery: "at-most-once" });
  expect(offsets(await claim(weak.source, { consumer: "a", max: 100 }))).toEqual([0, 1, 2]);
  expect(await stateOf(weak.source)).toBe("completed");
  const { name, source } = await newSubscription();
  const consumer = await openEventStream(`${service.url}/api/subscriptions/${name}/events?consumer=a&ack=auto`);
  await consumer.until("it has ended", () => consumer.ended());
  expect(consumer.events()).toHaveLength(3);
  expect(await stateOf(source)).toBe("completed");
});

test("a terminal event that is dropped or dead completes it too", async () => {
  for (const action of ["drop", "dead-letter"]) {
    const { source } = await newSubscription();
    const found = await claim(source, { consumer: "a", max: 100 });
    await ack(source, tokens(found).slice(0, 2));
    await nack(source, tokens(found).slice(2), { action });
    expect([action, await stateOf(source)]).toEqual([action, "completed"]);
  }
});

test("a terminal event that is given up while nobody asks completes it", async () => {
  const { source } = await newSubscription({ maxAttempts: 1, consumerTimeout: "1s" });
  const found = await claim(source, { consumer: "a", max: 100 });
  await ack(source, tokens(found).slice(0, 2));
  await until("its consumer is forgotten", async () => (await stateOf(source)) === "completed");
});

test("in a consumer group all members settle what they have before it is completed", async () => {
  const { source } = await newSubscription({ mode: "consumer-group" }, [...Array(8).fill("Placed"), "Closed", "Noted"]);
  const members = ["a", "b", "c"];
  for (const consumer of members) await claim(source, { consumer, max: 1 }).then((found) => ack(source, tokens(found)));
  const handedOut = new Set<number>();
  await until("all of it is settled", async () => {
    for (const consumer of members) {
      const { deliveries } = await claimed(source, { consumer, max: 100 });
      for (const offset of offsets(deliveries)) handedOut.add(offset);
      if (deliveries.length > 0) await ack(source, tokens(deliveries));
    }
    return (await stateOf(source)) === "completed";
  });
  expect(handedOut.has(9)).toBe(false);
  for (const consumer of members) expect(await claimed(source, { consumer, wait: "30s" })).toEqual(isOver);
});

test("each consumer of a broadcast completes by itself, and the subscription with the last of them", async () => {
  const { source } = await newSubscription({ mode: "broadcast" });
  // Without consumers nobody has been handed anything.
  expect(await stateOf(source)).toBe("active");
  const a = await claim(source, { consumer: "a", max: 100 });
  const b = await claim(source, { consumer: "b", max: 1 });
  await ack(source, tokens(a));
  expect(await claimed(source, { consumer: "a", wait: "30s" })).toEqual(isOver);
  expect(await stateOf(source)).toBe("active");
  const rest = await claim(source, { consumer: "b", max: 100 });
  await ack(source, [...tokens(b), ...tokens(rest)]);
  expect(await stateOf(source)).toBe("completed");
  expect(await claimed(source, { consumer: "b", wait: "30s" })).toEqual(isOver);

  const late = await claim(source, { consumer: "late", max: 100 });
  expect(offsets(late)).toEqual([0, 1, 2]);
  expect(await stateOf(source)).toBe("active");
  expect(await claimed(source, { consumer: "a", wait: "30s" })).toEqual(isOver);
  await ack(source, tokens(late));
  expect(await claimed(source, { consumer: "late", wait: "30s" })).toEqual(isOver);
  expect(await stateOf(source)).toBe("completed");
});

test("when the consumer is removed that had not come to its end, the others have completed the subscription", async () => {
  const { source } = await newSubscription({ mode: "broadcast" });
  await ack(source, tokens(await claim(source, { consumer: "a", max: 100 })));
  await claim(source, { consumer: "b", max: 1 });
  expect(await stateOf(source)).toBe("active");
  await send(`${source.url}/consumers/b`, { method: "DELETE" });
  expect(await stateOf(source)).toBe("completed");
});

test("all consumers of a broadcast who complete in the same moment complete the subscription", async () => {
  const { source } = await newSubscription({ mode: "broadcast" }, ["Closed"]);
  const consumers = Array.from({ length: 12 }, (_, n) => `c${n}`);
  const found = await Promise.all(consumers.map((consumer) => claim(source, { consumer })));
  await Promise.all(
    found.map((deliveries, n) =>
      ack(n % 2 === 0 ? source : subscription(other.url, `ends-${names}`), tokens(deliveries)),
    ),
  );
  await until("it is completed", async () => (await stateOf(source)) === "completed");
});

test("terminal types are handed out whether types names them or not, where the predicate is satisfied", async () => {
  const { source } = await newSubscription({ types: ["Paid"] });
  expect(offsets(await claim(source, { max: 100 }))).toEqual([1, 2]);
  const narrowed = await newSubscription({ types: ["Paid"], where: "$.n != 2" });
  const found = await claim(narrowed.source, { max: 100 });
  expect(offsets(found)).toEqual([1, 4]);
  await ack(narrowed.source, tokens(found));
  expect(await stateOf(narrowed.source)).toBe("completed");
});

test("one by correlation is completed in the order of the log, whichever stream the terminal event is in", async () => {
  const correlation = `wf-${++names}`;
  const source = subscription(service.url, `of-${correlation}`);
  const emit = (stream: string, type: string) => append(service.url, stream, { type, correlationid: correlation });
  await emit("left", "Placed");
  await put(source.url, { correlation, from: "beginning", terminal: ["Closed"], mode: "exclusive" });
  await emit("right", "Closed");
  await emit("left", "Noted");
  const found = await claim(source, { max: 100 });
  expect(found.map(({ event }) => `${event.stream as string} ${event.type as string}`)).toEqual([
    "left Placed",
    "right Closed",
  ]);
  await ack(source, tokens(found));
  expect(await claimed(source, { wait: "30s" })).toEqual(isOver);
});

test("every process knows the end, and hears when it is reached elsewhere", async () => {
  const { name, source } = await newSubscription();
  const there = subscription(other.url, name);
  const found = await claim(source, { consumer: "a", max: 100 });
  expect(await claimed(there, { consumer: "b", max: 100 })).toEqual({ deliveries: [] });
  const waiting = claimed(there, { consumer: "b", max: 100, wait: "30s" });
  await ack(there, tokens(found).slice(0, 2));
  await ack(source, tokens(found).slice(2));
  expect(await waiting).toEqual(isOver);
  const third = await startService({ DATABASE_URL: service.databaseUrl });
  expect(await claimed(subscription(third.url, name), { consumer: "c", wait: "30s" })).toEqual(isOver);
  await third.stop();
});

test("asked for other events, or to end with others, it is open again and goes on behind its end", async () => {
  const { source, whole } = await newSubscription();
  await ack(source, tokens(await claim(source, { max: 100 })));
  await put(source.url, { ...whole, maxAttempts: 7 });
  expect(await stateOf(source)).toBe("completed");
  await put(source.url, { ...whole, terminal: ["Closed", "Noted"] });
  expect(await stateOf(source)).toBe("active");
  const next = await claim(source, { max: 100 });
  expect(offsets(next)).toEqual([3]);
  await ack(source, tokens(next));
  expect(await stateOf(source)).toBe("completed");
  await put(source.url, { ...whole, terminal: undefined });
  expect(offsets(await claim(source, { max: 100 }))).toEqual([4]);
});

test("an end counts only while the cursor stands at it: one that is reset comes to it again, or is beyond it", async () => {
  const { name, source } = await newSubscription();
  const found = await claim(source, { max: 100 });
  await ack(source, tokens(found).slice(1));
  const reset = (position: number) => sql`
    insert into cursor_steps (cursor_id, step, position)
    select c.id, n.step, ${position} from subscription_cursors c join subscriptions s on s.id = c.subscription_id
      cross join lateral cursor_next(c.id, clock_timestamp()) n
    where s.name = ${name}`;
  // Of neither this process has been told.
  expect(await claimed(source, { max: 100 })).toEqual({ deliveries: [] });
  await reset(Number(found[1]?.event.position));
  const again = await claim(source, { max: 100 });
  expect(offsets(again)).toEqual([2]);
  expect(await stateOf(source)).toBe("active");
  await ack(source, [...tokens(found), ...tokens(again)]);
  expect(await claimed(source, { wait: "30s" })).toEqual(isOver);
  await reset(Number(found[2]?.event.position) + 1);
  const rest = await claim(source, { max: 100 });
  expect(offsets(rest)).toEqual([4]);
  await ack(source, tokens(rest));
  expect(await stateOf(source)).toBe("completed");
});

test("it is open again when a dead letter of it is replayed, and completed when that is settled", async () => {
  const { source } = await newSubscription();
  const found = await claim(source, { max: 100 });
  await nack(source, tokens(found).slice(1, 2), { action: "dead-letter" });
  await ack(source, [...tokens(found).slice(0, 1), ...tokens(found).slice(2)]);
  expect(await claimed(source, { wait: "30s" })).toEqual(isOver);
  await post(`${source.url}/dead-letters/replay`, { all: true });
  expect(await describe(source)).toMatchObject({ state: "active", completedAt: null });
  const again = await claim(source, { max: 100 });
  expect(offsets(again)).toEqual([1]);
  await ack(source, tokens(again));
  expect(await stateOf(source)).toBe("completed");
});

test("it is open again when a cursor of it is reset", async () => {
  for (const mode of ["exclusive", "broadcast"]) {
    const { source } = await newSubscription({ mode });
    await ack(source, tokens(await claim(source, { consumer: "a", max: 100 })));
    expect([mode, await stateOf(source)]).toEqual([mode, "completed"]);
    await post(`${source.url}${mode === "exclusive" ? "" : "/consumers/a"}/reset-offset`, { to: "1" });
    expect([mode, await stateOf(source)]).toEqual([mode, "active"]);
    const again = await claim(source, { consumer: "a", max: 100 });
    expect([mode, offsets(again)]).toEqual([mode, [1, 2]]);
    await ack(source, tokens(again));
    expect(await claimed(source, { consumer: "a", wait: "30s" })).toEqual(isOver);
  }
});

test("with read receipts it is completed when everything has been read", async () => {
  const { source } = await newSubscription({ mode: "read-receipt" });
  await ack(source, tokens(await claim(source, { consumer: "a", max: 100 })));
  expect(await claimed(source, { consumer: "a", max: 100 })).toEqual({ deliveries: [] });
  expect(await stateOf(source)).toBe("active");
  const unread = async (consumer: string) =>
    (await send<{ count: string; events: { offset: string }[] }>(`${source.url}/consumers/${consumer}/unread`)).body;
  await claim(source, { consumer: "b", max: 1 });
  for (const consumer of ["a", "b"]) {
    // What lies behind the end is nobody's.
    const { count, events } = await unread(consumer);
    expect([consumer, count, events.map((event) => Number(event.offset))]).toEqual([consumer, "3", [0, 1, 2]]);
    expect((await post<{ read: number }>(`${source.url}/consumers/${consumer}/read`, { all: true })).body.read).toBe(3);
    expect(await claimed(source, { consumer, wait: "30s" })).toEqual(isOver);
    expect((await unread(consumer)).count).toBe("0");
    expect(await stateOf(source)).toBe(consumer === "a" ? "active" : "completed");
  }
});
