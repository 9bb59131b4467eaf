// The subscriptions as this process knows them: looked up by name, remembered for a moment, created at their place in the log.
import { invalidConfiguration, subscriptionNotFound } from "../../base/errors.ts";
import type { Pool } from "../../storage/pool.ts";
import { checkPath } from "../../stream/path-filter.ts";
import type { LogReader } from "../../stream/range.ts";
import type { Target } from "../../stream/schema/target.ts";
import { readStreamHeads } from "../../stream/stream-head.ts";
import type { ParsedSubscription } from "./configuration.ts";
import { boundDelivery } from "./delivery-bound.ts";
import { positionBefore } from "./start-place.ts";
import type { DeliverySemantics, Subscription } from "./subscription.ts";
import { configureSubscription, deleteSubscription, findSubscription, setPaused } from "./subscriptions.ts";

export type Catalog = {
  /** As it was a moment ago at most; whoever claims by it is told when it has changed. Throws `subscription-not-found`. */
  require: (name: string) => Promise<Subscription>;
  find: (name: string) => Promise<Subscription | null>;
  /** As it is now. */
  refresh: (name: string) => Promise<Subscription | null>;
  /** Creates it or changes it. Returns whether it is new. Throws `subscription-in-use`, `invalid-configuration`, `invalid-place`, `invalid-filter`, `cursor-beyond-head`. */
  configure: (name: string, parsed: ParsedSubscription, queueOf: string | null) => Promise<boolean>;
  setPaused: (name: string, paused: boolean) => Promise<void>;
  remove: (name: string) => Promise<void>;
  /** Whether a subscription, by its id, has terminal types, as far as this process has heard of it. */
  mayEnd: (id: number) => boolean;
};

export type CatalogOptions = {
  reader: LogReader;
  writes: Pool;
  cursorsOf: (subscription: Subscription) => Promise<number[]>;
  /** What is named of versions and not there, in words; null when all are. */
  missingVersion: (target: Target) => Promise<string | null>;
  /** The subscription of these cursors is another one now, or gone: its consumers have to hear of it. */
  onChanged: (cursors: readonly number[]) => void;
};

const freshMs = 1_000;
const maxKnown = 10_000;

export function createCatalog({ reader, writes, cursorsOf, missingVersion, onChanged }: CatalogOptions): Catalog {
  const known = new Map<string, { subscription: Subscription; readAt: number }>();
  const ending = new Set<number>();

  async function refresh(name: string): Promise<Subscription | null> {
    const subscription = await reader.pool.run((sql) => findSubscription(sql, name));
    if (known.size >= maxKnown) known.clear();
    if (ending.size >= maxKnown) ending.clear();
    if (subscription?.terminal) ending.add(subscription.id);
    else if (subscription !== null) ending.delete(subscription.id);
    if (subscription === null) known.delete(name);
    else known.set(name, { subscription, readAt: performance.now() });
    return subscription;
  }

  function find(name: string): Promise<Subscription | null> {
    const found = known.get(name);
    if (found !== undefined && performance.now() - found.readAt < freshMs) return Promise.resolve(found.subscription);
    return refresh(name);
  }

  async function change(name: string): Promise<void> {
    const subscription = await refresh(name);
    if (subscription !== null) onChanged(await cursorsOf(subscription));
  }

  return {
    find,
    refresh,
    async require(name) {
      const subscription = await find(name);
      if (subscription === null) throw subscriptionNotFound(name);
      return subscription;
    },
    async configure(name, parsed, queueOf) {
      const { streams } = parsed.configuration;
      const bound = async () => {
        const heads = streams === null ? [] : await reader.pool.run((sql) => readStreamHeads(sql, streams));
        return boundDelivery(parsed.delivery, streams, heads);
      };
      const first = await bound();
      if (parsed.configuration.where !== null) await checkPath(reader.pool, parsed.configuration.where);
      const missing = await missingVersion(parsed.configuration.receiveAs);
      if (missing !== null) throw invalidConfiguration([{ path: "/receiveAs", message: missing }]);
      const startPosition = await positionBefore(reader, parsed.configuration.streams, "from", parsed.from);
      const configure = (delivery: DeliverySemantics) =>
        writes.run((sql) =>
          configureSubscription(sql, {
            name,
            configuration: { ...parsed.configuration, delivery },
            queueOf,
            from: parsed.from,
            startPosition,
          }),
        );
      // A stream may come to promise less in this moment.
      let outcome = await configure(first);
      while (outcome === "stream-weaker") outcome = await configure(await bound());
      await change(name);
      return outcome === "created";
    },
    async setPaused(name, paused) {
      await writes.run((sql) => setPaused(sql, name, paused));
      await change(name);
    },
    async remove(name) {
      const before = await refresh(name);
      const cursors = before === null ? [] : await cursorsOf(before);
      await writes.run((sql) => deleteSubscription(sql, name));
      known.delete(name);
      onChanged(cursors);
    },
    mayEnd: (id) => ending.has(id),
  };
}
