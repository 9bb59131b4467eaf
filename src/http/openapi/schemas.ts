// The schemas of streams, of problems and of the service's health.
import { catalogue, type ProblemCode } from "../../base/errors.ts";
import { streamName } from "../../stream/event.ts";
import type { StreamConfiguration, StreamDescription } from "../../stream/streams.ts";
import { cursor, decimal, eventSchemas } from "./event-schemas.ts";
import { component, problemType, type Schema } from "./operation.ts";

const StreamName: Schema = {
  type: "string",
  pattern: streamName.source,
  description: "1 to 200 of A-Z a-z 0-9 . _ - :, but not . or .. alone",
  examples: ["orders"],
};

const configuration = {
  type: { const: "persistent", description: "How long events are kept: until they are removed" },
  delivery: { const: "at-least-once", description: "The guarantee of the stream's subscriptions" },
  scope: { const: "internal", description: "Who may see the stream: this service" },
  validation: { const: "off", description: "Whether events are checked against the schema of their type" },
  replay: {
    type: "boolean",
    default: true,
    description: "False: the stream can only be followed from its latest event, never read back",
  },
};

const nullableTime = (description: string): Schema => ({ type: ["string", "null"], format: "date-time", description });
const nullableOffset = (description: string): Schema => ({ ...decimal(description), type: ["string", "null"] });

const description = {
  name: component("schemas", "StreamName"),
  ...configuration,
  createdAt: { type: "string", format: "date-time", description: "When the stream was created, or created again" },
  length: decimal("Number of events"),
  firstOffset: nullableOffset("Offset of the first event; null when there is none"),
  lastOffset: nullableOffset("Offset of the last event; null when there is none"),
  firstTime: nullableTime("When the first event was recorded"),
  lastTime: nullableTime("When the last event was recorded"),
  bytes: decimal("Size of the events"),
} satisfies Record<keyof StreamDescription, Schema>;

const StreamConfigurationSchema: Schema = {
  type: "object",
  description:
    "What a stream is configured with. Of the keys with one value that value is the default; others, and keys that this version cannot enforce, are refused.",
  properties: configuration satisfies Record<keyof StreamConfiguration, Schema>,
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
