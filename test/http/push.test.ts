// When event streams of subscriptions are written: first what was missed, then as it comes, in batches, or not before the next connection.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, send } from "../support/client.ts";
import { ack, claim, nack, offsets, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ HEARTBEAT: "100ms" });
});
afterAll(() => service.stop());

let names = 0;
async function newSubscription(configuration: Record<string, unknown> = {}, count = 0) {
  const name = `pushed-${++names}`;
  const fill = async (n: number, type = "Job") => {
    const events = Array.from({ length: n }, (_, i) => ({ type, data: {}, partitionkey: `k${i}` }));
    return (await append(service.url, name, events)).body;
  };
  if (count > 0) await fill(count);
  const whole = { stream: name, from: "beginning", ...configuration };
  await put(`${service.url}/api/subscriptions/${name}`, whole);
  const connect = (consumer = "a", more = "") =>
    openEventStream(`${service.url}/api/subscriptions/${name}/events?consumer=${consumer}${more}`);
  return { fill, connect, whole, source: subscription(service.url, name) };
}
const offsetsOf = (stream: EventStream) => stream.events().map((event) => Number(event.offset));
const tokensOf = (stream: EventStream) => stream.events().map((event) => String(event.deliverytoken));
const received = (stream: EventStream, count: number) =>
  stream.until(`${count} events`, () => stream.events().length >= count);
const caughtUp = (stream: EventStream) =>
  stream.until("it has caught up", () => stream.frames.some((frame) => frame.event === "sluice.caught-up"));
/** The service's own frames, and the offsets of the events between them. */
const story = (stream: EventStream) =>
  stream.frames.map((frame) => frame.event ?? Number((JSON.parse(frame.data as string) as { offset: string }).offset));
const dataOf = (stream: EventStream, event: string) =>
  JSON.parse(stream.frames.find((frame) => frame.event === event)?.data as string) as Record<string, string>;

test("an event stream says where it goes on, and when everything of before has been handed out", async () => {
  const { fill, connect, source } = await newSubscription({}, 3);
  const empty = await newSubscription();
  const first = await connect();
  await caughtUp(first);
  expect(story(first)).toEqual(["sluice.ready", 0, 1, 2, "sluice.caught-up"]);
  const lastPosition = String(first.events().at(-1)?.position);
  const { head } = dataOf(first, "sluice.ready");
  expect(dataOf(first, "sluice.ready")).toEqual({
    subscription: source.url.split("/").at(-1) as string,
    consumer: "a",
    from: "-1",
    head: String(head),
  });
  expect(Number(head)).toBeGreaterThanOrEqual(Number(lastPosition));
  expect(dataOf(first, "sluice.caught-up")).toEqual({ at: String(head) });
  await ack(source, tokensOf(first));
  await fill(1);
  await received(first, 4);
  await ack(source, tokensOf(first));
  first.close();
  const second = await connect();
  await caughtUp(second);
  expect(story(second)).toEqual(["sluice.ready", "sluice.caught-up"]);
  expect(Number(dataOf(second, "sluice.ready").from)).toBeGreaterThanOrEqual(Number(first.events().at(-1)?.position));
  second.close();
  const nothing = await empty.connect();
  await caughtUp(nothing);
  expect(story(nothing)).toEqual(["sluice.ready", "sluice.caught-up"]);
  nothing.close();
});

test("it is said once, and not before there was credit for everything", async () => {
  const { fill, connect, source } = await newSubscription({ maxInFlight: 2 }, 5);
  const consumer = await connect();
  for (const count of [2, 4, 5]) {
    await received(consumer, count);
    if (count === 5) break;
    expect(story(consumer)).not.toContain("sluice.caught-up");
    await ack(source, tokensOf(consumer).slice(count - 2));
  }
  await caughtUp(consumer);
  await ack(source, tokensOf(consumer));
  await fill(1);
  await received(consumer, 6);
  expect(story(consumer)).toEqual(["sluice.ready", 0, 1, 2, 3, 4, "sluice.caught-up", 5]);
  consumer.close();
});

