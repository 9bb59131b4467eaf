// Consuming by event stream: credit, acknowledgements, what happens when a connection closes.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { ack, claim, offsets, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService({ HEARTBEAT: "100ms" });
  url = `${service.url}/api/subscriptions`;
});
afterAll(() => service.stop());

let names = 0;
const fill = (stream: string, count: number, type = "Job") =>
  append(
    service.url,
    stream,
    Array.from({ length: count }, (_, n) => ({ type, data: { n } })),
  );
async function newSubscription(configuration: Record<string, unknown> = {}, count = 0) {
  const name = `consumed-${++names}`;
  const stream = `${name}-stream`;
  if (count > 0) await fill(stream, count);
  await put(`${url}/${name}`, { stream, mode: "exclusive", from: "beginning", ...configuration });
  return { name, stream, source: subscription(service.url, name) };
}
const consume = (name: string, consumer: string, more = "") =>
  openEventStream(`${url}/${name}/events?consumer=${consumer}${more}`);
const offsetsOf = (stream: EventStream) => stream.events().map((event) => Number(event.offset));
const tokensOf = (stream: EventStream) => stream.events().map((event) => String(event.deliverytoken));
const received = (stream: EventStream, count: number) =>
  stream.until(`${count} events`, () => stream.events().length >= count);

test("each event comes with its token, its attempt and its deadline, and is settled by POST", async () => {
  const { name, stream, source } = await newSubscription({}, 2);
  const consumer = await consume(name, "a");
  await received(consumer, 2);
  expect(consumer.status).toBe(200);
  expect(consumer.headers.get("content-type")).toBe("text/event-stream");
  expect(consumer.frames[0]).toEqual({
    id: null,
    event: "sluice.ready",
    data: expect.stringContaining(`{"subscription":"${name}","consumer":"a","from":"-1","head":"`),
  });
  const [first] = consumer.events();
  expect(first).toMatchObject({ offset: "0", deliveryattempt: 1, data: { n: 0 } });
  expect(Date.parse(String(first?.deliverydeadline))).toBeGreaterThan(Date.now());
  expect(await ack(source, tokensOf(consumer))).toEqual(["settled", "settled"]);
  await fill(stream, 1);
  await received(consumer, 3);
  expect(offsetsOf(consumer)).toEqual([0, 1, 2]);
  consumer.close();
});

test("a consumer is sent as many as it may hold, and more as it settles", async () => {
  const { name, source } = await newSubscription({ maxInFlight: 3 }, 5);
  const consumer = await consume(name, "a");
  await received(consumer, 3);
  // What another consumer gets now, the first one was not sent.
  expect(offsets(await claim(source, { consumer: "b", max: 1 }))).toEqual([3]);
  expect(offsetsOf(consumer)).toEqual([0, 1, 2]);
  await ack(source, tokensOf(consumer).slice(0, 1));
  await received(consumer, 4);
  expect(offsetsOf(consumer)).toEqual([0, 1, 2, 4]);
  consumer.close();
});

test("two connections of one consumer share its credit", async () => {
  const { name, source } = await newSubscription({ maxInFlight: 3 }, 5);
  const first = await consume(name, "a");
  await received(first, 3);
  const second = await consume(name, "a");
  await second.until("it is ready", () => second.frames.length > 0);
  await ack(source, tokensOf(first).slice(0, 1));
  await first.until("one more has come on one of them", () => first.events().length + second.events().length === 4);
  first.close();
  second.close();
});

test("what a connection held is handed out at once when it closes, and its tokens are stale", async () => {
  const { name, source } = await newSubscription({}, 3);
  const consumer = await consume(name, "a");
  await received(consumer, 3);
  await ack(source, tokensOf(consumer).slice(0, 1));
  consumer.close();
  const again = await claim(source, { consumer: "b", max: 10, wait: "20s" });
  expect(offsets(again)).toEqual([1, 2]);
  expect(again.map((d) => d.attempt)).toEqual([2, 2]);
  expect(await ack(source, tokensOf(consumer))).toEqual(["already-settled", "stale", "stale"]);
  expect(await ack(source, tokens(again))).toEqual(["settled", "settled"]);
});

