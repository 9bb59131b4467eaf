// The schemas of subscriptions and of what they hand out.
import { SubscriptionInput } from "../../subscription/registry/configuration.ts";
import type { SubscriptionDescription } from "../../subscription/registry/description.ts";
import { subscriptionName } from "../../subscription/registry/subscription.ts";
import { cursor, decimal } from "./event-schemas.ts";
import { component, type Schema } from "./operation.ts";

const text = (description: string): Schema => ({ type: "string", description });
const orNull = (schema: Schema): Schema => ({ ...schema, type: [schema.type, "null"] });
const whole = (description: string): Schema => ({ type: "integer", minimum: 0, description });
const names = (description: string): Schema => ({ type: ["array", "null"], items: { type: "string" }, description });

const description = {
  id: component("schemas", "SubscriptionName"),
  streams: names("The streams, or `*` alone for all persistent ones; null where a correlation is subscribed to"),
  correlation: orNull(text("The correlationid that is subscribed to")),
  mode: { enum: ["broadcast", "exclusive", "consumer-group", "read-receipt"], description: "Whose each event is" },
  delivery: { enum: ["at-most-once", "at-least-once", "exactly-once"], description: "What is promised" },
  types: names("Only events of these types; null for all"),
  where: orNull(text("Only events whose data satisfies this predicate")),
  from: text("The place at which it began"),
  visibilityTimeout: text("How long a consumer has for an event"),
  maxInFlight: whole("Events that one consumer may hold unsettled"),
  maxAttempts: whole("How often an event is handed out before it is a dead letter"),
  backoff: {
    type: "object",
    description: "The delay between attempts",
    properties: { initial: text("Before the second"), factor: { type: "number" }, max: text("The longest") },
    required: ["initial", "factor", "max"],
  },
  maxConsumers: orNull(whole("Consumers at the same time; null: unlimited")),
  consumerTimeout: text("Silence after which a consumer is no member any more"),
  slots: orNull(whole("Consumer group: parts into which the keys are divided")),
  onFailure: {
    enum: ["pause", "skip", null],
    description: "Consumer group: what becomes of a key when an event of it is given up",
  },
  unreadTimeout: orNull(text("How long a delivered event may stay unread; null: for ever")),
  onUnreadExpired: {
    enum: ["requeue", "dead-letter", "drop", null],
    description: "What becomes of it then; null of other modes than read-receipt",
  },
  terminal: names("Types of events that complete it; null: it goes on for ever"),
  push: { enum: ["immediate", "on-reconnect", "batched"], description: "When event streams are written" },
  batchInterval: orNull(text("Batched: the time between two writes")),
  expiresAfter: orNull(text("Time without any consumer after which it is deleted; null: never")),
  receiveAs: text("As which versions of their types its events are handed out"),
  metadata: { type: "object", description: "As it was given", additionalProperties: true },
  createdAt: { type: "string", format: "date-time", description: "When it was created" },
  state: { enum: ["active", "paused", "completed"], description: "Whether it hands anything out" },
  completedAt: {
    type: ["string", "null"],
    format: "date-time",
    description: "When the event that completed it was settled, and all before it; null while it is not completed",
  },
  position: cursor(
    "Last delivered: everything up to this position has been handed out or does not match, by the slowest of its cursors",
  ),
  floor: cursor("Everything up to this position is settled or does not match, by the slowest of its cursors"),
  inFlight: decimal("Events handed out and not settled"),
  waiting: decimal(
    "Events that wait to be handed out: for another attempt, and in a consumer group also for the member whose they are",
  ),
  parked: decimal("Consumer group: events that wait because their keys are paused"),
  pausedKeys: {
    type: ["object", "null"],
    description: "Consumer group: keys that wait until a dead letter is put back or discarded; null of other modes",
    properties: {
      count: decimal("How many there are"),
      keys: {
        type: "array",
        description:
          "The first of them, in the order of the log: at most 100, and in a list of subscriptions 10 of each",
        items: {
          type: "object",
          properties: {
            key: orNull(text("The partitionkey; null where the event had none, or the dead letter has just gone")),
            position: cursor("Of the event that was given up"),
            deadLetter: orNull(text("The id of its dead letter")),
            since: { type: "string", format: "date-time", description: "When it was paused" },
          },
          required: ["key", "position", "deadLetter", "since"],
        },
      },
    },
    required: ["count", "keys"],
  },
  deadLetters: decimal("Dead letters"),
  lag: component("schemas", "Lag"),
  consumers: whole("Members now"),
} satisfies Record<keyof SubscriptionDescription, Schema>;

