// Leaving: a member whose last connection has closed is none any more at once, whatever was under way in that moment.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog, type Log } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { readTail } from "../../src/stream/page.ts";
import { readHead } from "../../src/stream/resolve.ts";
import { createTail, type Tail } from "../../src/stream/tail.ts";
import { openFeed } from "../../src/subscription/feed.ts";
import { type Subscriptions, startSubscriptions } from "../../src/subscription/subscriptions.ts";
import { append } from "../support/client.ts";
import { claim, offsets, put, subscription } from "../support/consume.ts";
import { createHeldPool, type HeldPool } from "../support/held-pool.ts";
import { testSchema } from "../support/postgres.ts";
import { noRegistry, noUpcasting } from "../support/schemas.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

const silent = createLog("silent", "test");
const told: string[] = [];
const log = Object.assign(Object.create(silent), {
  info: (_: unknown, message: string) => void told.push(message),
}) as Log;
let service: Service;
let database: Database;
let tail: Tail;
let claims: HeldPool;
let subscriptions: Subscriptions;

// A process of its own beside the service.
beforeAll(async () => {
  service = await startService();
  database = createDatabase({
    connection: service.databaseUrl,
    schema: testSchema,
    poolSize: 2,
    commandTimeoutMs: 10_000,
    appendsInFlight: 1,
    claimsInFlight: 4,
    log,
  });
  const { reads } = database;
  tail = createTail({
    readHead: (atLeast) => reads.run((sql) => readHead(sql, atLeast)),
    readRange: (after, upTo, limit) => readTail(reads, after, upTo, limit),
    ringBytes: 1_000_000,
    pollMs: 20,
    log,
  });
  await tail.start();
  claims = createHeldPool(database.claims);
  subscriptions = await startSubscriptions({
    reads,
    claims,
    tail,
    registry: noRegistry,
    upcasting: noUpcasting,
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
async function newGroup(consumerTimeout = "1h") {
  const name = `left-${++names}`;
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    mode: "consumer-group",
    from: "beginning",
    consumerTimeout,
  });
  const found = await subscriptions.catalog.require(name);
  const members = async () => {
    const rows = await database.reads.run(
      (sql) => sql<{ name: string }[]>`select name from consumers where subscription_id = ${found.id} order by name`,
    );
    return rows.map((row) => row.name);
  };
  return { name, found, members, source: subscription(service.url, name) };
}

test("a member that was forgotten, and that a heartbeat has made one again, leaves when its connection closes", async () => {
  const { found, members } = await newGroup();
  const { membership } = subscriptions;
  await membership.enter(found, "a");
  // As when its process had stood still for longer than its timeout.
  await database.claims.run((sql) => sql`delete from consumers where subscription_id = ${found.id}`);
  membership.forget(found, "a");
  await membership.join(found, "a");
  expect(await members()).toEqual(["a"]);
  await membership.leave(found, "a");
  expect(await members()).toEqual([]);
});

test("a member is alive since the database has noted it, however late the answer came", async () => {
  const { found } = await newGroup("1s");
  const { membership } = subscriptions;
  const noted = async () => {
    const [row] = await database.reads.run(
      (sql) => sql<{ at: string; ms: number }[]>`
        select seen_at::text as at, (extract(epoch from clock_timestamp() - seen_at) * 1000)::int as ms
        from consumers where subscription_id = ${found.id}`,
    );
    return row ?? { at: "", ms: 0 };
  };
  const held = claims.hold("consumer_join", "answer");
  const joining = membership.join(found, "a");
  // Longer than a member is taken to be alive without being noted again.
  await until("it has been silent", async () => (await noted()).ms > 400);
  const { at } = await noted();
  held.release();
  await joining;
  await membership.join(found, "a");
  expect((await noted()).at).not.toBe(at);
});

test("the last connection to close ends the membership, in whatever order the answers to both had come", async () => {
  const { found, members } = await newGroup();
  const { membership } = subscriptions;
  const held = claims.hold("consumer_enter", "answer");
  const first = membership.enter(found, "a");
  await until("it is a member", async () => (await members()).length === 1 && held.waiting() === 1);
  held.pass();
  await membership.enter(found, "a");
  held.release();
  await first;
  await membership.leave(found, "a");
  expect(await members()).toEqual(["a"]);
  await membership.leave(found, "a");
  expect(await members()).toEqual([]);
});

test("a heartbeat that is under way when the last connection closes does not bring the member back", async () => {
  const { found, members } = await newGroup();
  const { membership } = subscriptions;
  await membership.enter(found, "a");
  membership.forget(found, "a");
  const held = claims.hold("consumer_join", "statement");
  const beat = membership.join(found, "a");
  await until("it is under way", () => held.waiting() === 1);
  const left = membership.leave(found, "a");
  // Whoever does not wait for the heartbeat has left long before this.
  await Promise.race([left, new Promise((resolve) => setTimeout(resolve, 200))]);
  held.release();
  await Promise.all([beat, left]);
  expect(await members()).toEqual([]);
});

test("a member leaves as soon as what its last claim brought too late is put back", async () => {
  const { name, found, members, source } = await newGroup();
  const [{ id: cursor }] = (await database.reads.run(
    (sql) => sql<{ id: string }[]>`select id from subscription_cursors where subscription_id = ${found.id}`,
  )) as unknown as [{ id: string }];
  const abort = new AbortController();
  const feed = await openFeed(
    { ...subscriptions, log },
    { subscription: name, consumer: "a", autoAcknowledge: false, signal: abort.signal },
  );
  const next = feed.next().catch(() => null);
  await append(service.url, name, { type: "Job", partitionkey: "k", data: {} });
  const held = claims.hold("delivery_claim_group", "answer");
  await until("it is handed something", async () => {
    if (held.waiting() === 0) return false;
    const [row] = await database.reads.run(
      (sql) => sql`select from deliveries where cursor_id = ${cursor} and state = 'leased'`,
    );
    if (row !== undefined) return true;
    // A look that found nothing yet.
    held.step();
    return false;
  });
  told.length = 0;
  abort.abort();
  await next;
  await feed.close(true);
  // It holds it still.
  expect(await members()).toEqual(["a"]);
  expect(told).not.toContain("consumer left");
  held.release();
  await until("it has left", async () => (await members()).length === 0);
  expect(told).toContain("consumer left");
  expect(offsets(await claim(source, { consumer: "b", wait: "20s" }))).toEqual([0]);
});

test("a member that has connected anew elsewhere stays, and nobody says that it left", async () => {
  const { found, members } = await newGroup();
  const { membership } = subscriptions;
  await membership.enter(found, "a");
  await database.claims.run((sql) => sql`select consumer_enter(${found.id}, 'a')`);
  told.length = 0;
  await membership.leave(found, "a");
  expect(await members()).toEqual(["a"]);
  expect(told).not.toContain("consumer left");
});
