// Consumes a module's subscription in this process, for as long as the service runs.
import { Problem } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import { mayPass } from "../../storage/withstand.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import { type FeedDependencies, openFeed } from "../../subscription/feed.ts";
import type { Settlements } from "../../subscription/ledger/settlements.ts";
import type { SubscriptionDefinition } from "./define-subscription.ts";
import type { Reach } from "./handled-delivery.ts";
import { handleAll } from "./handling.ts";

export type ConsumerDependencies = {
  feeds: FeedDependencies;
  settlements: Pick<Settlements, "acknowledge" | "giveBack" | "extend">;
  upcasting: Pick<Upcasting, "attempt">;
  reach: Reach;
  log: Log;
};

const retryMs = 1_000;

/**
 * Hands the events of a subscription to its handlers until the signal fires, or it is completed or deleted. What it holds and has not
 * come to stays its own for as long as it works; what is left at the end goes to others.
 */
export async function consumeHere(
  dependencies: ConsumerDependencies,
  definition: SubscriptionDefinition,
  consumer: string,
  signal: AbortSignal,
): Promise<void> {
  const { log } = dependencies;
  const { name } = definition;
  while (!signal.aborted) {
    try {
      await consumeOnce(dependencies, definition, consumer, signal);
      if (!signal.aborted) log.info({ subscription: name }, "the subscription is completed: its handlers rest");
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.code === "subscription-not-found") {
        log.warn({ subscription: name }, "the subscription was deleted: its handlers rest until the next start");
        return;
      }
      log[mayPass(error) ? "debug" : "warn"]({ err: error, subscription: name }, "the subscription cannot be consumed");
      await pause(retryMs, signal);
    }
  }
}

async function consumeOnce(
  { feeds, settlements, upcasting, reach, log }: ConsumerDependencies,
  definition: SubscriptionDefinition,
  consumer: string,
  signal: AbortSignal,
): Promise<void> {
  const { id, mode, visibilityTimeoutMs } = await feeds.catalog.require(definition.name);
  const list = (tokens: readonly string[]) => ({ subscription: id, consumer, tokens });
  const held = new Set<string>();
  const keeper = setInterval(() => {
    if (held.size === 0) return;
    settlements
      .extend(list([...held]), visibilityTimeoutMs)
      .catch((error: unknown) => log.debug({ err: error, subscription: definition.name }, "leases were not extended"));
  }, visibilityTimeoutMs / 3);
  const handling = {
    acknowledge: async (token: string) => (await settlements.acknowledge(list([token])))[0] ?? "stale",
    giveBack: async (token: string, how: Parameters<Settlements["giveBack"]>[1]) =>
      (await settlements.giveBack(list([token]), how))[0] ?? "stale",
    upcasting,
    reach,
    log,
  };
  const feed = await openFeed(feeds, { subscription: definition.name, consumer, autoAcknowledge: false, signal }).catch(
    (error: unknown) => {
      clearInterval(keeper);
      throw error;
    },
  );
  try {
    for (;;) {
      const deliveries = await feed.next();
      if (deliveries === null) return;
      for (const { token, deadline } of deliveries) if (deadline !== null) held.add(token);
      await handleAll(handling, definition, deliveries, {
        isGroup: mode === "consumer-group",
        onSettled: (token) => held.delete(token),
        signal,
      });
      held.clear();
      signal.throwIfAborted();
    }
  } finally {
    clearInterval(keeper);
    await feed.close(true);
  }
}