test("what others take of a shared subscription is not waited for", async () => {
  const { connect, source } = await newSubscription({ mode: "exclusive", maxInFlight: 2 }, 5);
  const consumer = await connect();
  await received(consumer, 2);
  expect(offsets(await claim(source, { consumer: "b", max: 2 }))).toEqual([2, 3]);
  expect(offsets(await claim(source, { consumer: "c", max: 2 }))).toEqual([4]);
  await caughtUp(consumer);
  expect(story(consumer)).toEqual(["sluice.ready", 0, 1, "sluice.caught-up"]);
  consumer.close();
});

test("a member of a group is caught up when it has got everything of its keys", async () => {
  const { connect, source } = await newSubscription({ mode: "consumer-group", maxInFlight: 3, push: "on-reconnect" });
  const members = [await connect("a"), await connect("b")];
  await Promise.all(members.map(caughtUp));
  for (const member of members) member.close();
  const events = Array.from({ length: 20 }, (_, n) => ({ type: "Job", data: {}, partitionkey: `key-${n}` }));
  await append(service.url, source.url.split("/").at(-1) as string, events);
  const back = [await connect("a"), await connect("b")];
  const acked = new Set<string>();
  await until("all is handed out", async () => {
    for (const member of back) {
      const open = tokensOf(member).filter((token) => !acked.has(token));
      for (const token of open) acked.add(token);
      if (open.length > 0) await ack(source, open);
    }
    return back.every((member) => member.frames.some((frame) => frame.event === "sluice.caught-up"));
  });
  // What moved from one to the other may have come to both.
  expect([...new Set(back.flatMap(offsetsOf))].sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n));
  for (const member of back) member.close();
});

test("on-reconnect: what comes while the consumer is connected is handed out when it comes back", async () => {
  const { fill, connect, source } = await newSubscription({ push: "on-reconnect" }, 2);
  const first = await connect();
  await caughtUp(first);
  await ack(source, tokensOf(first));
  await fill(3);
  // Claims are not affected: another consumer has got all of it, and its heartbeats have passed.
  expect(offsets(await claim(source, { consumer: "b", max: 10 }))).toEqual([0, 1, 2, 3, 4]);
  const began = Date.now();
  await first.until("heartbeats", () => Date.now() > began + 300);
  expect(story(first)).toEqual(["sluice.ready", 0, 1, "sluice.caught-up"]);
  first.close();
  const second = await connect();
  await caughtUp(second);
  expect(story(second)).toEqual(["sluice.ready", 2, 3, 4, "sluice.caught-up"]);
  second.close();
});

test("on-reconnect: what comes back is handed out at once, whether it was given back or held by a connection that closed", async () => {
  const { fill, connect, source } = await newSubscription({ push: "on-reconnect" }, 3);
  const first = await connect();
  await caughtUp(first);
  await fill(1);
  await nack(source, tokensOf(first).slice(1, 2), { delay: "0s" });
  await received(first, 4);
  expect(story(first)).toEqual(["sluice.ready", 0, 1, 2, "sluice.caught-up", 1]);
  // The service may notice that the first one has closed after the second one has come.
  first.close();
  const second = await connect("a", "&ack=auto");
  await received(second, 4);
  expect(offsetsOf(second).sort()).toEqual([0, 1, 2, 3]);
  second.close();
});

test("on-reconnect: nothing that comes during a long catch-up is handed out by it", async () => {
  const { fill, connect, source } = await newSubscription({ push: "on-reconnect", maxInFlight: 1 }, 3);
  const consumer = await connect();
  await received(consumer, 1);
  await fill(2);
  for (const count of [1, 2, 3]) {
    await received(consumer, count);
    await ack(source, tokensOf(consumer).slice(count - 1));
  }
  await caughtUp(consumer);
  expect(story(consumer)).toEqual(["sluice.ready", 0, 1, 2, "sluice.caught-up"]);
  consumer.close();
});

