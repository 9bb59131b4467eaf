// A subscription: who is entitled to which events, and how they are handed out.
import type { Source } from "../../base/errors.ts";
import type { Target } from "../../stream/schema/target.ts";
import type { Selection } from "../../stream/selection.ts";

export type Mode = "broadcast" | "exclusive" | "consumer-group" | "read-receipt";
export type DeliverySemantics = "at-most-once" | "at-least-once" | "exactly-once";

export type Backoff = { initialMs: number; factor: number; maxMs: number };

/** What a user configures; times in milliseconds. */
export type SubscriptionConfiguration = {
  mode: Mode;
  delivery: DeliverySemantics;
  /** Null: all persistent ones, or their events of a correlation. */
  streams: readonly string[] | null;
  correlation: string | null;
  types: readonly string[] | null;
  /** An SQL/JSON path predicate over the data. */
  where: string | null;
  visibilityTimeoutMs: number;
  /** Events that one consumer may hold unsettled. */
  maxInFlight: number;
  maxAttempts: number;
  backoff: Backoff;
  maxConsumers: number | null;
  consumerTimeoutMs: number;
  slots: number;
  onFailure: "pause" | "skip";
  unreadTimeoutMs: number | null;
  onUnreadExpired: "requeue" | "dead-letter" | "drop";
  terminal: readonly string[] | null;
  push: "immediate" | "on-reconnect" | "batched";
  batchIntervalMs: number;
  expiresAfterMs: number | null;
  metadata: Readonly<Record<string, unknown>>;
  /** As which versions the events are handed out. */
  receiveAs: Target;
};

export type Subscription = SubscriptionConfiguration & {
  id: number;
  name: string;
  /** Another one after each change of the configuration. */
  revision: number;
  /** The ephemeral stream whose built-in queue it is. */
  queueOf: string | null;
  /** The place that was given. */
  from: string;
  startPosition: number;
  paused: boolean;
  completedAt: string | null;
  createdAt: string;
};

/** Names of subscriptions and of consumers follow the grammar of streams' names. */
export const subscriptionName = /^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,200}$/;
export const consumerName = /^(?!\.{1,2}$)[A-Za-z0-9._:@-]{1,200}$/;

/** Stands for all persistent streams, outside the grammar of their names. */
export const everyStream = "*";

/** What names the streams; null where a correlation does. */
export function namedStreams({
  streams,
  correlation,
}: Pick<SubscriptionConfiguration, "streams" | "correlation">): readonly string[] | null {
  if (streams !== null) return streams;
  return correlation === null ? [everyStream] : null;
}

/** The name of a stream's built-in queue, outside the grammar of names that users give. */
export const queueName = (stream: string) => `${queuePrefix}${stream}`;
const queuePrefix = "$queue:";

/** The stream whose built-in queue has this name; null for the name of another subscription. */
export const streamOfQueue = (name: string) => (name.startsWith(queuePrefix) ? name.slice(queuePrefix.length) : null);

/** What users call it. */
export const sourceOf = ({ name, queueOf }: Subscription): Source =>
  queueOf === null ? { subscription: name } : { stream: queueOf };

/** Whether each consumer has a cursor of its own. */
export function isPerConsumer(mode: Mode): boolean {
  return mode === "broadcast" || mode === "read-receipt";
}

export function selectionOf({ streams, types, correlation, where }: SubscriptionConfiguration): Selection {
  return { streams, types, correlation, key: null, where };
}
