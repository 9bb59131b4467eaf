// The documents of the outbox.
import type { ProblemCode } from "../../base/errors.ts";
import { FailureChoice } from "../outbox.ts";
import { component, type Operation, problems, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const time = (description: string): Schema => ({ type: "string", format: "date-time", description });
const text = (description: string): Schema => ({ type: "string", description });
const counted = (description: string, more: Record<string, Schema> = {}): Schema => ({
  type: "object",
  description,
  properties: {
    count: { type: "string", pattern: "^[0-9]+$", description: "How many; it is counted up to 10000" },
    atLeast: { type: "boolean", description: "There may be more" },
    ...more,
  },
  required: ["count", "atLeast", ...Object.keys(more)],
});

/** The schemas of the components, by name. */
export const outboxSchemas: Record<string, Schema> = {
  Outbox: {
    type: "object",
    properties: {
      waiting: counted("Rows that are to become events", {
        since: { type: ["string", "null"], format: "date-time", description: "When the oldest of them was inserted" },
      }),
      failed: counted("Rows that cannot become events"),
    },
    required: ["waiting", "failed"],
  },
  FailedRow: {
    type: "object",
    properties: {
      id: text("Of the row"),
      stream: component("schemas", "StreamName"),
      type: text("Of the event that it was to be"),
      eventId: { type: ["string", "null"], description: "Its id, if the row gave one" },
      createdAt: time("When it was inserted"),
      failedAt: time("When it was set aside"),
      failure: text("Why"),
    },
    required: ["id", "stream", "type", "eventId", "createdAt", "failedAt", "failure"],
  },
  FailedRowPage: {
    type: "object",
    properties: {
      failures: { type: "array", items: component("schemas", "FailedRow") },
      next: { type: ["string", "null"], description: "The next page" },
    },
    required: ["failures", "next"],
  },
};

const refusals = ["invalid-parameter", "uri-too-long", ...serviceFailures] as const satisfies ProblemCode[];
const bodyRefusals = [
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "invalid-request",
  "outcome-unknown",
] as const satisfies ProblemCode[];

const ok = (description: string, schema: Schema, value: unknown) => ({
  description,
  content: { "application/json": { schema, examples: { outbox: { value } } } },
});

export const getOutbox: Operation = {
  operationId: "getOutbox",
  summary: "How the outbox stands",
  description:
    "The rows that services have inserted into the table `outbox` in their own transactions, and that are no events yet.",
  tags: ["Outbox"],
  responses: {
    "200": ok("How it stands.", component("schemas", "Outbox"), {
      waiting: { count: "2", atLeast: false, since: "2026-11-21T10:00:00.000Z" },
      failed: { count: "0", atLeast: false },
    }),
    ...problems(...refusals, "forbidden"),
  },
};

export const listOutboxFailures: Operation = {
  operationId: "listOutboxFailures",
  summary: "List rows that cannot become events",
  description: "Oldest first, with the reason. Their content stands in the table.",
  tags: ["Outbox"],
  parameters: use("FailedRowAfter", "FailedRowLimit"),
  responses: {
    "200": ok("A page of rows.", component("schemas", "FailedRowPage"), {
      failures: [
        {
          id: "7",
          stream: "orders",
          type: "OrderPlaced",
          eventId: null,
          createdAt: "2026-11-21T10:00:00.000Z",
          failedAt: "2026-11-21T10:00:00.051Z",
          failure: "/data/amount: must be number",
        },
      ],
      next: null,
    }),
    ...problems(...refusals),
  },
};

const change = (
  operationId: string,
  summary: string,
  description: string,
  count: "retried" | "discarded",
): Operation => ({
  operationId,
  summary,
  description,
  tags: ["Outbox"],
  requestBody: {
    required: true,
    description: "Either `ids` or `all`. Read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: FailureChoice,
        examples: { some: { value: { ids: ["7"] } }, all: { value: { all: true } } },
      },
    },
  },
  responses: {
    "200": ok(
      "How many.",
      { type: "object", properties: { [count]: { type: "integer", minimum: 0 } }, required: [count] },
      { [count]: 1 },
    ),
    ...problems(...refusals, ...bodyRefusals),
  },
});

export const retryOutboxFailures = change(
  "retryOutboxFailures",
  "Try rows again",
  "Makes failed rows wait again, for when what refused them has changed. They come behind what their stream has got meanwhile.",
  "retried",
);
export const discardOutboxFailures = change(
  "discardOutboxFailures",
  "Discard rows",
  "Removes failed rows for good.",
  "discarded",
);
