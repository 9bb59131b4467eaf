// The documents of the operations on consumers and their cursors.
import type { ProblemCode } from "../../base/errors.ts";
import type { ConsumerDescription } from "../../subscription/registry/consumers.ts";
import { ConsumerInput, ResetInput } from "../consumers.ts";
import { component, type Operation, problems, type ResponseObject, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";
import { billing } from "./subscriptions.ts";

const worker: ConsumerDescription = {
  consumer: "worker-1",
  member: true,
  metadata: { host: "app-7" },
  registeredAt: "2026-11-21T09:00:00.000Z",
  lastSeenAt: "2026-11-21T10:00:00.000Z",
  position: "1044",
  floor: "1041",
  inFlight: "3",
  waiting: "0",
  setAside: false,
  lag: { events: "5", atLeast: false, seconds: 2.41 },
  deadLetters: "0",
};

const refusals = [
  "invalid-subscription-name",
  "invalid-parameter",
  "uri-too-long",
  "subscription-not-found",
  ...serviceFailures,
] as const satisfies ProblemCode[];
const bodyRefusals = [
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "invalid-request",
  "invalid-place",
  "cursor-beyond-head",
  "outcome-unknown",
] as const satisfies ProblemCode[];

const described = (description: string): ResponseObject => ({
  description,
  content: {
    "application/json": {
      schema: component("schemas", "ConsumerDescription"),
      examples: { worker: { value: worker } },
    },
  },
});

const body = (schema: Schema, required: boolean, value: unknown): NonNullable<Operation["requestBody"]> => ({
  required,
  description: "Read as JSON, whatever the content type says.",
  content: { "application/json": { schema, examples: { request: { value } } } },
});

export const listConsumers: Operation = {
  operationId: "listConsumers",
  summary: "List consumers",
  description:
    "The consumers of a subscription, in the order of their names by code point, page by page: its members, and those who fell silent but left a cursor of their own.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerAfter", "ConsumerLimit"),
  responses: {
    "200": {
      description: "A page of consumers.",
      content: {
        "application/json": {
          schema: component("schemas", "ConsumerPage"),
          examples: { page: { value: { consumers: [worker], next: null } } },
        },
      },
    },
    ...problems(...refusals),
  },
};

export const getConsumer: Operation = {
  operationId: "getConsumer",
  summary: "Describe a consumer",
  description: "When it was heard of, where its cursor stands, what it holds, and how far it is behind.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName"),
  responses: { "200": described("The consumer."), ...problems(...refusals, "consumer-not-found") },
};

export const putConsumer: Operation = {
  operationId: "putConsumer",
  summary: "Register a consumer",
  description:
    "Makes it a member, or sets the metadata of one that is there. Claiming and following register too; a consumer that is silent for the subscription's `consumerTimeout` is no member any more.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName"),
  requestBody: body(ConsumerInput, false, { metadata: { host: "app-7" } }),
  responses: {
    "200": described("It was a member and has this metadata now."),
    "201": described("It is a member now."),
    ...problems(...refusals, ...bodyRefusals, "too-many-consumers"),
  },
};

export const deleteConsumer: Operation = {
  operationId: "deleteConsumer",
  summary: "Remove a consumer",
  description:
    "Ends its membership: what it holds of a shared cursor goes to others at once, and a cursor of its own is forgotten. Its dead letters stay. If it asks again, it is a new consumer.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName"),
  responses: {
    "204": { description: "It is gone." },
    ...problems(...refusals, "consumer-not-found", "outcome-unknown"),
  },
};

export const heartbeat: Operation = {
  operationId: "heartbeat",
  summary: "Say that a consumer is alive",
  description: "For a consumer that works on one thing for long; who claims or follows is heard of anyway.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName"),
  responses: { "204": { description: "Noted." }, ...problems(...refusals, "consumer-not-found", "outcome-unknown") },
};

const resetting =
  "What is out is dropped and its tokens are stale; what waits, is parked or unread is dropped; attempts and marks of having been processed are forgotten, and paused keys go on. Dead letters stay. `latest` passes over everything there is.";

export const resetConsumer: Operation = {
  operationId: "resetConsumer",
  summary: "Reset a consumer's cursor",
  description: `Moves the cursor of a consumer of a broadcast or read-receipt subscription. ${resetting}`,
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName", "ConsumerName"),
  requestBody: body(ResetInput, true, { to: "time:2026-11-21T00:00:00Z" }),
  responses: {
    "200": described("The consumer."),
    ...problems(...refusals, ...bodyRefusals, "forbidden", "consumer-not-found", "cursor-elsewhere"),
  },
};

export const resetSubscription: Operation = {
  operationId: "resetSubscription",
  summary: "Reset a subscription's cursor",
  description: `Moves the cursor that all consumers of an exclusive or consumer-group subscription share. ${resetting}`,
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName"),
  requestBody: body(ResetInput, true, { to: "beginning" }),
  responses: {
    "200": {
      description: "The subscription.",
      content: {
        "application/json": {
          schema: component("schemas", "SubscriptionDescription"),
          examples: { billing: { value: billing } },
        },
      },
    },
    ...problems(...refusals, ...bodyRefusals, "forbidden", "cursor-elsewhere"),
  },
};