test("on-reconnect: a connection that is sent nothing hears of the end, and of another push", async () => {
  const ends = await newSubscription({ push: "on-reconnect", terminal: ["Closed"] }, 1);
  await ends.fill(1, "Closed");
  const ending = await ends.connect();
  await caughtUp(ending);
  await ack(ends.source, tokensOf(ending));
  await ending.until("it has ended", () => ending.ended());
  expect(ending.lastEventId()).toBe("end:completed");

  const { fill, connect, source, whole } = await newSubscription({ push: "on-reconnect" });
  const consumer = await connect();
  await caughtUp(consumer);
  await fill(1);
  await put(source.url, { ...whole, push: "immediate" });
  await received(consumer, 1);
  const deleted = await connect("b");
  await caughtUp(deleted);
  await send(source.url, { method: "DELETE" });
  for (const stream of [consumer, deleted]) {
    await stream.until("it has ended", () => stream.ended());
    expect(stream.lastEventId()).toBe("end:deleted");
  }
});

test("batched: what comes within an interval is written together", async () => {
  const { fill, connect, source } = await newSubscription({ push: "batched", batchInterval: "400ms" }, 2);
  const consumer = await connect("a", "&ack=auto");
  await caughtUp(consumer);
  expect(story(consumer)).toEqual(["sluice.ready", 0, 1, "sluice.caught-up"]);
  let writes = 0;
  let isDone = false;
  const watching = (async () => {
    for (let before = 2; !isDone; ) {
      await until("something comes", () => isDone || consumer.events().length > before);
      if (consumer.events().length > before) writes++;
      before = consumer.events().length;
    }
  })();
  const began = Date.now();
  for (let n = 0; n < 60; n++) await fill(1);
  expect(offsets(await claim(source, { consumer: "b", max: 100 }))).toHaveLength(62);
  await received(consumer, 62);
  const intervals = Math.ceil((Date.now() - began) / 400);
  isDone = true;
  await watching;
  expect(offsetsOf(consumer)).toEqual(Array.from({ length: 62 }, (_, n) => n));
  expect(writes).toBeLessThanOrEqual(intervals * 2);
  expect(writes).toBeLessThan(30);
  consumer.close();
});

test("batched: events that are given back, and ones that had to wait for credit, come with a later batch", async () => {
  const { fill, connect, source } = await newSubscription({ push: "batched", batchInterval: "100ms", maxInFlight: 3 });
  const consumer = await connect();
  await caughtUp(consumer);
  await fill(5);
  await received(consumer, 3);
  expect(offsetsOf(consumer)).toEqual([0, 1, 2]);
  await nack(source, tokensOf(consumer).slice(0, 1), { delay: "0s" });
  await ack(source, tokensOf(consumer).slice(1));
  await received(consumer, 6);
  expect(offsetsOf(consumer)).toEqual([0, 1, 2, 0, 3, 4]);
  consumer.close();
});

test("batched: a batch is as large as what has come together, and the last one ends the stream", async () => {
  const { fill, connect } = await newSubscription({ push: "batched", batchInterval: "100ms", terminal: ["Closed"] });
  const consumer = await connect("a", "&ack=auto");
  await caughtUp(consumer);
  for (let n = 0; n < 3; n++) await fill(1_000);
  await fill(1, "Closed");
  await consumer.until("it has ended", () => consumer.ended());
  expect(consumer.events()).toHaveLength(3_001);
  expect(consumer.lastEventId()).toBe("end:completed");
});

test("claims that wait are answered at once, whatever the push", async () => {
  for (const push of ["batched", "on-reconnect"]) {
    const { fill, source } = await newSubscription({ push, ...(push === "batched" ? { batchInterval: "1h" } : {}) });
    const waiting = claim(source, { consumer: "a", wait: "30s" });
    await fill(1);
    const found = await waiting;
    expect([push, offsets(found)]).toEqual([push, [0]]);
    expect(await ack(source, tokens(found))).toEqual(["settled"]);
  }
});
