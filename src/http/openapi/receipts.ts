// The documents of read receipts: what a consumer has not read, and that it has.
import type { ProblemCode } from "../../base/errors.ts";
import { consumerName } from "../../subscription/registry/subscription.ts";
import { ReadingInput } from "../receipts.ts";
import { eventExamples } from "./event-examples.ts";
import { decimal } from "./event-schemas.ts";
import { component, type Operation, problems, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const count = decimal("Unread events, counted up to 10000");
const atLeast: Schema = {
  type: "boolean",
  description: "Whether there may be more: there are more than 10000, or counting took too long",
};

/** The schemas of the components, by name. */
export const receiptSchemas: Record<string, Schema> = {
  ConsumerName: {
    type: "string",
    pattern: consumerName.source,
    description: "1 to 200 of A-Z a-z 0-9 . _ - : @, but not . or .. alone",
    examples: ["worker-1"],
  },
  UnreadCount: { type: "object", properties: { count, atLeast }, required: ["count", "atLeast"] },
  UnreadPage: {
    type: "object",
    properties: {
      count,
      atLeast,
      events: { type: "array", items: component("schemas", "Event") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["count", "atLeast", "events", "next"],
  },
  ReadCount: {
    type: "object",
    properties: { read: { type: "integer", minimum: 0, description: "Events that were unread before" } },
    required: ["read"],
  },
};

const refusals = [
  "invalid-subscription-name",
  "invalid-parameter",
  "uri-too-long",
  "subscription-not-found",
  "consumer-not-found",
  "no-receipts",
  ...serviceFailures,
] as const satisfies ProblemCode[];

export const listUnread: Operation = {
  operationId: "listUnread",
  summary: "What a consumer has not read",
  description:
    "Everything that a consumer of a read-receipt subscription is entitled to and has not read, in the order of the log: what was delivered, what is handed out, and what is yet to come to it. A silent consumer keeps all of it.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName", "UnreadAfter", "UnreadLimit", "CountOnly"),
  responses: {
    "200": {
      description: "A page of events, or the count alone.",
      content: {
        "application/json": {
          schema: { anyOf: [component("schemas", "UnreadPage"), component("schemas", "UnreadCount")] },
          examples: {
            page: { value: { count: "1", atLeast: false, events: eventExamples.slice(0, 1), next: null } },
            count: { value: { count: "10000", atLeast: true } },
          },
        },
      },
    },
    ...problems(...refusals),
  },
};

export const markRead: Operation = {
  operationId: "markRead",
  summary: "Mark events as read",
  description:
    "By their ids, up to a position, or all there are now. What was not delivered yet is settled by it too, and is never handed out.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: ReadingInput,
        examples: {
          ids: { value: { ids: ["order-1-placed"] } },
          upTo: { value: { upTo: "1042" } },
          all: { value: { all: true } },
        },
      },
    },
  },
  responses: {
    "200": {
      description: "How many were unread and are read now; 0 when all had been read before.",
      content: {
        "application/json": {
          schema: component("schemas", "ReadCount"),
          examples: { read: { value: { read: 1 } } },
        },
      },
    },
    ...problems(
      ...refusals,
      "malformed-body",
      "request-timeout",
      "body-too-large",
      "unsupported-media-type",
      "invalid-request",
      "outcome-unknown",
    ),
  },
};
