// The built-in queue of an ephemeral stream: an exclusive subscription with the stream's settings.
import { asStored } from "../../stream/schema/target.ts";
import type { StreamConfiguration } from "../../stream/stream-configuration.ts";
import type { SubscriptionConfiguration } from "./subscription.ts";

export function queueConfiguration(
  stream: string,
  { delivery, queue }: StreamConfiguration,
): SubscriptionConfiguration {
  return {
    mode: "exclusive",
    delivery,
    streams: [stream],
    correlation: null,
    types: null,
    where: null,
    visibilityTimeoutMs: queue.visibilityTimeoutMs,
    maxInFlight: 10_000,
    maxAttempts: queue.maxAttempts,
    backoff: { initialMs: queue.backoffInitialMs, factor: queue.backoffFactor, maxMs: queue.backoffMaxMs },
    maxConsumers: null,
    consumerTimeoutMs: 60_000,
    slots: 1,
    onFailure: "skip",
    unreadTimeoutMs: null,
    onUnreadExpired: "requeue",
    terminal: null,
    push: "immediate",
    batchIntervalMs: 1_000,
    expiresAfterMs: null,
    metadata: {},
    receiveAs: asStored,
  };
}
