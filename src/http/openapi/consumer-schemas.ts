// The schemas of consumers and of dead letters.
import type { ConsumerDescription } from "../../subscription/registry/consumers.ts";
import { cursor, decimal } from "./event-schemas.ts";
import { component, type Schema } from "./operation.ts";

const time = (description: string): Schema => ({ type: ["string", "null"], format: "date-time", description });

const description = {
  consumer: component("schemas", "ConsumerName"),
  member: { type: "boolean", description: "False: it fell silent, and only its cursor is left" },
  metadata: { type: "object", description: "As it was given", additionalProperties: true },
  registeredAt: time("Since when it is a member; null: it is none"),
  lastSeenAt: time("When it was heard of last, about; null: it is no member"),
  position: cursor("Where its cursor stands: everything up to here was handed out or does not match"),
  floor: cursor("Everything up to this position is settled or does not match"),
  inFlight: decimal("Events that it holds"),
  waiting: decimal(
    "Events that wait for it alone: of a cursor of its own those for another attempt, in a consumer group those of its keys",
  ),
  setAside: {
    type: "boolean",
    description: "Consumer group: it took nothing of what waited for it, and its keys went to the others for now",
  },
  lag: component("schemas", "Lag"),
  deadLetters: decimal("Events that were given up in its hands"),
} satisfies Record<keyof ConsumerDescription, Schema>;

/** The schemas of the components, by name. */
export const consumerSchemas: Record<string, Schema> = {
  DeadLetter: {
    type: "object",
    properties: {
      id: { type: "string", pattern: "^[0-9]+$" },
      event: component("schemas", "Event"),
      consumer: { type: ["string", "null"], description: "In whose hands it was given up" },
      reason: {
        enum: ["rejected", "max-attempts"],
        description: "rejected: by a consumer, or not read in time; max-attempts: handed out as often as is allowed",
      },
      attempts: { type: "integer", minimum: 0, description: "How often it was handed out in vain" },
      firstError: { type: "string" },
      firstFailedAt: { type: "string", format: "date-time" },
      lastError: {
        type: "string",
        description: "What the last nack gave as its reason, or what became of the attempt",
      },
      lastFailedAt: { type: "string", format: "date-time" },
      deadAt: { type: "string", format: "date-time", description: "When it was given up" },
    },
    required: [
      "id",
      "event",
      "consumer",
      "reason",
      "attempts",
      "firstError",
      "firstFailedAt",
      "lastError",
      "lastFailedAt",
      "deadAt",
    ],
  },
  DeadLetterPage: {
    type: "object",
    properties: {
      deadLetters: { type: "array", items: component("schemas", "DeadLetter") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["deadLetters", "next"],
  },
  ConsumerDescription: { type: "object", properties: description, required: Object.keys(description) },
  ConsumerPage: {
    type: "object",
    properties: {
      consumers: { type: "array", items: component("schemas", "ConsumerDescription") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["consumers", "next"],
  },
};
