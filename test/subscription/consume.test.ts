// Consuming in this process, as an async iterable.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { readTail } from "../../src/stream/page.ts";
import { readHead } from "../../src/stream/resolve.ts";
import { createTail, type Tail } from "../../src/stream/tail.ts";
import { consume, type Received } from "../../src/subscription/consume.ts";
import { type Subscriptions, startSubscriptions } from "../../src/subscription/subscriptions.ts";
import { append } from "../support/client.ts";
import { claim, offsets, put, subscription } from "../support/consume.ts";
import { testSchema } from "../support/postgres.ts";
import { type Service, startService } from "../support/service.ts";

const log = createLog("silent", "test");
let service: Service;
let database: Database;
let tail: Tail;
let subscriptions: Subscriptions;

// A process of its own beside the service, as a module would consume.
beforeAll(async () => {
  service = await startService();
  database = createDatabase({
    connection: service.databaseUrl,
    schema: testSchema,
    poolSize: 2,
    commandTimeoutMs: 10_000,
    appendsInFlight: 1,
    claimsInFlight: 2,
    log,
  });
  const { reads, claims } = database;
  tail = createTail({
    readHead: (atLeast) => reads.run((sql) => readHead(sql, atLeast)),
    readRange: (after, upTo, limit) => readTail(reads, after, upTo, limit),
    ringBytes: 1_000_000,
    pollMs: 20,
    log,
  });
  await tail.start();
  subscriptions = await startSubscriptions({
    reads,
    claims,
    tail,
    announce: () => {},
    processedMs: 86_400_000,
    groupWindow: 1_000_000,
    log,
  });
});
afterAll(async () => {
  await subscriptions.stop();
  await tail.stop();
  await database.stop();
  await service.stop();
});

let names = 0;
async function newSubscription(configuration: Record<string, unknown> = {}, count = 0) {
  const name = `iterated-${++names}`;
  const fill = (n: number) =>
    append(
      service.url,
      name,
      Array.from({ length: n }, () => ({ type: "Job", data: {} })),
    );
  if (count > 0) await fill(count);
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    mode: "exclusive",
    from: "beginning",
    ...configuration,
  });
  return { name, fill, source: subscription(service.url, name) };
}
const iterate = (name: string, abort = new AbortController()) =>
  consume(
    { ...subscriptions, settlements: subscriptions.ledger, log },
    { subscription: name, consumer: "a", autoAcknowledge: false, signal: abort.signal },
  );

test("events come as they are appended, and are settled one by one", async () => {
  const { name, fill, source } = await newSubscription({ maxInFlight: 2 }, 1);
  const got: number[] = [];
  for await (const received of iterate(name)) {
    got.push(received.event.offset);
    expect(await received.acknowledge()).toBe("settled");
    if (got.length < 4) await fill(1);
    else break;
  }
  expect(got).toEqual([0, 1, 2, 3]);
  expect(await claim(source, { consumer: "b" })).toEqual([]);
});

test("what is given back comes again", async () => {
  const { name } = await newSubscription({}, 1);
  const got: Received[] = [];
  for await (const received of iterate(name)) {
    got.push(received);
    if (got.length === 2) break;
    expect(await received.giveBack({ delayMs: 0, reason: "not yet" })).toBe("settled");
  }
  expect(got.map(({ attempt }) => attempt)).toEqual([1, 2]);
  expect(await got[1]?.acknowledge()).toBe("stale");
});

test("leaving the loop hands out anew what was not settled", async () => {
  const { name, source } = await newSubscription({}, 3);
  for await (const received of iterate(name)) {
    await received.acknowledge();
    break;
  }
  expect(offsets(await claim(source, { consumer: "b", max: 10, wait: "20s" }))).toEqual([1, 2]);
});

test("the signal ends the loop, also while it waits", async () => {
  const { name } = await newSubscription();
  const abort = new AbortController();
  const ended = (async () => {
    for await (const _ of iterate(name, abort)) throw new Error("there is nothing");
    return "ended";
  })();
  abort.abort();
  expect(await ended).toBe("ended");
});
