// Consuming a subscription or a stream's built-in queue: finds it, makes the consumer a member, and hands out events.
import { notAQueue, Problem, streamNotFound } from "../base/errors.ts";
import type { Pool } from "../storage/pool.ts";
import type { StreamConfiguration } from "../stream/stream-configuration.ts";
import { readStreamHeads } from "../stream/stream-head.ts";
import type { Handout } from "./ledger/delivery.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Receiving } from "./receiving.ts";
import type { Catalog } from "./registry/catalog.ts";
import type { Membership } from "./registry/membership.ts";
import { queueConfiguration } from "./registry/queue.ts";
import { queueName, type Subscription, streamOfQueue } from "./registry/subscription.ts";

export type ConsumeOptions = {
  consumer: string;
  /** Events at most. */
  max: number;
  /** Null: the subscription's. */
  visibilityTimeoutMs: number | null;
  /** Settled before they are sent, whatever the subscription promises. */
  autoAcknowledge: boolean;
  waitMs: number;
  /** Nothing new behind this position; undefined: whatever there is. */
  upTo?: number | undefined;
  signal: AbortSignal;
};

/** What was handed out, and under which cursor its leases are. */
export type Consumed = Handout & { cursor: number };

export type Consumption = {
  /** Throws `subscription-not-found`, `too-many-consumers`; of a queue whose stream was deleted, `stream-not-found`. */
  claim: (name: string, options: ConsumeOptions) => Promise<Consumed>;
  /** The built-in queue of an ephemeral stream; it begins with its first use. Throws `stream-not-found`, `not-a-queue`. */
  queue: (stream: string) => Promise<Subscription>;
  /** The stream has this configuration now; its queue, if it is in use already, goes by it. */
  configureQueue: (stream: string, configuration: StreamConfiguration) => Promise<void>;
};

/** How long a claim goes on beyond its time where all that it found became dead letters, in milliseconds. */
const overrunMs = 500;

export type ConsumptionOptions = {
  catalog: Catalog;
  membership: Membership;
  ledger: Ledger;
  receiving: Receiving;
  reads: Pool;
};

export function createConsumption({ catalog, membership, ledger, receiving, reads }: ConsumptionOptions): Consumption {
  async function attempt(name: string, options: ConsumeOptions): Promise<Consumed> {
    const deadline = performance.now() + options.waitMs;
    for (;;) {
      const subscription = await catalog.require(name);
      const consumed = await take(subscription, { ...options, waitMs: Math.max(0, deadline - performance.now()) });
      if (consumed.deliveries.length === 0) return consumed;
      const deliveries = await receiving.receive(subscription, consumed);
      // All of it became dead letters: there may be more behind it, for as long as anybody waits.
      if (deliveries.length > 0 || performance.now() > deadline + overrunMs) return { ...consumed, deliveries };
      options.signal.throwIfAborted();
    }
  }

  async function take(subscription: Subscription, options: ConsumeOptions): Promise<Consumed> {
    const { consumer, max, waitMs, upTo, signal } = options;
    const cursor = await membership.join(subscription, consumer);
    // Who waits for longer than its silence is borne is not silent.
    const beatMs = Math.min(subscription.consumerTimeoutMs / 3, 10_000);
    const heartbeat =
      Number.isFinite(waitMs) && waitMs > beatMs
        ? setInterval(() => void membership.join(subscription, consumer).catch(() => {}), beatMs)
        : null;
    const claimed = ledger.claim(subscription, {
      cursor,
      consumer,
      max,
      visibilityTimeoutMs: options.visibilityTimeoutMs ?? subscription.visibilityTimeoutMs,
      autoAcknowledge: options.autoAcknowledge,
      waitMs,
      upTo,
      signal,
    });
    const handout = await claimed.finally(() => {
      if (heartbeat !== null) clearInterval(heartbeat);
    });
    return { ...handout, cursor };
  }

  async function queue(stream: string): Promise<Subscription> {
    const found = await catalog.find(queueName(stream));
    if (found !== null) return found;
    const [head] = await reads.run((sql) => readStreamHeads(sql, [stream]));
    if (head === undefined || !head.exists) throw streamNotFound(stream);
    if (!head.configuration.ephemeral) throw notAQueue(stream);
    // Counts from its first use on, beginning with what is still there.
    const configuration = queueConfiguration(stream, head.configuration);
    await catalog.configure(
      queueName(stream),
      { configuration, from: "beginning", delivery: configuration.delivery },
      stream,
    );
    return catalog.require(queueName(stream));
  }

  return {
    async claim(name, options) {
      try {
        return await attempt(name, options);
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "subscription-not-found") throw error;
        // What was remembered is of a subscription or a cursor that is gone; there may be another one of the name.
        const subscription = await catalog.find(name);
        if (subscription !== null) membership.forget(subscription, options.consumer);
        if ((await catalog.refresh(name)) === null) {
          const stream = streamOfQueue(name);
          if (stream === null) throw error;
          // The queue went with its stream; there may be another stream of the name.
          await queue(stream);
        }
        return attempt(name, options);
      }
    },
    queue,
    async configureQueue(stream, configuration) {
      if (!configuration.ephemeral || (await catalog.refresh(queueName(stream))) === null) return;
      await catalog.configure(
        queueName(stream),
        {
          configuration: queueConfiguration(stream, configuration),
          from: "beginning",
          delivery: configuration.delivery,
        },
        stream,
      );
    },
  };
}
