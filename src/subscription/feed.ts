// What one consumer takes of a subscription, one handout after the other, for as long as it stays.
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import { isOutage } from "../storage/pg-errors.ts";
import type { Consumption } from "./consumption.ts";
import type { Delivery } from "./ledger/delivery.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Catalog } from "./registry/catalog.ts";
import type { Membership } from "./registry/membership.ts";
import type { Subscription } from "./registry/subscription.ts";

export type Feed = {
  /** The next events, as soon as there are some and the consumer has credit; null when the subscription is completed. Throws
   * `subscription-not-found` when it is deleted, and the signal's reason when that fires. */
  next: () => Promise<Delivery[] | null>;
  /** Leaves. What it holds is handed out anew at once, unless the consumer is only moving elsewhere. */
  close: (release: boolean) => Promise<void>;
};

export type FeedDependencies = {
  consumption: Consumption;
  catalog: Catalog;
  membership: Membership;
  ledger: Pick<Ledger, "release" | "putBack">;
  log: Log;
};

export type FeedOptions = {
  subscription: string;
  consumer: string;
  autoAcknowledge: boolean;
  signal: AbortSignal;
};

type Held = { cursor: number; step: number; part: number; until: number };

const retryMs = 100;
const maxRetryMs = 5_000;
const maxEvents = 1_000;
const prunedAt = 1_000;

/** Makes the consumer a member. Throws `subscription-not-found`, `too-many-consumers`. */
export async function openFeed(dependencies: FeedDependencies, options: FeedOptions): Promise<Feed> {
  const { consumption, catalog, membership, ledger, log } = dependencies;
  const { consumer, signal } = options;
  let subscription: Subscription = await catalog.require(options.subscription);
  const entered = subscription;
  await membership.enter(entered, consumer);
  let held: Held[] = [];
  let closed = false;

  // The connection is the heartbeat: while it is there, so is its consumer.
  const heartbeat = setInterval(
    () => {
      membership
        .join(subscription, consumer)
        .catch((error: unknown) => log.debug({ err: error, consumer }, "a heartbeat was lost"));
    },
    Math.min(subscription.consumerTimeoutMs / 3, 10_000),
  );

  /** Leases whose time is over need no releasing. */
  function remember(leases: Held[]): void {
    held.push(...leases);
    if (held.length < prunedAt) return;
    const now = Date.now();
    held = held.filter((lease) => lease.until > now);
  }

  return {
    async next() {
      let delayMs = retryMs;
      for (;;) {
        signal.throwIfAborted();
        try {
          subscription = await catalog.require(options.subscription);
          const { deliveries, leases, cursor, completed } = await consumption.claim(options.subscription, {
            consumer,
            max: Math.min(subscription.maxInFlight, maxEvents),
            visibilityTimeoutMs: null,
            autoAcknowledge: options.autoAcknowledge,
            waitMs: Number.POSITIVE_INFINITY,
            signal,
          });
          if (closed) {
            await ledger.putBack(cursor, leases);
            signal.throwIfAborted();
          }
          // An extension moves a deadline, but only to where it was asked for; twice the time is far enough.
          const until = Date.now() + subscription.visibilityTimeoutMs * 2;
          remember(leases.map((lease) => ({ cursor, ...lease, until })));
          if (deliveries.length > 0) return deliveries;
          if (completed) return null;
          // The service drains, or the signal fired.
          await pause(retryMs, signal);
        } catch (error) {
          if (signal.aborted || !isOutage(error)) throw error;
          await pause(delayMs, signal);
          delayMs = Math.min(delayMs * 2, maxRetryMs);
        }
      }
    },
    async close(release) {
      if (closed) return;
      closed = true;
      clearInterval(heartbeat);
      if (!release) return;
      const byCursor = Map.groupBy(held, (lease) => lease.cursor);
      for (const [cursor, leases] of byCursor) {
        await ledger
          .release(cursor, leases, "the consumer's connection closed")
          .catch((error: unknown) => log.warn({ err: error, consumer }, "leases wait for their deadlines"));
      }
      await membership
        .leave(entered, consumer)
        .catch((error: unknown) => log.warn({ err: error, consumer }, "a membership waits for its end"));
    },
  };
}
