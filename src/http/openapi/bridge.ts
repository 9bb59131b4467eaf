// The documents of the bridge to NATS.
import type { ProblemCode } from "../../base/errors.ts";
import type { StreamShown } from "../bridge.ts";
import { component, type Operation, problems, type Schema, serviceFailures } from "./operation.ts";
import { use } from "./parameters.ts";

const number = (description: string): Schema => ({ type: "string", pattern: "^[0-9]+$", description });
const orNull = (schema: Schema): Schema => ({ ...schema, type: [schema.type, "null"] });
const text = (description: string): Schema => ({ type: "string", description });
const time = (description: string): Schema => ({ type: "string", format: "date-time", description });

const published = {
  stream: component("schemas", "StreamName"),
  jetstream: text("The JetStream stream"),
  subject: text("The subject of its events; {type} stands for the type"),
  state: {
    enum: ["waiting", "aligning", "publishing", "pausing"],
    description:
      "waiting: no process publishes, there is no connection; aligning: JetStream is asked what it has; pausing: it did not go well, it is tried again soon",
  },
  error: orNull(text("Why it does not go on, or what of the JetStream stream could not be changed")),
  since: orNull(time("Since when the state is this one")),
  offset: orNull(number("Offset of the last event that is known to be published")),
  sequence: orNull(number("The sequence of its message")),
  created: orNull(text("When the JetStream stream was made, as its server says it")),
  confirmedAt: orNull(time("When the last confirmation was noted")),
  lagEvents: number("Events that are not known to be published"),
  lagSeconds: { type: "number", minimum: 0, description: "How long the first of them has been in the log" },
  withheld: number("Events that the server does not take"),
} satisfies Record<keyof StreamShown, Schema>;

const connection = {
  configured: { type: "boolean", description: "NATS_URL is set" },
  connected: { type: "boolean", description: "This process is connected" },
  state: { enum: ["off", "connecting", "connected", "disconnected", "closed"] },
  server: {
    type: ["object", "null"],
    properties: { name: text("Its name"), version: text("Its version") },
    required: ["name", "version"],
  },
  connects: { type: "integer", minimum: 0, description: "Times that this process was connected" },
  breaker: {
    enum: ["closed", "open", "half-open", null],
    description:
      "open: JetStream did not answer several times in a row about a stream, and is not asked about that one for now",
  },
  lastError: orNull(text("Why there is no connection, or why JetStream is not asked for now")),
} satisfies Record<string, Schema>;

/** The schemas of the components, by name. */
export const bridgeSchemas: Record<string, Schema> = {
  Bridge: {
    type: "object",
    properties: {
      ...connection,
      outbound: {
        type: "object",
        properties: {
          publishes: { type: "boolean", description: "This process is the one that publishes" },
          streams: { type: "array", items: component("schemas", "PublishedStream") },
          next: { type: ["string", "null"], description: "The next page" },
        },
        required: ["publishes", "streams", "next"],
      },
      inbound: {
        type: "object",
        description: "What is mirrored of other services, the first by name",
        properties: {
          streams: { type: "array", items: component("schemas", "RemoteStream") },
          next: { type: ["string", "null"], description: "The next page, of remote streams" },
        },
        required: ["streams", "next"],
      },
    },
    required: [...Object.keys(connection), "outbound", "inbound"],
  },
  PublishedStream: { type: "object", properties: published, required: Object.keys(published) },
  WithheldEvent: {
    type: "object",
    properties: {
      offset: number("Its offset"),
      id: text("Its id"),
      type: text("Its type"),
      reason: text("Why"),
      withheldAt: time("When it was found out"),
    },
    required: ["offset", "id", "type", "reason", "withheldAt"],
  },
};

const refusals = ["invalid-parameter", "uri-too-long", ...serviceFailures] as const satisfies ProblemCode[];

const users: StreamShown = {
  stream: "users",
  jetstream: "sluice_users",
  subject: "sluice.users.{type}",
  state: "publishing",
  error: null,
  since: "2026-11-21T10:00:00.000Z",
  offset: "17",
  sequence: "18",
  created: "2026-11-20T08:00:00.123456789Z",
  confirmedAt: "2026-11-21T10:00:00.104Z",
  lagEvents: "0",
  lagSeconds: 0,
  withheld: "0",
};

export const getBridge: Operation = {
  operationId: "getBridge",
  summary: "How the bridge to NATS stands",
  description:
    "The connection of the process that answers, and how far each cross-service stream is published, whichever process does that. What is noted is about a tenth of a second old.",
  tags: ["Bridge"],
  parameters: use("StreamAfter", "StreamLimit"),
  responses: {
    "200": {
      description: "How it stands.",
      content: {
        "application/json": {
          schema: component("schemas", "Bridge"),
          examples: {
            bridge: {
              value: {
                configured: true,
                connected: true,
                state: "connected",
                server: { name: "n1", version: "2.9.10" },
                connects: 1,
                breaker: "closed",
                lastError: null,
                outbound: { publishes: true, streams: [users], next: null },
                inbound: { streams: [], next: null },
              },
            },
          },
        },
      },
    },
    ...problems(...refusals, "invalid-stream-name"),
  },
};

export const listWithheld: Operation = {
  operationId: "listWithheldEvents",
  summary: "List events that NATS does not take",
  description: "In the order of the stream. They stand in it, and everything behind them is published.",
  tags: ["Bridge"],
  parameters: use("StreamName", "WithheldAfter", "WithheldLimit"),
  responses: {
    "200": {
      description: "The events.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            properties: {
              withheld: { type: "array", items: component("schemas", "WithheldEvent") },
              next: { type: ["string", "null"], description: "The next page" },
            },
            required: ["withheld", "next"],
          },
          examples: {
            large: {
              value: {
                withheld: [
                  {
                    offset: "17",
                    id: "picture-1",
                    type: "PictureTaken",
                    reason: "MAX_PAYLOAD_EXCEEDED: 2000000 bytes and their headers, of 1048576",
                    withheldAt: "2026-11-21T10:00:00.004Z",
                  },
                ],
                next: null,
              },
            },
          },
        },
      },
    },
    ...problems(...refusals, "invalid-stream-name", "stream-not-found"),
  },
};
