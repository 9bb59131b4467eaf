// The documents of remote streams.
import type { ProblemCode } from "../../base/errors.ts";
import { DeadLetterChoice } from "../dead-letters.ts";
import { component, type Operation, problems, type Schema, serviceFailures } from "./operation.ts";
import { type ParameterName, use } from "./parameters.ts";

const time = (description: string): Schema => ({ type: "string", format: "date-time", description });
const text = (description: string): Schema => ({ type: "string", description });
const number = (description: string): Schema => ({ type: "string", pattern: "^[0-9]+$", description });
const maybe = (schema: Schema): Schema => ({ ...schema, type: ["string", "null"] });
const counted = (description: string): Schema => ({
  type: "object",
  description,
  properties: {
    count: { type: "string", pattern: "^[0-9]+$", description: "How many; it is counted up to 10000" },
    atLeast: { type: "boolean", description: "There may be more" },
  },
  required: ["count", "atLeast"],
});

const backoff = (of: (schema: Schema) => Schema): Schema => ({
  type: "object",
  description: "The pause before a message is tried again: initial, then factor times as long each time, up to max",
  properties: {
    initial: of({ type: "string", description: "Default: 1s", examples: ["1s"] }),
    factor: { type: "number", minimum: 1, maximum: 100, description: "Default: 2" },
    max: of({ type: "string", description: "Default: 60s", examples: ["60s"] }),
  },
});

const source: Record<string, Schema> = {
  service: maybe(text("The name of the other service, with `stream`")),
  stream: maybe(text("The stream of that service; it is mirrored from the JetStream stream that `NATS_STREAM` names")),
  subject: maybe(text("A subject of NATS: the JetStream stream that has it is mirrored, as far as it matches")),
  jetstream: maybe(text("The name of the JetStream stream, with a subject or without")),
};
const maxDeliveries: Schema = {
  type: "integer",
  minimum: 1,
  maximum: 1_000,
  description: "After so many tries a message becomes a dead letter. Default: 5",
};

const described: Record<string, Schema> = {
  name: component("schemas", "StreamName"),
  ...source,
  maxDeliveries,
  backoff: backoff((schema) => schema),
  createdAt: time("When it was put first"),
  consumer: text("The name of its consumer in JetStream, by which an account is allowed what it needs"),
  state: {
    enum: ["starting", "no-nats", "disconnected", "waiting", "mirroring", "failing"],
    description:
      "As who mirrors it says. While no process does: `no-nats` where the one that was asked has no `NATS_URL`, `disconnected` where NATS is away from it, else `starting`. `waiting`: JetStream has no such stream, as `lastError` says. `failing`: `lastError` says why, and it is tried again",
  },
  mirrored: {
    type: ["object", "null"],
    description: "Up to which message of JetStream all are in the log, or set aside",
    properties: { jetstream: text("The stream of JetStream"), sequence: number("Of the message; 0 before the first") },
    required: ["jetstream", "sequence"],
  },
  pending: maybe(number("Messages that are not mirrored yet; null while no process knows")),
  lagSeconds: { type: ["number", "null"], description: "How long the oldest of those has been in JetStream" },
  redelivered: number("Messages that came again"),
  retrying: counted("Messages that could not become events and are tried again"),
  deadLetters: counted("Messages that were given up"),
  lastError: {
    type: ["object", "null"],
    description: "What went wrong last, or what it waits for; it stays when it is over, until the source is another",
    properties: { message: text("What"), at: time("When") },
    required: ["message", "at"],
  },
};

const letter: Record<string, Schema> = {
  id: text("Of the dead letter"),
  jetstream: text("The stream of JetStream that the message came from"),
  sequence: number("Of the message there"),
  storedAt: time("When JetStream stored it"),
  subject: text("Of the message"),
  headers: { type: "object", additionalProperties: { type: "string" }, description: "Of the message" },
  payload: text("Of the message, where it is text"),
  payloadBase64: text("Of the message, where it is not"),
  reason: text("Why it could not become an event: a code, as those of problems"),
  detail: text("The same in words"),
  attempts: { type: "integer", minimum: 1, description: "How often it was tried" },
  firstFailedAt: time("When it was refused first"),
  lastFailedAt: time("When it was refused last"),
};
const content = ["payload", "payloadBase64"];

