// The documents of dead letters: their lists, putting back, discarding.
import type { ProblemCode } from "../../base/errors.ts";
import { DeadLetterChoice } from "../dead-letters.ts";
import { delivery } from "./claims.ts";
import { component, type Operation, problems, type Schema, serviceFailures } from "./operation.ts";
import { type ParameterName, use } from "./parameters.ts";

type Of = "subscription" | "queue";

const letter = {
  id: "7",
  event: delivery.event,
  consumer: "worker-1",
  reason: "max-attempts",
  attempts: 5,
  firstError: "the mail server is away",
  firstFailedAt: "2026-11-21T10:00:01.000Z",
  lastError: "not settled in time",
  lastFailedAt: "2026-11-21T10:02:11.000Z",
  deadAt: "2026-11-21T10:02:11.000Z",
};

const refusals = (of: Of): ProblemCode[] => [
  "invalid-parameter",
  "uri-too-long",
  ...(of === "queue"
    ? (["invalid-stream-name", "stream-not-found", "not-a-queue"] as const)
    : (["invalid-subscription-name", "subscription-not-found"] as const)),
  ...serviceFailures,
];
const bodyRefusals = [
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "invalid-request",
  "outcome-unknown",
  "forbidden",
] as const satisfies ProblemCode[];

function operation(of: Of, parts: Omit<Operation, "tags" | "parameters">, ...more: ParameterName[]): Operation {
  const description =
    of === "queue" ? `${parts.description} Of the built-in queue of an ephemeral stream.` : parts.description;
  const name = of === "queue" ? "StreamName" : "SubscriptionName";
  return { ...parts, description, tags: ["Subscriptions"], parameters: use(name, ...more) };
}

const ok = (description: string, schema: Schema, name: string, value: unknown) => ({
  description,
  content: { "application/json": { schema, examples: { [name]: { value } } } },
});

const list = (of: Of, operationId: string) =>
  operation(
    of,
    {
      operationId,
      summary: "List dead letters",
      description:
        "The events that were given up, oldest first, with their content, which outlives the stream's, and what happened to them.",
      responses: {
        "200": ok(
          "A page of dead letters; fewer than `limit` when they are large.",
          component("schemas", "DeadLetterPage"),
          "page",
          {
            deadLetters: [letter],
            next: null,
          },
        ),
        ...problems(...refusals(of)),
      },
    },
    "DeadLetterAfter",
    "DeadLetterLimit",
  );

const get = (of: Of, operationId: string) =>
  operation(
    of,
    {
      operationId,
      summary: "Show a dead letter",
      description: "One event that was given up.",
      responses: {
        "200": ok("The dead letter.", component("schemas", "DeadLetter"), "letter", letter),
        ...problems(...refusals(of), "dead-letter-not-found"),
      },
    },
    "DeadLetterId",
  );

const change = (of: Of, operationId: string, summary: string, description: string, count: "replayed" | "discarded") =>
  operation(of, {
    operationId,
    summary,
    description,
    requestBody: {
      required: true,
      description: "Either `ids` or `all`. Read as JSON, whatever the content type says.",
      content: {
        "application/json": {
          schema: DeadLetterChoice,
          examples: { some: { value: { ids: ["7"] } }, all: { value: { all: true } } },
        },
      },
    },
    responses: {
      "200": ok(
        "How many.",
        {
          type: "object",
          properties: { [count]: { type: "integer", minimum: 0 } },
          required: [count],
        },
        "one",
        { [count]: 1 },
      ),
      ...problems(...refusals(of), ...bodyRefusals),
    },
  });

const replay = (of: Of, operationId: string) =>
  change(
    of,
    operationId,
    "Put dead letters back",
    "Hands them out again at once, as if for the first time: attempts count from one. That works also when the stream has forgotten the event. A key of a consumer group that was paused for one goes on.",
    "replayed",
  );
const discard = (of: Of, operationId: string) =>
  change(
    of,
    operationId,
    "Discard dead letters",
    "Removes them for good. A key of a consumer group that was paused for one goes on.",
    "discarded",
  );

export const listDeadLetters = list("subscription", "listDeadLetters");
export const getDeadLetter = get("subscription", "getDeadLetter");
export const replayDeadLetters = replay("subscription", "replayDeadLetters");
export const discardDeadLetters = discard("subscription", "discardDeadLetters");
export const listQueueDeadLetters = list("queue", "listQueueDeadLetters");
export const getQueueDeadLetter = get("queue", "getQueueDeadLetter");
export const replayQueueDeadLetters = replay("queue", "replayQueueDeadLetters");
export const discardQueueDeadLetters = discard("queue", "discardQueueDeadLetters");
