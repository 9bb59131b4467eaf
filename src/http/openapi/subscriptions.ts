// The documents of the operations on subscriptions themselves.
import type { ProblemCode } from "../../base/errors.ts";
import type { SubscriptionDescription } from "../../subscription/registry/description.ts";
import { component, type Operation, problems, type ResponseObject, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

export const billing: SubscriptionDescription = {
  id: "billing",
  streams: ["orders"],
  correlation: null,
  mode: "exclusive",
  delivery: "at-least-once",
  types: ["OrderPlaced"],
  where: "$.amount > 0",
  from: "beginning",
  visibilityTimeout: "30s",
  maxInFlight: 1_000,
  maxAttempts: 5,
  backoff: { initial: "1s", factor: 2, max: "1m" },
  maxConsumers: null,
  consumerTimeout: "1m",
  slots: null,
  onFailure: null,
  unreadTimeout: null,
  onUnreadExpired: null,
  terminal: null,
  push: "immediate",
  batchInterval: null,
  expiresAfter: null,
  receiveAs: "stored",
  metadata: { team: "finance" },
  createdAt: "2026-11-20T08:00:00.000Z",
  state: "active",
  completedAt: null,
  position: "1044",
  floor: "1041",
  inFlight: "3",
  waiting: "0",
  parked: "0",
  pausedKeys: null,
  deadLetters: "0",
  lag: { events: "5", atLeast: false, seconds: 2.41 },
  consumers: 2,
};

const refusals = [
  "invalid-subscription-name",
  "invalid-parameter",
  "uri-too-long",
  ...serviceFailures,
] as const satisfies ProblemCode[];

const described = (description: string): ResponseObject => ({
  description,
  content: {
    "application/json": {
      schema: component("schemas", "SubscriptionDescription"),
      examples: { billing: { value: billing } },
    },
  },
});

const page: ResponseObject = {
  description: "A page of subscriptions.",
  content: {
    "application/json": {
      schema: component("schemas", "SubscriptionPage"),
      examples: { page: { value: { subscriptions: [billing], next: null } } },
    },
  },
};

export const listSubscriptions: Operation = {
  operationId: "listSubscriptions",
  summary: "List subscriptions",
  description:
    "The subscriptions, in the order of their names by code point, page by page; built-in queues stand with their streams.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionAfter", "SubscriptionLimit"),
  responses: { "200": page, ...problems(...refusals) },
};

export const listStreamSubscriptions: Operation = {
  operationId: "listStreamSubscriptions",
  summary: "List the subscriptions of a stream",
  description: "The subscriptions that name the stream.",
  tags: ["Subscriptions"],
  parameters: use("StreamName", "SubscriptionAfter", "SubscriptionLimit"),
  responses: { "200": page, ...problems(...refusals, "invalid-stream-name") },
};

export const getSubscription: Operation = {
  operationId: "getSubscription",
  summary: "Describe a subscription",
  description: "Its configuration, and where it stands.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName"),
  responses: { "200": described("The subscription."), ...problems(...refusals, "subscription-not-found") },
};

export const putSubscription: Operation = {
  operationId: "putSubscription",
  summary: "Create or reconfigure a subscription",
  description:
    "Sets the whole configuration: a key that is not given takes its default. Where it stands in the log does not change; its streams need not exist yet. A completed subscription that is asked for other events, or to end with others, goes on behind its end.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName"),
  requestBody: {
    required: true,
    description: "The configuration. It is read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: component("schemas", "SubscriptionConfiguration"),
        examples: {
          exclusive: {
            summary: "Competing consumers",
            value: { stream: "orders", mode: "exclusive", from: "beginning" },
          },
          workflow: {
            summary: "The events of one process, until it is closed",
            value: { correlation: "wf-7", from: "beginning", terminal: ["OrderClosed"], expiresAfter: "30d" },
          },
          filtered: {
            summary: "Each consumer gets large orders",
            value: { stream: "orders", types: ["OrderPlaced"], where: "$.amount > 1000" },
          },
        },
      },
    },
  },
  responses: {
    "200": described("The subscription was there and has this configuration now."),
    "201": described("The subscription was created."),
    ...problems(
      ...refusals,
      "invalid-place",
      "invalid-filter",
      "cursor-beyond-head",
      "malformed-body",
      "request-timeout",
      "subscription-in-use",
      "body-too-large",
      "unsupported-media-type",
      "invalid-configuration",
      "outcome-unknown",
      "forbidden",
    ),
  },
};

export const deleteSubscription: Operation = {
  operationId: "deleteSubscription",
  summary: "Delete a subscription",
  description: "With its cursors, what is out, and its dead letters. Tokens of its deliveries are stale from then on.",
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName"),
  responses: {
    "204": { description: "It is gone." },
    ...problems(...refusals, "forbidden", "subscription-not-found", "outcome-unknown"),
  },
};

const pausing = (operationId: string, summary: string, description: string): Operation => ({
  operationId,
  summary,
  description,
  tags: ["Subscriptions"],
  parameters: use("SubscriptionName"),
  responses: {
    "200": described("The subscription."),
    ...problems(...refusals, "forbidden", "subscription-not-found", "outcome-unknown"),
  },
});

export const pauseSubscription = pausing(
  "pauseSubscription",
  "Pause a subscription",
  "It hands nothing out; what is out can be settled.",
);
export const resumeSubscription = pausing("resumeSubscription", "Resume a subscription", "It goes on where it stood.");
