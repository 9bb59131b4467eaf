// Wires the parts of consuming: who may consume what, the ledger that hands it out, and the members who ask.
import type { Log } from "../base/log.ts";
import { createSemaphore } from "../base/semaphore.ts";
import type { Pool } from "../storage/pool.ts";
import { readHead } from "../stream/resolve.ts";
import type { Registry } from "../stream/schema/registry.ts";
import { checkTarget } from "../stream/schema/target.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import type { Tail } from "../stream/tail.ts";
import { type Consumption, createConsumption } from "./consumption.ts";
import { createDeadLetters, type DeadLetters } from "./dead-letters.ts";
import { createProcessedEvents, type ProcessedEvents } from "./exactly-once/processed.ts";
import { createCandidateReader } from "./ledger/candidates.ts";
import { createEndings } from "./ledger/endings.ts";
import { createLedger, type Ledger } from "./ledger/ledger.ts";
import { createTokens } from "./ledger/token.ts";
import { readHandedOut } from "./letter-content.ts";
import { type ReceiptExpiry, startReceiptExpiry } from "./receipts/expiry.ts";
import { createReceipts, type Receipts } from "./receipts/receipts.ts";
import { createReceiving } from "./receiving.ts";
import { type Catalog, createCatalog } from "./registry/catalog.ts";
import { createMembership, type Membership } from "./registry/membership.ts";
import { createReset, type Reset } from "./registry/reset.ts";
import { findSubscriptionById } from "./registry/subscriptions.ts";
import { startSweeper } from "./sweep/sweeper.ts";

export type Subscriptions = {
  catalog: Catalog;
  membership: Membership;
  ledger: Ledger;
  consumption: Consumption;
  processed: ProcessedEvents;
  receipts: Receipts;
  expiry: ReceiptExpiry;
  reset: Reset;
  /** Cursors that were reset by this process. */
  resets: () => number;
  deadLetters: DeadLetters;
  stop: () => Promise<void>;
};

export type SubscriptionsOptions = {
  reads: Pool;
  claims: Pool;
  tail: Pick<Tail, "since" | "head" | "subscribe">;
  registry: Pick<Registry, "latest" | "refresh">;
  upcasting: Pick<Upcasting, "attempt" | "mark">;
  /** Tells the other processes of cursors under which something has changed. */
  announce: (cursors: Iterable<number>) => void;
  /** How long it is remembered that an event was processed, in milliseconds. */
  processedMs: number;
  /** Events that may wait for the members of a consumer group that do not take them. */
  groupWindow: number;
  log: Log;
};

/** Pages that all cursors together read at once. */
const pagesReading = 4;

export async function startSubscriptions({
  reads,
  claims,
  tail,
  registry,
  upcasting,
  announce,
  processedMs,
  groupWindow,
  log,
}: SubscriptionsOptions): Promise<Subscriptions> {
  const key = await reads.run(async (sql) => {
    const rows = await sql<{ token_key: string }[]>`select token_key from log`;
    return rows[0]?.token_key as string;
  });
  const tokens = createTokens(key);
  let resets = 0;
  const readHeadNow = () => reads.run((sql) => readHead(sql, tail.head()));
  const tell = (cursors: readonly number[]) => {
    ledger.wake(cursors);
    announce(cursors);
  };
  const endings = createEndings({ pool: claims, onCompleted: (cursor) => tell([cursor]), log });
  const ledger: Ledger = createLedger({
    pool: claims,
    tail,
    candidates: createCandidateReader({
      tail,
      pool: reads,
      reads: createSemaphore(pagesReading),
      readEvents: (positions, maxBytes) => readHandedOut(reads, positions, maxBytes),
    }),
    tokens,
    endings,
    mayEnd: (id) => catalog.mayEnd(id),
    findById: (id) => reads.run((sql) => findSubscriptionById(sql, id)),
    readHead: readHeadNow,
    groupWindow,
    announce,
    onPutBack: (cursor) => membership.onPutBack(cursor),
    log,
  });
  const changed = (cursors: readonly number[]) => {
    tell(cursors);
    void endings.review(cursors);
  };
  const expiry = startReceiptExpiry({ pool: claims, onReturned: changed, log });
  const reader = { pool: reads, knownHead: tail.head };
  const catalog: Catalog = createCatalog({
    reader,
    writes: claims,
    missingVersion: (target) => checkTarget(registry, target),
    async cursorsOf({ id }) {
      const rows = await reads.run(
        (sql) => sql<{ id: string }[]>`select id from subscription_cursors where subscription_id = ${id}`,
      );
      return rows.map((row) => Number(row.id));
    },
    onChanged(cursors) {
      changed(cursors);
      // Times for reading may be shorter now.
      expiry.wake();
    },
  });
  const processed = createProcessedEvents({ reads, claims, tokens, windowMs: processedMs, log });
  const membership: Membership = createMembership({ pool: claims, onReturned: (cursor) => changed([cursor]), log });
  const sweeper = startSweeper({ pool: claims, onChanged: (cursor) => changed([cursor]), log });
  return {
    catalog,
    membership,
    ledger,
    consumption: createConsumption({
      catalog,
      membership,
      ledger,
      receiving: createReceiving({ upcasting, ledger, log }),
      reads,
    }),
    processed,
    receipts: createReceipts({
      reads,
      claims,
      readHead: readHeadNow,
      endings,
      reload: catalog.refresh,
      onRead: (cursor) => changed([cursor]),
    }),
    expiry,
    deadLetters: createDeadLetters({ reads, writes: claims, onChanged: (cursor) => changed([cursor]) }),
    reset: createReset({
      reader,
      writes: claims,
      onReset(cursor) {
        resets++;
        changed([cursor]);
      },
    }),
    resets: () => resets,
    async stop() {
      await sweeper.stop();
      await expiry.stop();
      await processed.stop();
      await membership.stop();
      await endings.stop();
      await ledger.stop();
    },
  };
}
