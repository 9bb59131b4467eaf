// The documents of consuming by request: claims, acks, nacks and extensions.
import type { ProblemCode } from "../../base/errors.ts";
import { AckInput, ClaimInput, ExtensionInput, NackInput } from "../claims.ts";
import { component, type Example, type Operation, problems, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const refusals = [
  "invalid-parameter",
  "uri-too-long",
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "invalid-request",
  "outcome-unknown",
  "shutting-down",
  ...serviceFailures,
] as const satisfies ProblemCode[];
const ofSubscription = [
  "invalid-subscription-name",
  "subscription-not-found",
  "too-many-consumers",
] as const satisfies ProblemCode[];
const ofQueue = ["invalid-stream-name", "stream-not-found", "not-a-queue"] as const satisfies ProblemCode[];

const token = "1.1.k5h2m9x0ab.0.Zk3v9Qm1Yt7uWc0aPq2x.sy";

function operation(
  of: "subscription" | "queue",
  operationId: string,
  summary: string,
  description: string,
  input: Schema,
  request: Example,
  answer: { schema: string; example: unknown; description: string },
): Operation {
  return {
    operationId,
    summary,
    description: of === "queue" ? `${description} Of the built-in queue of an ephemeral stream.` : description,
    tags: ["Subscriptions"],
    parameters: use(of === "queue" ? "StreamName" : "SubscriptionName"),
    requestBody: {
      required: true,
      description: "Read as JSON, whatever the content type says.",
      content: { "application/json": { schema: input, examples: { request } } },
    },
    responses: {
      "200": {
        description: answer.description,
        content: {
          "application/json": {
            schema: component("schemas", answer.schema),
            examples: { answer: { value: answer.example } },
          },
        },
      },
      ...problems(...refusals, ...(of === "queue" ? ofQueue : ofSubscription)),
    },
  };
}

export const delivery = {
  event: {
    specversion: "1.0",
    id: "019aa5b2-7f00-7000-8000-3f1a2b3c4d5e",
    type: "MailRequested",
    source: "/sluice/streams/mails",
    time: "2026-11-21T10:00:00.000Z",
    datacontenttype: "application/json",
    stream: "mails",
    offset: "17",
    position: "1042",
    recordedtime: "2026-11-21T10:00:00.004Z",
    schemaversion: "1",
    data: { to: "ada@example.com" },
  },
  token,
  attempt: 1,
  deadline: "2026-11-21T10:00:30.010Z",
};

const claimOf = (of: "subscription" | "queue", operationId: string) =>
  operation(
    of,
    operationId,
    "Claim events",
    "Hands out events to a consumer, who has until the deadline to settle each by its token. Due attempts come first, then what is new. With `wait`, the answer comes as soon as there is something. When the subscription is completed for this consumer it comes at once, with `completed`.",
    ClaimInput,
    { value: { consumer: "worker-1", max: 10, wait: "20s" } },
    {
      schema: "Claim",
      example: { deliveries: [delivery] },
      description: "What was handed out; nothing when there is nothing.",
    },
  );

const acknowledgeOf = (of: "subscription" | "queue", operationId: string) =>
  operation(
    of,
    operationId,
    "Acknowledge deliveries",
    "Settles events for good. Answered after the commit, one result for each token in the order given.",
    AckInput,
    { value: { tokens: [token] } },
    { schema: "Settlements", example: { results: ["settled"] }, description: "What became of each token." },
  );

const giveBackOf = (of: "subscription" | "queue", operationId: string) =>
  operation(
    of,
    operationId,
    "Give deliveries back",
    "For another attempt, to the dead letters, or to drop them.",
    NackInput,
    { value: { tokens: [token], action: "requeue", delay: "10s", reason: "the mail server is away" } },
    {
      schema: "Settlements",
      example: { results: ["settled"] },
      description: "What became of each token: `settled` means that it was taken back.",
    },
  );

const extendOf = (of: "subscription" | "queue", operationId: string) =>
  operation(
    of,
    operationId,
    "Extend deadlines",
    "Gives the consumer more time for its events.",
    ExtensionInput,
    { value: { tokens: [token], visibilityTimeout: "5m" } },
    {
      schema: "Extensions",
      example: { results: ["extended"], deadline: "2026-11-21T10:05:00.010Z" },
      description: "What became of each token, and the new deadline.",
    },
  );

export const claim = claimOf("subscription", "claim");
export const acknowledge = acknowledgeOf("subscription", "acknowledge");
export const giveBack = giveBackOf("subscription", "giveBack");
export const extend = extendOf("subscription", "extend");
export const claimFromQueue = claimOf("queue", "claimFromQueue");
export const acknowledgeQueue = acknowledgeOf("queue", "acknowledgeQueue");
export const giveBackQueue = giveBackOf("queue", "giveBackQueue");
export const extendQueue = extendOf("queue", "extendQueue");
