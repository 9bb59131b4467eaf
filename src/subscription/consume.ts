// Consuming in this process: the events of a subscription as an async iterable, with the behaviour of an event stream.
import { invalidRequest, shuttingDown } from "../base/errors.ts";
import { type FeedDependencies, openFeed } from "./feed.ts";
import type { Delivery } from "./ledger/delivery.ts";
import type { Return, Settlement, Settlements } from "./ledger/settlements.ts";

/** An event that was handed out, and what can be done with it. */
export type Received = Delivery & {
  /** Settles it for good. */
  acknowledge: () => Promise<Settlement>;
  /** Gives it back: for another attempt unless `how` says otherwise. */
  giveBack: (how?: Partial<Return>) => Promise<Settlement>;
};

export type ConsumeOptions = {
  subscription: string;
  /** Who consumes; several loops of one name share what it may hold. */
  consumer: string;
  /** Settles events before they are handed out: each comes once at most. Default: false. */
  autoAcknowledge?: boolean;
  /** Ends the loop, in the middle of what it has been handed too. */
  signal?: AbortSignal;
};

/**
 * The events of a subscription for one consumer, until the loop is left, its signal fires, or the subscription completes. It
 * takes no more than it has credit for; what is not settled when the loop ends goes to others at once. Throws
 * `subscription-not-found`, also when the subscription is deleted meanwhile, `too-many-consumers`, `invalid-request`, and
 * `shutting-down` when the service stops.
 */
export type Consume = (options: ConsumeOptions) => AsyncGenerator<Received, void, void>;

export type ConsumeDependencies = FeedDependencies & { settlements: Pick<Settlements, "acknowledge" | "giveBack"> };

export type LocalConsumption = {
  consume: Consume;
  /** Ends all loops, and waits for what they are in the middle of, but no longer than this. */
  stop: (withinMs: number) => Promise<void>;
};

export function createLocalConsumption(dependencies: ConsumeDependencies): LocalConsumption {
  const draining = new AbortController();
  const open = new Set<Promise<void>>();

  async function* consume({ subscription, consumer, autoAcknowledge = false, signal: own }: ConsumeOptions) {
    const closed = Promise.withResolvers<void>();
    open.add(closed.promise);
    const signal = own === undefined ? draining.signal : AbortSignal.any([own, draining.signal]);
    try {
      if (!signal.aborted) yield* receive(dependencies, { subscription, consumer, autoAcknowledge, signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      open.delete(closed.promise);
      closed.resolve();
    }
    if (draining.signal.aborted && own?.aborted !== true) throw shuttingDown();
  }

  return {
    consume,
    async stop(withinMs) {
      draining.abort();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, withinMs);
      });
      await Promise.race([Promise.all(open), late]);
      clearTimeout(timer);
    },
  };
}

/** Throws the signal's reason when that fires. */
async function* receive(
  dependencies: ConsumeDependencies,
  options: Required<ConsumeOptions>,
): AsyncGenerator<Received, void, void> {
  const { settlements, catalog } = dependencies;
  const { consumer, autoAcknowledge, signal } = options;
  const { id, delivery: promised } = await catalog.require(options.subscription);
  if (autoAcknowledge && promised === "exactly-once")
    throw invalidRequest([
      { path: "/autoAcknowledge", message: "an exactly-once subscription takes explicit acknowledgements only" },
    ]);
  const feed = await openFeed(dependencies, options);

  function received(delivery: Delivery): Received {
    const list = { subscription: id, consumer, tokens: [delivery.token] };
    const as = { action: "requeue", delayMs: null, reason: "given back without a reason" } as const;
    return {
      ...delivery,
      acknowledge: async () => (await settlements.acknowledge(list))[0] as Settlement,
      giveBack: async (how = {}) => (await settlements.giveBack(list, { ...as, ...how }))[0] as Settlement,
    };
  }

  try {
    for (;;) {
      const deliveries = await feed.next();
      if (deliveries === null) return;
      for (const delivery of deliveries) {
        signal.throwIfAborted();
        yield received(delivery);
      }
    }
  } finally {
    await feed.close(true);
  }
}
