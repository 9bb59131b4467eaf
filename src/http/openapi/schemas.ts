// The schemas of streams, of problems and of the service's health.
import { catalogue, type ProblemCode } from "../../base/errors.ts";
import { streamPatternMeaning, subjectPatternMeaning } from "../../stream/cross-service/names.ts";
import { natsModes, natsStorages } from "../../stream/cross-service/settings.ts";
import { streamName } from "../../stream/event.ts";
import { validations } from "../../stream/schema/validation.ts";
import { deliveries, type StreamSettings, scopes } from "../../stream/stream-configuration.ts";
import type { StreamDescription } from "../../stream/streams.ts";
import { bridgeSchemas } from "./bridge.ts";
import { commandSchemas } from "./commands.ts";
import { consumerSchemas } from "./consumer-schemas.ts";
import { cursor, decimal, eventSchemas } from "./event-schemas.ts";
import { lockSchemas } from "./locks.ts";
import { component, problemType, type Schema } from "./operation.ts";
import { outboxSchemas } from "./outbox.ts";
import { processedSchemas } from "./processed.ts";
import { projectionSchemas } from "./projections.ts";
import { receiptSchemas } from "./receipts.ts";
import { registrySchemas } from "./registry-schemas.ts";
import { remoteStreamSchemas } from "./remote-streams.ts";
import { sagaSchemas } from "./sagas.ts";
import { snapshotSchemas } from "./snapshots.ts";
import { subscriptionSchemas } from "./subscription-schemas.ts";

const StreamName: Schema = {
  type: "string",
  pattern: streamName.source,
  description: "1 to 200 of A-Z a-z 0-9 . _ - :, but not . or .. alone",
  examples: ["orders"],
};

const duration = (description: string): Schema => ({
  type: "string",
  pattern: "^\\d{1,9}(ms|s|m|h|d)$",
  description,
  examples: ["500ms", "30s", "7d"],
});
const orNull = (schema: Schema): Schema => ({ ...schema, type: ["string", "null"] });
const count = (description: string): Schema => ({
  anyOf: [{ type: "integer", minimum: 1 }, decimal("The number as a string"), { type: "null" }],
  description,
});

const factor: Schema = {
  type: "number",
  minimum: 1,
  maximum: 100,
  default: 2,
  description: "By how much each pause is longer than the last",
};
const attempts = {
  minimum: 1,
  maximum: 1_000,
  description: "Of an ephemeral stream: deliveries before an event is dead",
};

/** What is written and shown alike. */
const shared = {
  type: {
    enum: ["persistent", "ephemeral"],
    default: "persistent",
    description: "How long events are kept: until retention removes them, or until they are settled. It cannot change",
  },
  delivery: {
    enum: [...deliveries],
    default: "at-least-once",
    description: "The strongest guarantee of the stream's subscriptions",
  },
  scope: {
    enum: [...scopes],
    default: "internal",
    description:
      "Who sees the stream: this service, or others too, over NATS JetStream. Only a persistent stream is cross-service",
  },
  validation: {
    enum: [...validations],
    default: "off",
    description:
      "Whether events are checked against the registered schemas of their types: warn stores and counts what does not match, enforce refuses it",
  },
  replay: {
    type: "boolean",
    description:
      "False: the stream can only be followed from its latest event, never read back. By default true, of an ephemeral stream false, and that only",
  },
};

const maxAge = orNull(
  duration("Events are removed this long after they were recorded; by default 7d of an ephemeral stream"),
);
const maxBytes = "The oldest events are removed beyond this size";
const maxEvents = "The oldest events are removed beyond this number";
const visibilityTimeout = orNull(
  duration("Of an ephemeral stream: how long a delivery may take until the event is handed out again, 100ms to 12h"),
);
const backoff = "Of an ephemeral stream: pauses between deliveries of one event";

const natsKeys = {
  stream: orNull({ type: "string", maxLength: 400, description: `The JetStream stream: ${streamPatternMeaning}` }),
  subject: orNull({ type: "string", maxLength: 400, description: `The subject of events: ${subjectPatternMeaning}` }),
  mode: {
    enum: [...natsModes, null],
    description: "How an event is a message: attributes as headers, or the envelope as the payload",
  },
  replicas: { type: ["integer", "null"], minimum: 1, maximum: 5, description: "Copies in a cluster" },
  storage: { enum: [...natsStorages, null], description: "Where JetStream keeps it" },
} satisfies Record<string, Schema>;
const natsMaxAge = orNull(duration("JetStream forgets messages this long after it got them, at least 1s"));
const natsMaxBytes = "JetStream forgets the oldest messages beyond this size";
const natsMaxEvents = "JetStream forgets the oldest messages beyond this number";
const nats = "Of a cross-service stream: what it has in NATS. What is null is the service's default";

/** What PUT takes. */
const configuration = {
  ...shared,
  nats: {
    type: ["object", "null"],
    description: nats,
    properties: {
      ...natsKeys,
      retention: {
        type: ["object", "null"],
        properties: { maxAge: natsMaxAge, maxBytes: count(natsMaxBytes), maxEvents: count(natsMaxEvents) },
        additionalProperties: false,
      },
    },
    additionalProperties: false,
  },
  retention: {
    type: ["object", "null"],
    description: "What is kept at most; without a bound everything is",
    properties: { maxAge, maxBytes: count(maxBytes), maxEvents: count(maxEvents) },
    additionalProperties: false,
  },
  visibilityTimeout: { ...visibilityTimeout, default: "30s" },
  maxAttempts: { ...attempts, type: ["integer", "null"], default: 5 },
  backoff: {
    type: ["object", "null"],
    description: backoff,
    properties: {
      initial: { ...duration("The first pause"), default: "1s" },
      factor,
      max: { ...duration("The longest pause"), default: "1m" },
    },
    additionalProperties: false,
  },
} satisfies Record<keyof StreamSettings, Schema>;