test("what an event stream held that failed is handed out at once", async () => {
  const { name, stream, source } = await newSubscription({}, 2);
  const consumer = await consume(name, "a");
  await received(consumer, 2);
  const sql = openSql(service.databaseUrl, 1);
  await sql`alter function delivery_claim rename to delivery_claim_away`;
  await fill(stream, 1);
  await consumer.until("it has ended", () => consumer.ended());
  await sql`alter function delivery_claim_away rename to delivery_claim`;
  await sql.end();
  expect(consumer.frames.slice(-2).map((frame) => frame.event)).toEqual(["sluice.problem", "sluice.end"]);
  const got: number[] = [];
  while (got.length < 3) got.push(...offsets(await claim(source, { consumer: "b", max: 10, wait: "20s" })));
  expect(got.sort()).toEqual([0, 1, 2]);
});

test("ack=auto settles what is sent, without tokens", async () => {
  const { name, source } = await newSubscription({}, 2);
  const consumer = await consume(name, "a", "&ack=auto");
  await received(consumer, 2);
  expect(consumer.events()[0]).not.toHaveProperty("deliverytoken");
  consumer.close();
  expect(await claim(source, { consumer: "b", wait: "100ms" })).toEqual([]);
});

test("each consumer of a broadcast is sent everything, and goes on where it was when it comes back", async () => {
  const { name, stream } = await newSubscription({ mode: "broadcast" }, 2);
  const a = await consume(name, "a", "&ack=auto");
  const b = await consume(name, "b", "&ack=auto");
  await Promise.all([received(a, 2), received(b, 2)]);
  b.close();
  await fill(stream, 2);
  await received(a, 4);
  const back = await consume(name, "b", "&ack=auto");
  await received(back, 2);
  expect([offsetsOf(a), offsetsOf(back)]).toEqual([
    [0, 1, 2, 3],
    [2, 3],
  ]);
  a.close();
  back.close();
});

test("frames are named when that is asked for", async () => {
  const { name } = await newSubscription({}, 1);
  const consumer = await consume(name, "a", "&named=true");
  await received(consumer, 1);
  expect(consumer.frames[1]?.event).toBe("Job");
  consumer.close();
});

test("a consumer that stays is a member, however long it is sent nothing", async () => {
  const { name, stream } = await newSubscription({ consumerTimeout: "1s", maxConsumers: 1 });
  const consumer = await consume(name, "a");
  await consumer.until("it is ready", () => consumer.frames.length > 0);
  const began = Date.now();
  await consumer.until("its timeout has passed", () => Date.now() > began + 1_500);
  // Whoever is told to come back later is told so in a way that a browser understands.
  const refused = await consume(name, "b");
  await refused.until("it is refused", () => refused.ended());
  expect(refused.status).toBe(200);
  expect(refused.frames.map((frame) => frame.event)).toEqual(["sluice.problem"]);
  expect(JSON.parse(refused.frames[0]?.data as string).type).toBe("/problems/too-many-consumers");
  await fill(stream, 1);
  await received(consumer, 1);
  consumer.close();
});

test("a subscription that is deleted ends its event streams for good", async () => {
  const { name } = await newSubscription();
  const consumer = await consume(name, "a");
  await consumer.until("it has caught up", () => consumer.frames.length > 1);
  await send(`${url}/${name}`, { method: "DELETE" });
  await consumer.until("it has ended", () => consumer.ended());
  expect(consumer.frames.map((frame) => frame.event)).toEqual([
    "sluice.ready",
    "sluice.caught-up",
    "sluice.problem",
    "sluice.end",
  ]);
  expect(consumer.lastEventId()).toBe("end:deleted");
  const back = await openEventStream(`${url}/${name}/events?consumer=a`, { "last-event-id": consumer.lastEventId() });
  expect(back.status).toBe(204);
});

