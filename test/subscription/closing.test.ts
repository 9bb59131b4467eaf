// What a connection held, or was handed in the moment of its end, goes to others at once, or when the database is back.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { createWake, type Wake } from "../../src/storage/wake.ts";
import { readTail } from "../../src/stream/page.ts";
import { readHead } from "../../src/stream/resolve.ts";
import { createTail, type Tail } from "../../src/stream/tail.ts";
import { openFeed } from "../../src/subscription/feed.ts";
import { type Subscriptions, startSubscriptions } from "../../src/subscription/subscriptions.ts";
import { append } from "../support/client.ts";
import { claim, offsets, put, subscription } from "../support/consume.ts";
import { createHeldPool, type HeldPool, type Hold } from "../support/held-pool.ts";
import { testSchema } from "../support/postgres.ts";
import { noRegistry, noUpcasting } from "../support/schemas.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const log = createLog("silent", "test");
let service: Service;
let proxy: TcpProxy;
let database: Database;
let tail: Tail;
let wake: Wake;
let claims: HeldPool;
let subscriptions: Subscriptions;

// A process of its own beside the service, which alone loses the database.
beforeAll(async () => {
  service = await startService();
  const url = new URL(service.databaseUrl);
  proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  database = createDatabase({
    connection: url.href,
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
  wake = createWake({
    connect: () => openSql(service.databaseUrl, 1),
    channel: `sluice_${testSchema}`,
    onWake: tail.wake,
    onCursors: (cursors) => subscriptions.ledger.wake(cursors),
    onLive() {},
    onSchemas: () => {},
    onOutbox: () => {},
    onContended: () => {},
    onProjections: () => {},
    log,
  });
  subscriptions = await startSubscriptions({
    reads,
    claims,
    tail,
    registry: noRegistry,
    upcasting: noUpcasting,
    announce: wake.sendCursors,
    processedMs: 86_400_000,
    groupWindow: 1_000_000,
    log,
  });
  await wake.start();
});
afterEach(() => proxy.set("pass"));
afterAll(async () => {
  await subscriptions.stop();
  await wake.stop();
  await tail.stop();
  await database.stop();
  await proxy.stop();
  await service.stop();
});

let names = 0;
async function newFeed(configuration: Record<string, unknown>) {
  const name = `away-${++names}`;
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    from: "beginning",
    visibilityTimeout: "1h",
    consumerTimeout: "1h",
    ...configuration,
  });
  const abort = new AbortController();
  const feed = await openFeed(
    { ...subscriptions, log },
    { subscription: name, consumer: "a", autoAcknowledge: false, signal: abort.signal },
  );
  const fill = (count: number) =>
    append(
      service.url,
      name,
      Array.from({ length: count }, (_, data) => ({ type: "Job", partitionkey: "k", data })),
    );
  return { name, feed, abort, fill, source: subscription(service.url, name) };
}

/** Takes the database away while a statement waits, which then fails. */
async function failHeld(held: Hold): Promise<void> {
  await proxy.set("refuse");
  proxy.cut();
  held.release();
}

for (const mode of ["exclusive", "consumer-group"])
  test(`${mode}: what a connection held when it closed is handed out as soon as the database is back`, async () => {
    const { name, feed, abort, fill, source } = await newFeed({ mode });
    await fill(3);
    expect((await feed.next())?.length).toBe(3);
    const held = claims.hold("delivery_release", "statement");
    abort.abort();
    const closing = feed.close(true);
    await until("it is about to be taken back", () => held.waiting() === 1);
    await failHeld(held);
    // Whoever closes does not wait for the database.
    await closing;
    await proxy.set("pass");
    const again = await claim(source, { consumer: "b", max: 10, wait: "20s" });
    expect(again.map(({ event, attempt }) => [Number(event.offset), attempt])).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
    ]);
    if (mode === "exclusive") return;
    await until("it is a member no more", async () => {
      const rows = await database.reads.run(
        (sql) => sql<{ name: string }[]>`
          select c.name from consumers c join subscriptions s on s.id = c.subscription_id where s.name = ${name}`,
      );
      return rows.length === 1 && rows[0]?.name === "b";
    });
  });

for (const mode of ["exclusive", "consumer-group"])
  test(`${mode}: what a connection was handed too late is handed out as soon as the database is back`, async () => {
    const { name, feed, abort, fill, source } = await newFeed({ mode });
    await fill(3);
    const held = claims.hold("delivery_put_back", "statement");
    const answer = claims.hold("from delivery_claim", "answer");
    const next = feed.next().catch(() => null);
    const isLeased = async () => {
      const rows = await database.reads.run(
        (sql) => sql`
          select from deliveries d join subscription_cursors c on c.id = d.cursor_id join subscriptions s on s.id = c.subscription_id
          where s.name = ${name} and d.state = 'leased'`,
      );
      return rows.length > 0;
    };
    await until("it is handed something", async () => {
      const hasLooked = answer.waiting() > 0;
      if (await isLeased()) return true;
      // A look that found nothing; one that came meanwhile may have found something.
      if (hasLooked) answer.step();
      return false;
    });
    abort.abort();
    await next;
    answer.release();
    await until("it is about to be put back", () => held.waiting() === 1);
    await failHeld(held);
    await feed.close(true);
    await proxy.set("pass");
    const again = await claim(source, { consumer: "b", max: 10, wait: "20s" });
    expect(offsets(again)).toEqual([0, 1, 2]);
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
  });

test("what is handed out while its connection is told that the service drains is put back", async () => {
  const { feed, abort, name, fill, source } = await newFeed({ mode: "exclusive", maxInFlight: 1 });
  const { ledger, catalog } = subscriptions;
  const { id } = await catalog.require(name);
  const settle = (token: string) => ledger.acknowledge({ subscription: id, consumer: "a", tokens: [token] });
  await fill(1_000);
  await fill(1);
  // After so many handouts it asks which it holds still.
  for (let n = 0; n < 1_000; n++) await settle((await feed.next())?.[0]?.token as string);
  const held = claims.hold("select distinct step, part from deliveries", "answer");
  const next = feed.next().catch(() => null);
  await until("it asks", () => held.waiting() === 1);
  abort.abort();
  held.release();
  await next;
  await feed.close(false);
  expect(offsets(await claim(source, { consumer: "b", wait: "20s" }))).toEqual([1_000]);
});
