// Two processes on one database: consumers of both share a subscription, and one of the processes is killed.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append } from "../support/client.ts";
import { ack, claim, offsets, put, type Source, subscription, tokens } from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";

let one: ServiceProcess;
let two: ServiceProcess;
beforeAll(async () => {
  const env = { DATABASE_URL: await createTestDatabase() };
  one = await spawnService(env);
  two = await spawnService(env);
});
afterAll(async () => {
  one.kill("SIGTERM");
  await one.exited;
});

const fill = (stream: string, count: number) =>
  append(
    one.url,
    stream,
    Array.from({ length: count }, (_, n) => ({ type: "Job", partitionkey: `k-${n % 10}`, data: {} })),
  );
const offsetsOf = (stream: EventStream) => stream.events().map((event) => Number(event.offset));
const tokensOf = (stream: EventStream) => stream.events().map((event) => String(event.deliverytoken));

async function newSubscription(name: string, configuration: Record<string, unknown>): Promise<[Source, Source]> {
  await put(`${one.url}/api/subscriptions/${name}`, { stream: name, from: "beginning", ...configuration });
  return [subscription(one.url, name), subscription(two.url, name)];
}

test("what is appended at one process goes to a claim that waits at the other, and is settled at the first", async () => {
  const [here, there] = await newSubscription("shared", { mode: "exclusive" });
  const waiting = claim(there, { consumer: "b", wait: "30s" });
  await fill("shared", 1);
  expect(await ack(here, tokens(await waiting))).toEqual(["settled"]);
});

test("credit that is freed at one process is used at the other at once", async () => {
  const [here] = await newSubscription("credited", { mode: "exclusive", maxInFlight: 1 });
  await fill("credited", 3);
  const consumer = await openEventStream(`${two.url}/api/subscriptions/credited/events?consumer=a`);
  for (let count = 1; count <= 3; count++) {
    await consumer.until(`event ${count}`, () => consumer.events().length === count);
    expect(await ack(here, tokensOf(consumer).slice(-1))).toEqual(["settled"]);
  }
  consumer.close();
});

test("credit that is freed at one process is used at the other, also while somebody waits at the first", async () => {
  const [here] = await newSubscription("credited-too", { mode: "exclusive", maxInFlight: 1 });
  const idle = await openEventStream(`${one.url}/api/subscriptions/credited-too/events?consumer=idle`);
  await idle.until("it waits", () => idle.frames.length > 0);
  const consumer = await openEventStream(`${two.url}/api/subscriptions/credited-too/events?consumer=a`);
  await consumer.until("it waits", () => consumer.frames.length > 0);
  await fill("credited-too", 4);
  await consumer.until("both have one", () => consumer.events().length + idle.events().length === 2);
  for (let count = 2; count <= 3; count++) {
    const began = performance.now();
    await ack(here, tokensOf(consumer).slice(-1));
    await consumer.until(`event ${count}`, () => consumer.events().length === count);
    // Not by the look that a waiting desk takes every five seconds.
    expect(performance.now() - began).toBeLessThan(4_000);
  }
  consumer.close();
  idle.close();
});

test("a member that has moved to another process stays one when its old connection is found closed", async () => {
  await newSubscription("moved", { mode: "consumer-group" });
  const old = await openEventStream(`${one.url}/api/subscriptions/moved/events?consumer=a`);
  await old.until("it is a member", () => old.frames.length > 0);
  const next = await openEventStream(`${two.url}/api/subscriptions/moved/events?consumer=a`);
  await next.until("it is a member", () => next.frames.length > 0);
  old.close();
  const other = await openEventStream(`${one.url}/api/subscriptions/moved/events?consumer=b`);
  await other.until("it is a member", () => other.frames.length > 0);
  await fill("moved", 20);
  await next.until("both have some", () => next.events().length + other.events().length === 20);
  expect(next.events().length).toBeGreaterThan(0);
  next.close();
  other.close();
});

test("when a process is killed, what its consumers held goes to those of the other, and nothing is lost", async () => {
  const [here] = await newSubscription("orphaned", { mode: "exclusive", visibilityTimeout: "1s" });
  const [group] = await newSubscription("group", {
    mode: "consumer-group",
    consumerTimeout: "2s",
    visibilityTimeout: "1s",
  });
  const open = (process: ServiceProcess, name: string, consumer: string) =>
    openEventStream(`${process.url}/api/subscriptions/${name}/events?consumer=${consumer}`);
  const killed = [await open(two, "orphaned", "b"), await open(two, "group", "b")] as const;
  await fill("orphaned", 20);
  await killed[0].until("it has something", () => killed[0].events().length > 0);
  const joined = await open(one, "group", "a");
  await joined.until("it is a member", () => joined.frames.length > 0);
  await fill("group", 20);
  await joined.until("both members have all", () => joined.events().length + killed[1].events().length === 20);
  await ack(group, tokensOf(joined));
  const before = joined.events().length;
  two.kill("SIGKILL");
  await two.exited;
  const lost = offsetsOf(killed[1]);
  await joined.until("the rest has come", () => joined.events().length >= before + lost.length);
  expect(
    offsetsOf(joined)
      .slice(before)
      .sort((x, y) => x - y),
  ).toEqual(lost.sort((x, y) => x - y));
  expect(await ack(group, tokensOf(joined).slice(before))).toEqual(lost.map(() => "settled"));
  joined.close();

  const orphans: number[] = [];
  while (orphans.length < 20) {
    const got = await claim(here, { consumer: "a", max: 100, wait: "20s" });
    orphans.push(...offsets(got));
    await ack(here, tokens(got));
  }
  expect(orphans.sort((x, y) => x - y)).toEqual(Array.from({ length: 20 }, (_, n) => n));
});
