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

type Of = "subscription" | "queue";

const refusals = (of: Of): ProblemCode[] => [
  ...(of === "queue"
    ? (["invalid-stream-name", "stream-not-found", "not-a-queue"] as const)
    : (["invalid-subscription-name", "subscription-not-found"] as const)),
  "invalid-parameter",
  "uri-too-long",
  ...serviceFailures,
];

const mark = { processed: true, eventId: "order-1-placed", consumer: "worker-1", at: "2026-11-21T10:00:01.004Z" };
const answer = (description: string): ResponseObject => ({
  description,
  content: { "application/json": { schema: component("schemas", "Processed"), examples: { mark: { value: mark } } } },
});

const parametersOf = (of: Of) => use(of === "queue" ? "StreamName" : "SubscriptionName", "ConsumerName", "EventId");

const find = (of: Of, operationId: string): Operation => ({
  operationId,
  summary: "Whether an event was processed",
  description:
    of === "queue"
      ? "By any consumer of the built-in queue of an ephemeral stream. Remembered for PROCESSED_WINDOW, by default 7 days."
      : "Of the consumer where each has its own events, else of any consumer of the subscription. Remembered for PROCESSED_WINDOW, by default 7 days.",
  tags: ["Subscriptions"],
  parameters: parametersOf(of),
  responses: { "200": answer("It was."), ...problems(...refusals(of), "not-processed") },
});

const markOf = (of: Of, operationId: string): Operation => ({
  operationId,
  summary: "Mark an event as processed",
  description: `Once, by the consumer that holds it, before it acknowledges it. From then on the event is not handed out again, also when the consumer dies before it acknowledges: its lease is settled when it runs out.${
    of === "queue" ? " Of the built-in queue of an ephemeral stream." : ""
  }`,
  tags: ["Subscriptions"],
  parameters: parametersOf(of),
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
      ...refusals(of),
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
});

export const getProcessed = find("subscription", "getProcessed");
export const putProcessed = markOf("subscription", "markProcessed");
export const getQueueProcessed = find("queue", "getQueueProcessed");
export const putQueueProcessed = markOf("queue", "markQueueProcessed");
