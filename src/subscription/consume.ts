// Consuming in this process: the events of a subscription as an async iterable, with the behaviour of an event stream.

import { type FeedDependencies, type FeedOptions, openFeed } from "./feed.ts";
import type { Delivery } from "./ledger/delivery.ts";
import type { Return, Settlement, Settlements } from "./ledger/settlements.ts";

/** An event that was handed out, and what can be done with it. */
export type Received = Delivery & {
  /** Settles it for good. */
  acknowledge: () => Promise<Settlement>;
  /** Gives it back: for another attempt unless `how` says otherwise. */
  giveBack: (how?: Partial<Return>) => Promise<Settlement>;
};

export type ConsumeDependencies = FeedDependencies & { settlements: Pick<Settlements, "acknowledge" | "giveBack"> };

/**
 * The events of a subscription for one consumer, until the loop is left, the signal fires, or the subscription completes. It
 * takes no more than it has credit for; what is not settled when the loop is left goes to others at once. Throws
 * `subscription-not-found`, `too-many-consumers`.
 */
export async function* consume(
  dependencies: ConsumeDependencies,
  options: FeedOptions,
): AsyncGenerator<Received, void, void> {
  const { settlements, catalog } = dependencies;
  const { id } = await catalog.require(options.subscription);
  const feed = await openFeed(dependencies, options);
  const list = (token: string) => ({ subscription: id, consumer: options.consumer, tokens: [token] });
  try {
    for (;;) {
      const deliveries = await feed.next();
      if (deliveries === null) return;
      for (const delivery of deliveries) {
        yield {
          ...delivery,
          acknowledge: async () => (await settlements.acknowledge(list(delivery.token)))[0] as Settlement,
          giveBack: async (how = {}) =>
            (
              await settlements.giveBack(list(delivery.token), {
                action: "requeue",
                delayMs: null,
                reason: "given back without a reason",
                ...how,
              })
            )[0] as Settlement,
        };
      }
    }
  } catch (error) {
    // The end that was asked for.
    if (!options.signal.aborted) throw error;
  } finally {
    await feed.close(true);
  }
}