/** The schemas of the components, by name. */
export const remoteStreamSchemas: Record<string, Schema> = {
  RemoteStreamDefinition: {
    type: "object",
    description: "Either `service` and `stream`, or `subject`, or `jetstream` with or without a `subject`",
    properties: { ...source, maxDeliveries, backoff: backoff(maybe) },
    additionalProperties: false,
  },
  RemoteStream: { type: "object", properties: described, required: Object.keys(described) },
  RemoteStreamPage: {
    type: "object",
    properties: {
      remoteStreams: { type: "array", items: component("schemas", "RemoteStream") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["remoteStreams", "next"],
  },
  RemoteDeadLetter: {
    type: "object",
    properties: letter,
    required: Object.keys(letter).filter((key) => !content.includes(key)),
  },
  RemoteDeadLetterPage: {
    type: "object",
    properties: {
      deadLetters: { type: "array", items: component("schemas", "RemoteDeadLetter") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["deadLetters", "next"],
  },
};

const users = {
  name: "users",
  service: "svca",
  stream: "users",
  subject: null,
  jetstream: null,
  maxDeliveries: 5,
  backoff: { initial: "1s", factor: 2, max: "1m" },
  createdAt: "2026-11-21T10:00:00.000Z",
  consumer: "svcb_users",
  state: "mirroring",
  mirrored: { jetstream: "svca_users", sequence: "1042" },
  pending: "0",
  lagSeconds: 0,
  redelivered: "0",
  retrying: { count: "0", atLeast: false },
  deadLetters: { count: "1", atLeast: false },
  lastError: null,
};
const poison = {
  id: "7",
  jetstream: "svca_users",
  sequence: "17",
  subject: "svca.users.UserAdded",
  reason: "schema-mismatch",
  detail: "/data/firstName: is required",
  attempts: 5,
  firstFailedAt: "2026-11-21T10:00:01.000Z",
  lastFailedAt: "2026-11-21T10:00:16.000Z",
  storedAt: "2026-11-21T10:00:00.900Z",
  headers: { "ce-specversion": "1.0", "ce-id": "u-1", "ce-type": "UserAdded", "ce-source": "/svca/streams/users" },
  payload: '{"lastName":"Byron"}',
};

const refusals = [
  "invalid-parameter",
  "uri-too-long",
  "invalid-stream-name",
  ...serviceFailures,
] as const satisfies ProblemCode[];
const bodyRefusals = [
  "malformed-body",
  "request-timeout",
  "body-too-large",
  "unsupported-media-type",
  "outcome-unknown",
  "forbidden",
] as const satisfies ProblemCode[];

const ok = (description: string, schema: Schema, name: string, value: unknown) => ({
  description,
  content: { "application/json": { schema, examples: { [name]: { value } } } },
});

function operation(parts: Omit<Operation, "tags" | "parameters">, ...parameters: ParameterName[]): Operation {
  return { ...parts, tags: ["Remote streams"], parameters: use(...parameters) };
}

export const listRemoteStreams = operation(
  {
    operationId: "listRemoteStreams",
    summary: "List remote streams",
    description: "By name, with how each stands.",
    responses: {
      "200": ok("A page of remote streams.", component("schemas", "RemoteStreamPage"), "page", {
        remoteStreams: [users],
        next: null,
      }),
      ...problems(...refusals),
    },
  },
  "RemoteStreamAfter",
  "RemoteStreamLimit",
);

export const getRemoteStream = operation(
  {
    operationId: "getRemoteStream",
    summary: "Show a remote stream",
    description: "What is mirrored, and how it stands.",
    responses: {
      "200": ok("The remote stream.", component("schemas", "RemoteStream"), "users", users),
      ...problems(...refusals, "remote-stream-not-found"),
    },
  },
  "StreamName",
);

export const putRemoteStream = operation(
  {
    operationId: "putRemoteStream",
    summary: "Mirror a stream of another service",
    description:
      "Its events are appended to the local stream of this name, in their order, each once, from the first one that JetStream still has. The local stream is made where there is none, and is then a stream like any other. What is mirrored need not be there yet. Streams of this service itself are mirrored for who may read them, and never into themselves. One that is put with another source begins anew with that.",
    requestBody: {
      required: true,
      description: "What is mirrored. Read as JSON, whatever the content type says.",
      content: {
        "application/json": {
          schema: component("schemas", "RemoteStreamDefinition"),
          examples: {
            service: { value: { service: "svca", stream: "users" } },
            subject: { value: { subject: "legacy.orders.>" } },
            jetstream: { value: { jetstream: "ORDERS", maxDeliveries: 3 } },
          },
        },
      },
    },
    responses: {
      "201": ok("It is new.", component("schemas", "RemoteStream"), "users", {
        ...users,
        state: "starting",
        mirrored: null,
        pending: null,
        lagSeconds: null,
        deadLetters: users.retrying,
      }),
      "200": ok("It was there, and is as the body says now.", component("schemas", "RemoteStream"), "users", users),
      ...problems(...refusals, ...bodyRefusals, "invalid-configuration"),
    },
  },
  "StreamName",
);

export const deleteRemoteStream = operation(
  {
    operationId: "deleteRemoteStream",
    summary: "Stop mirroring",
    description:
      "Forgets the remote stream with its dead letters, and removes its consumer from JetStream where that can be reached. The local stream stays with what it has.",
    responses: {
      "204": { description: "Nothing is mirrored any more." },
      ...problems(...refusals, "remote-stream-not-found", "forbidden", "outcome-unknown"),
    },
  },
  "StreamName",
);

export const listRemoteDeadLetters = operation(
  {
    operationId: "listRemoteDeadLetters",
    summary: "List messages that were given up",
    description: "Messages that could not become events, oldest first, with their content and the reason.",
    responses: {
      "200": ok(
        "A page of dead letters; fewer than `limit` when they are large.",
        component("schemas", "RemoteDeadLetterPage"),
        "page",
        { deadLetters: [poison], next: null },
      ),
      ...problems(...refusals, "remote-stream-not-found"),
    },
  },
  "StreamName",
  "DeadLetterAfter",
  "DeadLetterLimit",
);

export const getRemoteDeadLetter = operation(
  {
    operationId: "getRemoteDeadLetter",
    summary: "Show a message that was given up",
    description: "One message that could not become an event.",
    responses: {
      "200": ok("The dead letter.", component("schemas", "RemoteDeadLetter"), "letter", poison),
      ...problems(...refusals, "remote-stream-not-found", "dead-letter-not-found"),
    },
  },
  "StreamName",
  "DeadLetterId",
);

const change = (operationId: string, summary: string, description: string, count: "replayed" | "discarded") =>
  operation(
    {
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
          { type: "object", properties: { [count]: { type: "integer", minimum: 0 } }, required: [count] },
          "one",
          { [count]: 1 },
        ),
        ...problems(...refusals, ...bodyRefusals, "invalid-request", "remote-stream-not-found"),
      },
    },
    "StreamName",
  );

export const replayRemoteDeadLetters = change(
  "replayRemoteDeadLetters",
  "Try messages again",
  "For when what refused them has changed, such as a schema. Each is tried at once, as if for the first time, and comes behind what its stream has got meanwhile.",
  "replayed",
);
export const discardRemoteDeadLetters = change(
  "discardRemoteDeadLetters",
  "Discard messages",
  "Removes them for good.",
  "discarded",
);
