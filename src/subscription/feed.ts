// What one consumer takes of a subscription, one handout after the other, for as long as it stays.
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import { withstand } from "../storage/withstand.ts";
import type { Consumed, Consumption } from "./consumption.ts";
import type { Delivery } from "./ledger/delivery.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Catalog } from "./registry/catalog.ts";
import type { Membership } from "./registry/membership.ts";
import type { Subscription } from "./registry/subscription.ts";

export type Feed = {
  /** The next events, as soon as there are some and the consumer has credit; null when the subscription is completed. Throws
   * `subscription-not-found` when it is deleted, and the signal's reason when that fires. */
  next: () => Promise<Delivery[] | null>;
  /** What comes within a time; none when nothing has. `upTo`: nothing new behind this position, but what comes back. */
  more: (waitMs: number, upTo?: number) => Promise<Delivery[] | null>;
  /** The next events up to a position; none when all of them have been handed out. */
  nextUpTo: (position: number) => Promise<Delivery[] | null>;
  /** Where its cursor stood when it was opened, and the last position that was committed by then. */
  from: number;
  head: number;
  /** The last position that this process has. */
  headNow: () => number;
  /** The subscription as it is now. Throws `subscription-not-found`. */
  subscription: () => Promise<Subscription>;
  /** Resolves when there may be something new, and now and then; or when the signal fires. */
  stir: () => Promise<void>;
  /** Leaves. What it holds is handed out anew at once, unless the consumer is only moving elsewhere. */
  close: (release: boolean) => Promise<void>;
};

export type FeedDependencies = {
  consumption: Consumption;
  catalog: Catalog;
  membership: Membership;
  ledger: Pick<Ledger, "release" | "putBack" | "heldBy" | "standing" | "isOwed" | "stir" | "head">;
  log: Log;
};

export type FeedOptions = {
  subscription: string;
  consumer: string;
  autoAcknowledge: boolean;
  signal: AbortSignal;
};

type Held = { cursor: number; step: number; part: number };

const retryMs = 100;
const maxEvents = 1_000;
const minPrunedAt = 1_000;
const passedCheckMs = 1_000;

/** Makes the consumer a member. Throws `subscription-not-found`, `too-many-consumers`. */
export async function openFeed(dependencies: FeedDependencies, options: FeedOptions): Promise<Feed> {
  const { consumption, catalog, membership, ledger, log } = dependencies;
  const { consumer, signal } = options;
  let subscription: Subscription = await catalog.require(options.subscription);
  const entered = subscription;
  let cursor = await membership.enter(entered, consumer);
  const { place: from, head } = await ledger.standing(cursor).catch(async (error: unknown) => {
    await leave();
    throw error;
  });
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

  async function leave(): Promise<void> {
    await membership
      .leave(entered, consumer)
      .catch((error: unknown) => log.warn({ err: error, consumer }, "a membership waits for its end"));
  }

  let prunedAt = minPrunedAt;

  /** What was settled needs no releasing: now and then the ledger is asked what is left. */
  async function prune(): Promise<void> {
    if (held.length < prunedAt) return;
    const alive = await ledger.heldBy(cursor, consumer).catch(() => null);
    if (alive === null) return;
    const known = new Set(alive.map(({ step, part }) => `${step} ${part}`));
    held = held.filter((lease) => lease.cursor !== cursor || known.has(`${lease.step} ${lease.part}`));
    prunedAt = Math.max(minPrunedAt, held.length * 2);
  }

  async function claim(waitMs: number, upTo?: number): Promise<Consumed> {
    subscription = await catalog.require(options.subscription);
    const consumed = await consumption.claim(options.subscription, {
      consumer,
      max: Math.min(subscription.maxInFlight, maxEvents),
      visibilityTimeoutMs: null,
      autoAcknowledge: options.autoAcknowledge,
      waitMs,
      upTo,
      signal,
    });
    cursor = consumed.cursor;
    await prune();
    // Nobody is there to be sent it.
    if (signal.aborted) {
      await ledger.putBack(cursor, consumed.leases);
      throw signal.reason;
    }
    held.push(...consumed.leases.map((lease) => ({ cursor: consumed.cursor, ...lease })));
    return consumed;
  }
  const take = (waitMs: number, upTo?: number) => withstand(() => claim(waitMs, upTo), signal);

  /** Whether something that it may be handed now waits for it, though the cursor has passed it. */
  const isOwed = () =>
    subscription.mode === "consumer-group"
      ? withstand(() => ledger.isOwed(cursor, consumer), signal)
      : Promise.resolve(false);

  return {
    from,
    head,
    headNow: ledger.head,
    async next() {
      for (;;) {
        const { deliveries, completed } = await take(Number.POSITIVE_INFINITY);
        if (deliveries.length > 0) return deliveries;
        if (completed) return null;
        // The service drains, or the signal fired.
        await pause(retryMs, signal);
      }
    },
    async more(waitMs, upTo) {
      const { deliveries, completed } = await take(waitMs, upTo);
      return completed ? null : deliveries;
    },
    async nextUpTo(position) {
      for (;;) {
        const { deliveries, completed, place } = await take(0, position);
        if (deliveries.length > 0) return deliveries;
        if (completed) return null;
        if (place !== undefined && place >= position && !(await isOwed())) return [];
        // It has no credit, or the subscription is paused; meanwhile others may take the rest.
        const later = await take(passedCheckMs, position);
        if (later.deliveries.length > 0) return later.deliveries;
        await pause(retryMs, signal);
      }
    },
    async subscription() {
      subscription = await withstand(() => catalog.require(options.subscription), signal);
      return subscription;
    },
    stir: () => ledger.stir(subscription, cursor, signal),
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
      await leave();
    },
  };
}
