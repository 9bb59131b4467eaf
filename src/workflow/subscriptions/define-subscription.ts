// Defines subscriptions: their configuration, which is put at the start, and the handlers that consume them in this process.
import type { Static, TSchema } from "@sinclair/typebox";
import { subscriptionName } from "../../subscription/registry/subscription.ts";
import type { EventType } from "../events/event-type.ts";
import type { EventContext } from "../events/recorded-event.ts";
import { requireDuration } from "../module/definition.ts";
import { nameOf, type StreamDefinition } from "../module/stream-definition.ts";
import type { HandledDelivery } from "./handled-delivery.ts";

/** Of the body of `PUT /api/subscriptions/{id}`. */
export type SubscriptionConfigurationOptions = {
  mode?: "broadcast" | "exclusive" | "consumer-group" | "read-receipt";
  delivery?: "at-most-once" | "at-least-once" | "exactly-once";
  /** Default: those that have handlers, and those of `terminal`; all, where there are no handlers. */
  types?: readonly string[];
  where?: string;
  /** A place, by which the first start goes. Default: `latest`. */
  from?: string;
  visibilityTimeout?: string;
  maxInFlight?: number;
  maxAttempts?: number;
  backoff?: { initial?: string; factor?: number; max?: string };
  maxConsumers?: number;
  consumerTimeout?: string;
  slots?: number;
  onFailure?: "pause" | "skip";
  unreadTimeout?: string;
  onUnreadExpired?: "requeue" | "dead-letter" | "drop";
  terminal?: readonly string[];
  push?: "immediate" | "on-reconnect" | "batched";
  batchInterval?: string;
  expiresAfter?: string;
  metadata?: Readonly<Record<string, unknown>>;
  /** As which versions events are handed out, where there are no handlers: those get the newest that their module knows. */
  receiveAs?: string | number;
};

/** How handlers are called. */
export type HandlingOptions = {
  /** Under which name events are consumed. Default: the module's name; in a consumer group with an id of this process behind it. */
  consumer?: string;
  /** How long a handler may take, `10ms` to `1h`. Default: `30s`. */
  timeout?: string;
  /** Events that are handled at the same time, 1 to 1000; of a consumer group those of one key never are. Default: 1. */
  concurrency?: number;
};

export type SubscriptionOptions = SubscriptionConfigurationOptions &
  HandlingOptions & {
    /** `*` for all persistent streams. Or `streams`, or `correlation`. */
    stream?: string | StreamDefinition;
    streams?: readonly (string | StreamDefinition)[];
    correlation?: string;
  };

/**
 * Handles an event; it is acknowledged when this is done, and comes again, by the subscription's backoff, when it throws. It may
 * come twice, after a crash: what it does has to bear that.
 */
export type EventHandler<Latest extends TSchema> = (
  data: Static<Latest>,
  event: EventContext,
  delivery: HandledDelivery,
) => void | Promise<void>;

export type HandledType = {
  readonly type: EventType;
  readonly handle: (data: unknown, event: EventContext, delivery: HandledDelivery) => unknown;
};

/** A subscription; `on` returns it with a handler of one more event type. */
export type SubscriptionDefinition = {
  readonly kind: "subscription";
  readonly name: string;
  /** What is put. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly consumer: string | null;
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly handlers: readonly HandledType[];
  on<Name extends string, Latest extends TSchema>(
    type: EventType<Name, Latest>,
    handler: EventHandler<Latest>,
  ): SubscriptionDefinition;
};

/** Unless something else is given: enough for handlers to have always something to do. */
const defaultInFlight = 100;
const maxConcurrency = 1_000;

/**
 * A subscription that a module brings along. Without handlers it is configured, and consumed over HTTP. Throws on a name that is
 * none; the configuration is checked as the service starts.
 */
export function defineSubscription(name: string, options: SubscriptionOptions): SubscriptionDefinition {
  if (!subscriptionName.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a subscription`);
  const { stream, streams, consumer, timeout = "30s", concurrency = 1, ...rest } = options;
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > maxConcurrency)
    throw new Error(
      `subscription ${name}: concurrency must be a whole number from 1 to ${maxConcurrency}, not ${concurrency}`,
    );
  const configuration: Record<string, unknown> = { ...rest };
  if (stream !== undefined) configuration.stream = nameOf(stream);
  if (streams !== undefined) configuration.streams = streams.map(nameOf);
  const base = {
    kind: "subscription" as const,
    name,
    consumer: consumer ?? null,
    timeoutMs: requireDuration(`subscription ${name}: timeout`, timeout, 10, 3_600_000),
    concurrency,
  };
  const build = (handlers: readonly HandledType[]): SubscriptionDefinition => ({
    ...base,
    body: handlers.length === 0 ? configuration : handled(configuration, handlers),
    handlers,
    on(type, handler) {
      if (handlers.some((other) => other.type.name === type.name))
        throw new Error(`subscription ${name} handles ${type.name} twice`);
      if (options.receiveAs !== undefined)
        throw new Error(`subscription ${name} has handlers, which get the newest version: leave receiveAs out`);
      if (options.mode === "read-receipt")
        throw new Error(`subscription ${name} is read-receipt, for people who read: it cannot have handlers`);
      return build([...handlers, { type: type as unknown as EventType, handle: handler as HandledType["handle"] }]);
    },
  });
  return build([]);
}

function handled(configuration: Record<string, unknown>, handlers: readonly HandledType[]): Record<string, unknown> {
  return {
    types: handlers.map(({ type }) => type.name),
    maxInFlight: defaultInFlight,
    ...configuration,
  };
}