/** What is shown. */
const settings = {
  ...shared,
  nats: {
    type: ["object", "null"],
    description: nats,
    properties: {
      ...natsKeys,
      retention: {
        type: "object",
        properties: {
          maxAge: natsMaxAge,
          maxBytes: { ...decimal(natsMaxBytes), type: ["string", "null"] },
          maxEvents: { ...decimal(natsMaxEvents), type: ["string", "null"] },
        },
        required: ["maxAge", "maxBytes", "maxEvents"],
      },
    },
    required: [...Object.keys(natsKeys), "retention"],
  },
  retention: {
    type: "object",
    description: "What is kept at most; null: no bound",
    properties: {
      maxAge,
      maxBytes: { ...decimal(maxBytes), type: ["string", "null"] },
      maxEvents: { ...decimal(maxEvents), type: ["string", "null"] },
    },
    required: ["maxAge", "maxBytes", "maxEvents"],
  },
  visibilityTimeout,
  maxAttempts: { ...attempts, type: ["integer", "null"] },
  backoff: {
    type: ["object", "null"],
    description: backoff,
    properties: { initial: duration("The first pause"), factor, max: duration("The longest pause") },
    required: ["initial", "factor", "max"],
  },
} satisfies Record<keyof StreamSettings, Schema>;

const nullableTime = (description: string): Schema => ({ type: ["string", "null"], format: "date-time", description });
const nullableNumber = (description: string): Schema => ({ ...decimal(description), type: ["string", "null"] });

const description = {
  name: component("schemas", "StreamName"),
  ...settings,
  createdAt: { type: "string", format: "date-time", description: "When the stream was created, or created again" },
  length: decimal("Number of events"),
  firstOffset: nullableNumber("Offset of the first event; null when there is none"),
  lastOffset: nullableNumber("Offset of the last event; null when there is none"),
  firstTime: nullableTime("When the first event was recorded"),
  lastTime: nullableTime("When the last event was recorded"),
  bytes: decimal("Size of the events"),
  pending: nullableNumber("Events that its queue has not settled; null of a persistent stream"),
  deadLetters: nullableNumber("Dead letters of its queue; null of a persistent stream"),
} satisfies Record<keyof StreamDescription, Schema>;

const StreamConfigurationSchema: Schema = {
  type: "object",
  description:
    "What a stream is configured with. The settings of the queue (visibilityTimeout, maxAttempts, backoff) are an ephemeral stream's alone.",
  properties: configuration,
  additionalProperties: false,
};

const codes = Object.keys(catalogue) as ProblemCode[];

const Violation: Schema = {
  type: "object",
  properties: {
    path: { type: "string", description: "JSON Pointer (RFC 6901) into the body" },
    message: { type: "string" },
  },
  required: ["path", "message"],
};

const Problem: Schema = {
  type: "object",
  description: `Every error (RFC 9457). Further members, such as \`errors\`, \`expected\` and \`actual\`, or \`parameter\`, say what was wrong.\n\n${codeTable()}`,
  properties: {
    type: { type: "string", format: "uri-reference", enum: codes.map(problemType) },
    title: { type: "string" },
    status: { type: "integer", minimum: 400, maximum: 599 },
    detail: { type: "string" },
    instance: { type: "string", format: "uri", description: "urn:request: and the X-Request-Id" },
    retryable: { type: "boolean", description: "Whether the same request can succeed later" },
    stream: { type: "string" },
    subscription: { type: "string" },
    consumer: { type: "string" },
    parameter: { type: "string", description: "Name of the parameter or header at fault" },
    errors: { type: "array", items: component("schemas", "Violation") },
    expected: { type: "string", description: "The version that was expected; -1 for nothing, * for something" },
    actual: cursor("The version that the stream has"),
  },
  required: ["type", "title", "status", "detail", "instance", "retryable"],
};

function codeTable(): string {
  const rows = codes.map((code) => {
    const { status, title, retryable } = catalogue[code];
    return `| \`${problemType(code)}\` | ${status} | ${retryable ? "yes" : "no"} | ${title} |`;
  });
  return ["| type | status | retryable | title |", "|---|---|---|---|", ...rows].join("\n");
}

const Check: Schema = {
  type: "object",
  properties: { ok: { type: "boolean" }, detail: { type: "string" } },
  required: ["ok"],
};

/** The schemas of the components, by name. */
export const schemas: Record<string, Schema> = {
  ...eventSchemas,
  ...subscriptionSchemas,
  ...receiptSchemas,
  ...processedSchemas,
  ...commandSchemas,
  ...lockSchemas,
  ...outboxSchemas,
  ...remoteStreamSchemas,
  ...bridgeSchemas,
  ...sagaSchemas,
  ...projectionSchemas,
  ...registrySchemas,
  ...consumerSchemas,
  ...snapshotSchemas,
  StreamName,
  StreamConfiguration: StreamConfigurationSchema,
  StreamDescription: {
    type: "object",
    properties: description,
    required: Object.keys(description),
  },
  StreamPage: {
    type: "object",
    properties: {
      streams: { type: "array", items: component("schemas", "StreamDescription") },
      next: { type: ["string", "null"], format: "uri-reference", description: "Link to the next page" },
    },
    required: ["streams", "next"],
  },
  Liveness: {
    type: "object",
    properties: { status: { const: "live" } },
    required: ["status"],
  },
  Readiness: {
    type: "object",
    properties: {
      status: { enum: ["ready", "not ready"] },
      checks: { type: "object", additionalProperties: component("schemas", "Check") },
    },
    required: ["status", "checks"],
  },
  Check,
  Problem,
  Violation,
};