test("an event stream that fails for a passing reason says so, and its reader comes back", async () => {
  const { name, stream } = await newSubscription({ maxConsumers: 1, consumerTimeout: "1s" });
  const consumer = await consume(name, "a");
  await consumer.until("it has caught up", () => consumer.frames.length > 1);
  const sql = openSql(service.databaseUrl);
  await sql`update consumers set name = 'b', seen_at = clock_timestamp() + interval '1 hour' where name = 'a'
            and subscription_id = (select id from subscriptions where name = ${name})`;
  await until("it has ended", async () => {
    await fill(stream, 1);
    return consumer.ended();
  });
  expect(consumer.frames.slice(-2).map((frame) => frame.event)).toEqual(["sluice.problem", "sluice.end"]);
  expect(consumer.frames.at(-2)?.data).toContain('"type":"/problems/too-many-consumers"');
  expect(consumer.frames.at(-1)?.data).toBe('{"reason":"failed"}');
  expect(consumer.lastEventId()).not.toStartWith("end:");
  await sql.end();
});

test("a request that cannot be served says why", async () => {
  const { name } = await newSubscription();
  expectProblem(await send(`${url}/${name}/events`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/${name}/events?consumer=a%20b`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/${name}/events?consumer=a&ack=later`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/nowhere/events?consumer=a`), 404, "subscription-not-found");
  expectProblem(
    await send(`${url}/${name}/events?consumer=a`, { headers: { accept: "application/json" } }),
    406,
    "not-acceptable",
  );
});

test("the place of a consumer whose connection closes is free at once", async () => {
  const { name, stream } = await newSubscription({ maxConsumers: 1 }, 1);
  const first = await consume(name, "a");
  await received(first, 1);
  first.close();
  await until("it is free", async () => {
    const next = await consume(name, "b");
    await next.until("it is answered", () => next.frames.length > 0);
    const isReady = next.frames[0]?.event === "sluice.ready";
    if (isReady) {
      await fill(stream, 1);
      await received(next, 2);
    }
    next.close();
    return isReady;
  });
});

test("a consumer with credit is served behind any number of waiting ones that have none", async () => {
  const { name, stream, source } = await newSubscription({ maxInFlight: 1 }, 70);
  const busy = Array.from({ length: 70 }, (_, n) => `busy-${n}`);
  const held = await Promise.all(busy.map((consumer) => claim(source, { consumer, max: 1, wait: "20s" })));
  expect(held.flat().length).toBe(70);
  const abort = new AbortController();
  const waiting = busy.map((consumer) =>
    fetch(`${url}/${name}/claims`, {
      method: "POST",
      body: JSON.stringify({ consumer, wait: "30s" }),
      signal: abort.signal,
    }).catch(() => null),
  );
  await until("they wait", async () =>
    /sluice_claims_waiting 70\b/.test(await (await fetch(`${service.url}/metrics`)).text()),
  );
  await fill(stream, 1);
  expect(offsets(await claim(source, { consumer: "free", max: 1, wait: "20s" }))).toEqual([70]);
  abort.abort();
  await Promise.all(waiting);
});

test("while a subscription is paused, who waits costs the database next to nothing", async () => {
  const { name, source } = await newSubscription({}, 1);
  await send(`${url}/${name}/pause`, { method: "POST" });
  const statements = async () =>
    Number(/sluice_claim_statements_total (\d+)/.exec(await (await fetch(`${service.url}/metrics`)).text())?.[1]);
  const before = await statements();
  expect(await claim(source, { consumer: "a", wait: "1s" })).toEqual([]);
  expect((await statements()) - before).toBeLessThan(10);
});

test("a claim that waits goes by what the subscription promises when it is answered", async () => {
  const { name, stream, source } = await newSubscription({ delivery: "at-most-once" });
  const waiting = claim(source, { consumer: "a", wait: "30s" });
  await until("it waits", async () =>
    /sluice_claims_waiting [1-9]/.test(await (await fetch(`${service.url}/metrics`)).text()),
  );
  await put(`${url}/${name}`, { stream, mode: "exclusive", delivery: "at-least-once" });
  await fill(stream, 1);
  const [delivery] = await waiting;
  expect(await ack(source, [delivery?.token as string])).toEqual(["settled"]);
});
