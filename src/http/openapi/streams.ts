// The documents of the operations on streams themselves.
import type { StreamDescription } from "../../stream/streams.ts";
import { component, type Operation, problems, type ResponseObject, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const orders: StreamDescription = {
  name: "orders",
  type: "persistent",
  delivery: "at-least-once",
  scope: "internal",
  nats: null,
  validation: "off",
  replay: true,
  retention: { maxAge: null, maxBytes: null, maxEvents: null },
  visibilityTimeout: null,
  maxAttempts: null,
  backoff: null,
  createdAt: "2026-11-20T08:00:00.000Z",
  length: "18",
  firstOffset: "0",
  lastOffset: "17",
  firstTime: "2026-11-20T08:00:00.004Z",
  lastTime: "2026-11-21T10:00:00.004Z",
  bytes: "3120",
  pending: null,
  deadLetters: null,
};

const invoices: StreamDescription = {
  ...orders,
  name: "invoices",
  replay: false,
  length: "0",
  firstOffset: null,
  lastOffset: null,
  firstTime: null,
  lastTime: null,
  bytes: "0",
};

const mails: StreamDescription = {
  ...invoices,
  name: "mails",
  type: "ephemeral",
  retention: { maxAge: "7d", maxBytes: null, maxEvents: "100000" },
  visibilityTimeout: "1m",
  maxAttempts: 5,
  backoff: { initial: "1s", factor: 2, max: "5m" },
  pending: "0",
  deadLetters: "0",
};

const described = (description: string, example: StreamDescription): ResponseObject => ({
  description,
  headers: { ETag: component("headers", "LastOffset") },
  content: {
    "application/json": {
      schema: component("schemas", "StreamDescription"),
      examples: { [example.name]: { value: example } },
    },
  },
});

const refusals = ["invalid-stream-name", "invalid-parameter", "uri-too-long", ...serviceFailures] as const;

export const listStreams: Operation = {
  operationId: "listStreams",
  summary: "List streams",
  description: "The streams, in the order of their names by code point, page by page.",
  tags: ["Streams"],
  parameters: use("StreamPrefix", "StreamAfter", "StreamLimit"),
  responses: {
    "200": {
      description: "A page of streams.",
      content: {
        "application/json": {
          schema: component("schemas", "StreamPage"),
          examples: {
            page: { value: { streams: [invoices, orders], next: "/api/streams?limit=2&after=orders" } },
          },
        },
      },
    },
    ...problems(...refusals),
  },
};

export const getStream: Operation = {
  operationId: "getStream",
  summary: "Describe a stream",
  description: "A stream's configuration, length, size, and first and last event.",
  tags: ["Streams"],
  parameters: use("StreamName"),
  responses: { "200": described("The stream.", orders), ...problems(...refusals, "stream-not-found") },
};

export const headStream: Operation = {
  operationId: "headStream",
  summary: "Ask for a stream's last offset",
  description: "The same as GET, without the body.",
  tags: ["Streams"],
  parameters: use("StreamName"),
  responses: {
    "200": { description: "The stream exists.", headers: { ETag: component("headers", "LastOffset") } },
    ...problems(...refusals, "stream-not-found"),
  },
};

export const putStream: Operation = {
  operationId: "putStream",
  summary: "Create or reconfigure a stream",
  description:
    "Sets the whole configuration: a key that is not given takes its default. What the service cannot enforce is refused, never stored in silence.",
  tags: ["Streams"],
  parameters: use("StreamName"),
  requestBody: {
    required: false,
    description: "The configuration; without a body, the defaults. It is read as JSON, whatever the content type says.",
    content: {
      "application/json": {
        schema: component("schemas", "StreamConfiguration"),
        examples: {
          defaults: { summary: "All defaults", value: {} },
          liveOnly: { summary: "A stream that can only be followed live", value: { replay: false } },
          retention: {
            summary: "A stream that keeps 30 days, and a gigabyte at most",
            value: { retention: { maxAge: "30d", maxBytes: "1000000000" } },
          },
          crossService: {
            summary: "A stream that other services see over NATS",
            value: { scope: "cross-service", nats: { retention: { maxAge: "7d" } } },
          },
          ephemeral: {
            summary: "A stream that forgets what is settled",
            value: {
              type: "ephemeral",
              retention: { maxEvents: 100_000 },
              visibilityTimeout: "1m",
              backoff: { max: "5m" },
            },
          },
        },
      },
    },
  },
  responses: {
    "200": described("The stream was there and has this configuration now.", orders),
    "201": described("The stream was created.", mails),
    ...problems(
      ...refusals,
      "malformed-body",
      "request-timeout",
      "stream-type-fixed",
      "delivery-in-use",
      "nats-name-taken",
      "body-too-large",
      "invalid-configuration",
    ),
  },
};

export const deleteStream: Operation = {
  operationId: "deleteStream",
  summary: "Delete a stream",
  description:
    "Deletes the stream, its events and its queue; what subscriptions hold of its events, and its dead letters, go within seconds. Its name can be used again; offsets go on where they ended.",
  tags: ["Streams"],
  parameters: use("StreamName"),
  responses: { "204": { description: "Deleted." }, ...problems(...refusals, "stream-not-found") },
};