const results = (values: string[], description: string): Schema => ({
  type: "array",
  items: { enum: values },
  description,
});

/** The schemas of the components, by name. */
export const subscriptionSchemas: Record<string, Schema> = {
  SubscriptionName: {
    type: "string",
    pattern: subscriptionName.source,
    description: "1 to 200 of A-Z a-z 0-9 . _ - :, but not . or .. alone",
    examples: ["billing"],
  },
  SubscriptionConfiguration: SubscriptionInput,
  SubscriptionDescription: { type: "object", properties: description, required: Object.keys(description) },
  SubscriptionPage: {
    type: "object",
    properties: {
      subscriptions: { type: "array", items: component("schemas", "SubscriptionDescription") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["subscriptions", "next"],
  },
  LiveConnection: {
    type: "object",
    properties: {
      live: { type: "string", format: "uuid" },
      streams: {
        type: "array",
        items: {
          type: "object",
          properties: {
            stream: component("schemas", "StreamName"),
            types: names("Only events of these types"),
            key: orNull(text("Only events with this partitionkey")),
            where: orNull(text("Only events whose data satisfies this predicate")),
            schema: text("As which versions of their types the events are given"),
          },
          required: ["stream", "types", "key", "where", "schema"],
        },
      },
      subscriptions: {
        type: "array",
        items: {
          type: "object",
          properties: {
            subscription: component("schemas", "SubscriptionName"),
            consumer: text("Who consumes"),
            ack: { enum: ["auto", "explicit"] },
          },
          required: ["subscription", "consumer", "ack"],
        },
      },
    },
    required: ["live", "streams", "subscriptions"],
  },
  Lag: {
    type: "object",
    description: "How far a cursor is behind; of a subscription, its slowest cursor",
    properties: {
      events: decimal("Matching events that are not settled: yet to be handed out, handed out, or waiting"),
      atLeast: {
        type: "boolean",
        description: "There may be more: where filters apply, so many are looked at and no more",
      },
      seconds: { type: "number", minimum: 0, description: "How long the oldest of them has been in the log" },
    },
    required: ["events", "atLeast", "seconds"],
  } satisfies Schema,
  Delivery: {
    type: "object",
    properties: {
      event: component("schemas", "Event"),
      token: { type: "string", description: "Settles, extends or gives it back" },
      attempt: { type: "integer", minimum: 1, description: "How often it has been handed out, this time included" },
      deadline: {
        type: ["string", "null"],
        format: "date-time",
        description: "Until when it is the consumer's; null: it was given away for good",
      },
    },
    required: ["event", "token", "attempt", "deadline"],
  },
  Claim: {
    type: "object",
    properties: {
      deliveries: { type: "array", items: component("schemas", "Delivery") },
      completed: { const: true, description: "There is nothing to come any more; not there while there may be" },
    },
    required: ["deliveries"],
  },
  Settlements: {
    type: "object",
    properties: {
      results: results(
        ["settled", "already-settled", "stale"],
        "One for each token: settled now; settled before; or not (any more) a token of an open event, which changed nothing",
      ),
    },
    required: ["results"],
  },
  Extensions: {
    type: "object",
    properties: {
      results: results(["extended", "already-settled", "stale"], "One for each token"),
      deadline: {
        type: ["string", "null"],
        format: "date-time",
        description: "The new deadline; null when nothing was extended",
      },
    },
    required: ["results", "deadline"],
  },
};
