// A delivery that fails: appends go on, and so do the other deliveries.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { createAppender } from "../../src/stream/append.ts";
import { readPositions, readTail } from "../../src/stream/page.ts";
import { readHead } from "../../src/stream/resolve.ts";
import { createTail, type Tail } from "../../src/stream/tail.ts";
import { createUpkeep } from "../../src/stream/upkeep.ts";
import { createEndings } from "../../src/subscription/ledger/endings.ts";
import { createLedger, type Ledger } from "../../src/subscription/ledger/ledger.ts";
import { createTokens } from "../../src/subscription/ledger/token.ts";
import { parseSubscription } from "../../src/subscription/registry/configuration.ts";
import type { Subscription } from "../../src/subscription/registry/subscription.ts";
import { configureSubscription, findSubscription } from "../../src/subscription/registry/subscriptions.ts";
import { newEvent } from "../support/new-event.ts";
import { createTestDatabase, testSchema } from "../support/postgres.ts";
import { noValidation } from "../support/schemas.ts";
import { until } from "../support/until.ts";

const log = createLog("silent", "test");
let database: Database;
let tail: Tail;
let upkeep: ReturnType<typeof createUpkeep>;
beforeAll(async () => {
  database = createDatabase({
    connection: await createTestDatabase(),
    schema: testSchema,
    poolSize: 2,
    commandTimeoutMs: 10_000,
    appendsInFlight: 2,
    claimsInFlight: 2,
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
  upkeep = createUpkeep({ pool: reads, head: tail.head, partitionSize: 100_000, idempotencyKeysMs: 60_000, log });
  await upkeep.start();
});
afterAll(async () => {
  await upkeep.stop();
  await tail.stop();
  await database.stop();
});

async function newSubscription(name: string): Promise<{ subscription: Subscription; cursor: number }> {
  const { configuration } = parseSubscription({ stream: "jobs", mode: "exclusive", from: "beginning" });
  return database.claims.run(async (sql) => {
    await configureSubscription(sql, { name, configuration, queueOf: null, from: "beginning", startPosition: -1 });
    const subscription = (await findSubscription(sql, name)) as Subscription;
    const [row] = await sql<{ id: string }[]>`
      select id from subscription_cursors where subscription_id = ${subscription.id}`;
    return { subscription, cursor: Number(row?.id) };
  });
}

const claim = (ledger: Ledger, { subscription, cursor }: Awaited<ReturnType<typeof newSubscription>>) =>
  ledger.claim(subscription, {
    cursor,
    consumer: "a",
    max: 1_000,
    visibilityTimeoutMs: 60_000,
    autoAcknowledge: false,
    waitMs: 20_000,
    signal: new AbortController().signal,
  });

test("a listener and a desk that throw fail no append, and keep nothing from those that work", async () => {
  const broken = await newSubscription("broken");
  const sound = await newSubscription("sound");
  let reading = broken.cursor;
  let defects = 0;
  const leave = tail.subscribe(() => {
    defects++;
    throw new Error("a defect of a listener");
  });
  const endings = createEndings({ pool: database.claims, onCompleted() {}, log });
  const ledger = createLedger({
    pool: database.claims,
    endings,
    mayEnd: () => false,
    tail,
    candidates: {
      // The candidates of one subscription cannot be read.
      async read(_, after, limit) {
        if (reading === broken.cursor) {
          defects++;
          throw new Error("a defect of a desk");
        }
        const events = tail.since(after, 1_000_000)?.events.slice(0, limit) ?? [];
        return { after, upTo: events.at(-1)?.position ?? after, events };
      },
      readAt: async (positions) => ({
        events: new Map((await readPositions(database.reads, positions)).map((event) => [event.position, event])),
        unread: new Map(),
      }),
    },
    tokens: createTokens("key"),
    findById: async () => null,
    readHead: () => database.reads.run((sql) => readHead(sql, tail.head())),
    groupWindow: 1_000_000,
    announce() {},
    onPutBack() {},
    log,
  });

  const appender = createAppender({
    pool: database.appends,
    log,
    maxBatchEvents: 100,
    maxBatchBytes: 1_000_000,
    batchesInFlight: 2,
    maxWaitingBytes: 64_000_000,
    onAppended: tail.offer,
    onUnknown() {},
    onNoPartition: upkeep.wakePartitions,
    validation: noValidation,
  });
  const append = () => appender.append({ stream: "jobs", events: [newEvent()], expected: "any", idempotency: null });

  const failed = claim(ledger, broken).catch((error: unknown) => error);
  await Promise.all(Array.from({ length: 50 }, append));
  expect(await failed).toMatchObject({ message: "a defect of a desk" });
  reading = sound.cursor;
  const got = await claim(ledger, sound);
  expect(got.deliveries.length).toBeGreaterThan(0);
  await Promise.all(Array.from({ length: 50 }, append));
  await until("the tail has arrived", () => tail.head() === 99);
  expect(defects).toBeGreaterThan(1);
  expect(appender.counters()).toMatchObject({ events: 100, failed: 0 });
  leave();
  await ledger.stop();
  await endings.stop();
  await appender.stop();
});
