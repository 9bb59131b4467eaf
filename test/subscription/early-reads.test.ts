// What was read before it was handed out is not unread, also while a claim passes it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { readHead } from "../../src/stream/resolve.ts";
import { createEndings, type Endings } from "../../src/subscription/ledger/endings.ts";
import { createReceipts, type Receipts } from "../../src/subscription/receipts/receipts.ts";
import type { Subscription } from "../../src/subscription/registry/subscription.ts";
import { findSubscription } from "../../src/subscription/registry/subscriptions.ts";
import { append } from "../support/client.ts";
import { ack, claim, post, put, subscription, tokens } from "../support/consume.ts";
import { testSchema } from "../support/postgres.ts";
import { type Service, startService } from "../support/service.ts";

const log = createLog("silent", "test");
let service: Service;
let database: Database;
let endings: Endings;
beforeAll(async () => {
  service = await startService();
  database = createDatabase({
    ...{ connection: service.databaseUrl, schema: testSchema, poolSize: 2, commandTimeoutMs: 10_000 },
    ...{ appendsInFlight: 1, claimsInFlight: 1, log },
  });
  endings = createEndings({ pool: database.claims, onCompleted() {}, log });
});
afterAll(async () => {
  await endings.stop();
  await database.stop();
  await service.stop();
});

const signal = new AbortController().signal;

/** Looks at what is unread while `meanwhile` happens: after what was handed out has been looked at, and before the rest. */
function look(meanwhile: () => Promise<void>): Receipts {
  const { reads, claims } = database;
  return createReceipts({
    ...{ reads, claims, endings, onRead() {} },
    reload: find,
    async readHead() {
      await meanwhile();
      return reads.run((sql) => readHead(sql, 0));
    },
  });
}

const find = (name: string) => database.reads.run((sql) => findSubscription(sql, name));

/** Three events, of which the first is delivered and the second read beforehand. */
async function inbox(name: string) {
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, mode: "read-receipt", from: "beginning" });
  await append(
    service.url,
    name,
    ["first", "early", "last"].map((id) => ({ type: "A", id: `${name}-${id}` })),
  );
  await ack(source, tokens(await claim(source, { consumer: "ada", max: 1, wait: "20s" })));
  const read = await post<{ read: number }>(`${source.url}/consumers/ada/read`, { ids: [`${name}-early`] });
  expect(read.body.read).toBe(1);
  const passing = async () => {
    await ack(source, tokens(await claim(source, { consumer: "ada", max: 10 })));
  };
  const found = (await find(name)) as Subscription;
  return { found, passing };
}

test("a list shows what is delivered meanwhile, and not what was read", async () => {
  const { found, passing } = await inbox("listed");
  const { events } = await look(passing).unread(found, "ada", { after: -1, limit: 100, signal });
  expect(events.map(({ id }) => id)).toEqual(["listed-first", "listed-last"]);
});

test("a count has what is delivered meanwhile, and not what was read", async () => {
  const { found, passing } = await inbox("counted");
  expect(await look(passing).count(found, "ada", signal)).toEqual({ count: 2, atLeast: false });
});
