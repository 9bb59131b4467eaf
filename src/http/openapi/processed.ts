// The documents of processed events: whether an event was processed, and that it is.
import type { ProblemCode } from "../../base/errors.ts";
import { MarkInput } from "../processed.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

/** The schemas of the components, by name. */
export const processedSchemas: Record<string, Schema> = {
  Processed: {
    type: "object",
    properties: {
      processed: { const: true },
      eventId: { type: "string" },
      consumer: { type: "string", description: "Who marked it" },
      at: { type: "string", format: "date-time", description: "When" },
    },
    required: ["processed", "eventId", "consumer", "at"],
  },
};

const refusals = [
  "invalid-subscription-name",
  "invalid-parameter",
  "uri-too-long",
  "subscription-not-found",
  ...serviceFailures,
] as const satisfies ProblemCode[];

const mark = { processed: true, eventId: "order-1-placed", consumer: "worker-1", at: "2026-11-21T10:00:01.004Z" };
const answer = (description: string): ResponseObject => ({
  description,
  content: { "application/json": { schema: component("schemas", "Processed"), examples: { mark: { value: mark } } } },
});

export const getProcessed: Operation = {
  operationId: "getProcessed",
  summary: "Whether an event was processed",
  description:
    "Of the consumer where each has its own events, else of any consumer of the subscription. Remembered for PROCESSED_WINDOW, by default 7 days.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName", "EventId"),
  responses: { "200": answer("It was."), ...problems(...refusals, "not-processed") },
};

export const putProcessed: Operation = {
  operationId: "markProcessed",
  summary: "Mark an event as processed",
  description:
    "Once, by the consumer that holds it, before it acknowledges it. From then on the event is not handed out again, also when the consumer dies before it acknowledges: its lease is settled when it runs out.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName", "EventId"),
  requestBody: {
    required: true,
    description: "Read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: MarkInput,
        examples: { request: { value: { token: "1.1.k5h2m9x0ab.0.Zk3v9Qm1Yt7uWc0aPq2x.sy" } } },
      },
    },
  },
  responses: {
    "200": answer("The same delivery had marked it before."),
    "201": answer("It is marked."),
    ...problems(
      ...refusals,
      "stale-token",
      "already-processed",
      "malformed-body",
      "request-timeout",
      "body-too-large",
      "unsupported-media-type",
      "invalid-request",
      "outcome-unknown",
    ),
  },
};
