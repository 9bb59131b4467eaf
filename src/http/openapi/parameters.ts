// The parameters and headers that operations share.
import { consumerName } from "../../subscription/registry/subscription.ts";
import { ownerPattern } from "../snapshots.ts";
import { component, type Header, type Parameter } from "./operation.ts";

const place =
  "`beginning`, `latest`, an offset such as `17` (over several streams a position), `time:2026-11-21T10:00:00Z` (by the time of recording), or `event:` and an id";

const query = (name: string, description: string, schema: Parameter["schema"]): Parameter => ({
  name,
  in: "query",
  description,
  schema,
});

const header = (name: string, description: string, schema: Parameter["schema"]): Parameter => ({
  name,
  in: "header",
  description,
  schema,
});

const cloudEventHeader = (attribute: string, description: string, example: string): Parameter =>
  header(`ce-${attribute}`, `Binary mode: ${description}`, { type: "string", examples: [example] });

const filterText = { type: "string", minLength: 1, maxLength: 1_000 };

/** The parameters of the components, by name. */
export const parameters = {
  StreamName: {
    name: "name",
    in: "path",
    required: true,
    description: "Name of the stream",
    schema: component("schemas", "StreamName"),
  },
  Offset: {
    name: "offset",
    in: "path",
    required: true,
    description: "Place of the event in the stream; the first is 0",
    schema: { type: "string", pattern: "^[0-9]{1,19}$", examples: ["17"] },
  },
  Streams: {
    name: "stream",
    in: "query",
    description: "Streams to read, at most 100; the parameter is repeated. Default: all persistent ones",
    style: "form",
    explode: true,
    schema: { type: "array", maxItems: 100, items: component("schemas", "StreamName") },
  },
  From: query(
    "from",
    `Where to begin, inclusive: ${place}. Going forward, \`latest\` is the place behind the last event; backward, the last event. Default: the beginning going forward, the last event backward, and \`latest\` for an event stream`,
    { type: "string", examples: ["beginning", "17", "time:2026-11-21T10:00:00Z"] },
  ),
  To: query(
    "to",
    `Where to end, inclusive: ${place}. Default: the last event there is; an event stream goes on for ever`,
    {
      type: "string",
      examples: ["latest"],
    },
  ),
  After: query(
    "after",
    "Where to begin, exclusive: an offset, or over several streams a position; -1 is before the first. What `next` links use; excludes `from`",
    { type: "string", pattern: "^(-1|[0-9]{1,19})$" },
  ),
  Limit: query(
    "limit",
    "Most events of one answer. Of a page: 1 to 1000, by default 100. Of a replay or an event stream: unlimited by default; an event stream ends after so many, counted for each connection",
    { type: "integer", minimum: 1 },
  ),
  Direction: query("direction", "An event stream only goes forward", {
    type: "string",
    enum: ["forward", "backward"],
    default: "forward",
  }),
  Types: {
    name: "types",
    in: "query",
    description: "Only events of these types, at most 100",
    style: "form",
    explode: false,
    schema: { type: "array", minItems: 1, maxItems: 100, items: { type: "string", minLength: 1, maxLength: 256 } },
  },
  Correlation: query("correlation", "Only events with this correlationid", filterText),
  Key: query("key", "Only events with this partitionkey", filterText),
  Where: query(
    "where",
    "Only events whose data satisfies this SQL/JSON path predicate, such as `$.amount > 100` or `exists($.coupon)`",
    { ...filterText, examples: ["$.amount > 100"] },
  ),
  SchemaTarget: query(
    "schema",
    "As which versions of their types events are given: `stored`, `latest`, a version, or types with versions such as `UserAdded@2`, separated by commas; types that are not named stay as they are stored, unless `latest` or a version is among them. Older events are upcast; newer ones stay as they are, since nothing goes back. One that cannot be upcast is given as it is stored, with `upcasterror`",
    { type: "string", default: "stored", examples: ["latest", "UserAdded@2"] },
  ),
  EventType: {
    name: "type",
    in: "path",
    required: true,
    description: "The type of the events, percent-encoded",
    schema: { type: "string", minLength: 1, maxLength: 256, examples: ["UserAdded"] },
  },
  SchemaVersionPath: {
    name: "version",
    in: "path",
    required: true,
    description: "The version; the first is 1",
    schema: { type: "string", pattern: "^[1-9][0-9]{0,8}$", examples: ["2"] },
  },
  SchemaAs: query("as", "TypeScript instead of JSON Schema", { type: "string", enum: ["typescript"] }),
  DryRun: query("dryRun", "Nothing is stored: the answer tells what would become of it", {
    type: "boolean",
    default: false,
  }),
  TypePrefix: query("prefix", "Only types that begin with this", { type: "string", maxLength: 256 }),
  TypeAfter: query("after", "Only types behind this one, in the order of code points. What `next` links use", {
    type: "string",
    maxLength: 256,
  }),
  ChangeAfter: query("after", "Only changes behind this one. What `next` links use", {
    type: "string",
    pattern: "^[0-9]{1,15}$",
  }),
  ListLimit: query("limit", "Most elements of a page", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }),
  LastEventId: header(
    "Last-Event-ID",
    "Event stream: the id of the last frame seen; the answer goes on right behind it and `from` and `after` are passed over. EventSource sends it by itself. An id that begins with `end:` is answered 204",
    { type: "string", examples: ["17"] },
  ),
  LastEventIdQuery: query("lastEventId", "Event stream: the same as the header, which wins", { type: "string" }),
  Named: query(
    "named",
    "Event stream: frames bear `event:` with the event's type, but for the types error, open and message",
    { type: "boolean", default: false },
  ),
  Progress: query("progress", "Event stream with `to` or `limit`: `sluice.progress` frames are sent", {
    type: "boolean",
    default: false,
  }),
  StreamPrefix: query(
    "prefix",
    "Only streams whose names begin with this",
    component("schemas", "StreamName") as Parameter["schema"],
  ),
  StreamAfter: query(
    "after",
    "Only names behind this one, in the order of code points. What `next` links use",
    component("schemas", "StreamName"),
  ),
  StreamLimit: query("limit", "Most streams of a page", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }),
  SubscriptionName: {
    name: "name",
    in: "path",
    required: true,
    description: "The subscription",
    schema: component("schemas", "SubscriptionName"),
  },
  Consumer: {
    ...query("consumer", "Who asks: events are handed out to consumers by name", {
      type: "string",
      pattern: consumerName.source,
    }),
    required: true,
  },
  Ack: query(
    "ack",
    "explicit: events are settled by their tokens; auto: settled before they are sent, so no better than at most once",
    {
      type: "string",
      enum: ["explicit", "auto"],
      default: "explicit",
    },
  ),
  LiveId: {
    name: "id",
    in: "path",
    required: true,
    description: "The live connection: a UUID of the client's choice",
    schema: { type: "string", format: "uuid" },
  },
  LiveConsumer: query("consumer", "Who consumes. Default: the live connection's id", {
    type: "string",
    pattern: consumerName.source,
  }),
  DeadLetterId: {
    name: "id",
    in: "path",
    required: true,
    description: "The dead letter",
    schema: { type: "string", pattern: "^[0-9]{1,15}$", examples: ["7"] },
  },
  DeadLetterAfter: query("after", "Only ids behind this one. What `next` links use", {
    type: "string",
    pattern: "^[0-9]{1,15}$",
  }),
  DeadLetterLimit: query("limit", "Most dead letters of a page", {
    type: "integer",
    minimum: 1,
    maximum: 1_000,
    default: 100,
  }),
  RemoteStreamAfter: query("after", "Only names behind this one. What `next` links use", {
    type: "string",
    pattern: "^[A-Za-z0-9._:-]{1,200}$",
  }),
  RemoteStreamLimit: query("limit", "Most remote streams of a page", {
    type: "integer",
    minimum: 1,
    maximum: 1_000,
    default: 100,
  }),
  FailedRowAfter: query("after", "Only ids behind this one. What `next` links use", {
    type: "string",
    pattern: "^[0-9]{1,15}$",
  }),
  FailedRowLimit: query("limit", "Most rows of a page", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }),
  ConsumerName: {
    name: "consumer",
    in: "path",
    required: true,
    description: "The consumer",
    schema: component("schemas", "ConsumerName"),
  },
  EventId: {
    name: "event",
    in: "path",
    required: true,
    description: "The id of the event, percent-encoded",
    schema: { type: "string", minLength: 1, maxLength: 1_000, examples: ["order-1-placed"] },
  },
  WithheldAfter: query("after", "Only events behind this offset. What `next` links use", {
    type: "string",
    pattern: "^(-1|[0-9]{1,19})$",
  }),
  WithheldLimit: query("limit", "Most events of a page", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }),
  UnreadAfter: query("after", "Only events behind this position. What `next` links use", {
    type: "string",
    pattern: "^(-1|[0-9]{1,19})$",
  }),
  UnreadLimit: query("limit", "Most events of a page", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }),
  CountOnly: query("count", "True: the count alone", { type: "boolean", default: false }),
  SnapshotOffset: query("offset", "Of bytes: the offset of the last event that is in the state", {
    type: "string",
    pattern: "^[0-9]{1,16}$",
    examples: ["17"],
  }),
  SnapshotBy: query("by", "Only one by this: `client`, or `decider:` and the name of a decider", {
    type: "string",
    pattern: ownerPattern.source,
    examples: ["client", "decider:order"],
  }),
  LockKey: {
    name: "key",
    in: "path",
    required: true,
    description: "The key of the lock",
    schema: component("schemas", "LockKey"),
  },
  LockTokenQuery: query("token", "The fencing token, instead of a body", { type: "string", pattern: "^[0-9]{1,18}$" }),
  SagaName: {
    name: "saga",
    in: "path",
    required: true,
    description: "Name of the saga, as its module defines it",
    schema: { type: "string", pattern: "^[a-z][a-z0-9-]{0,62}$", examples: ["order-fulfillment"] },
  },
  SagaId: {
    name: "saga",
    in: "path",
    required: true,
    description: "Id of the saga",
    schema: component("schemas", "SagaId"),
  },
  CorrelationId: header("Correlation-Id", "The `correlationid` of the saga's events. Default: the id of the saga", {
    type: "string",
    minLength: 1,
    maxLength: 256,
  }),
  CorrelationIdQuery: query("correlationid", "The same, instead of the header", {
    type: "string",
    minLength: 1,
    maxLength: 256,
  }),
  SagaIdempotencyKey: header(
    "Idempotency-Key",
    "The same key and the same request start one saga and get the same answer, as long as the saga is kept. Visible ASCII characters",
    { type: "string", pattern: "^[!-~]{1,255}$" },
  ),
  SagaStateQuery: query("state", "Only sagas of this state", component("schemas", "SagaState")),
  SagaCorrelationQuery: query("correlation", "Only sagas of this correlation id", filterText),
  SagaNameQuery: query("saga", "Only sagas of this name", filterText),
  SagaAfter: query("after", "What `next` links use", { type: "string", pattern: "^[0-9]{1,16}$" }),
  SagaLimit: query("limit", "Most sagas of a page", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }),
  ProjectionName: {
    name: "name",
    in: "path",
    required: true,
    description: "The projection",
    schema: component("schemas", "ProjectionName"),
  },
  ProjectionAfter: query(
    "after",
    "Only names behind this one. What `next` links use",
    component("schemas", "ProjectionName"),
  ),
  ProjectionAtLeast: query(
    "atLeast",
    "Answers when everything up to this position is in it, such as the `lastPosition` of an append or a command. Where the module says how it is read, and has a parameter of this name itself, it is the module's",
    { type: "string", pattern: "^[0-9]{1,16}$", examples: ["1042"] },
  ),
  ProjectionWait: query("wait", "How long `atLeast` waits, at most 60s", {
    type: "string",
    pattern: "^[0-9]{1,9}(ms|s|m|h|d)$",
    default: "5s",
  }),
  RowKey: query("key", "One row: its key, or a JSON array where the key has several parts", {
    type: "string",
    examples: ["DE", '["DE","2026-11-21"]'],
  }),
  RowAfter: query("after", "Only rows behind this key. What `next` links use", { type: "string" }),
  ConsumerAfter: query(
    "after",
    "Only names behind this one. What `next` links use",
    component("schemas", "ConsumerName"),
  ),
  ConsumerLimit: query("limit", "Most consumers of a page", {
    type: "integer",
    minimum: 1,
    maximum: 1_000,
    default: 100,
  }),
  SubscriptionAfter: query(
    "after",
    "Only names behind this one. What `next` links use",
    component("schemas", "SubscriptionName"),
  ),
  SubscriptionLimit: query("limit", "Most subscriptions of a page", {
    type: "integer",
    minimum: 1,
    maximum: 1_000,
    default: 100,
  }),
  IfMatch: header(
    "If-Match",
    'The version that the stream must have: `"17"` (its last offset is 17; a weak tag is accepted), `*` (something was appended), `"-1"` (nothing was ever appended)',
    { type: "string", pattern: '^(\\*|(W/)?"(-1|[0-9]{1,19})")$', examples: ['"17"', "*"] },
  ),
  IfNoneMatch: header("If-None-Match", "`*`: nothing was ever appended to the stream; excludes If-Match", {
    type: "string",
    const: "*",
  }),
  IdempotencyKey: header(
    "Idempotency-Key",
    "The same key and the same request to the same stream get the same answer, also after a crash; ids that the producer did not give are derived from the key. Visible ASCII characters. Kept for IDEMPOTENCY_WINDOW, by default 24 hours",
    { type: "string", pattern: "^[!-~]{1,255}$" },
  ),
  CommandIdempotencyKey: header(
    "Idempotency-Key",
    "The same key and the same request to the same command get the same answer, also after a crash; nothing happens twice. Visible ASCII characters. Kept for IDEMPOTENCY_WINDOW, by default 24 hours",
    { type: "string", pattern: "^[!-~]{1,255}$" },
  ),
  WorkflowId: header(
    "Workflow-Id",
    "The workflow that goes on; it may be a new one of a chosen id. Or `workflowid` in the query",
    {
      type: "string",
      minLength: 1,
      maxLength: 256,
    },
  ),
  WorkflowIdQuery: query("workflowid", "The same as `Workflow-Id`", { type: "string", minLength: 1, maxLength: 256 }),
  WorkflowIdPath: {
    name: "workflow",
    in: "path",
    required: true,
    description: "The id of the workflow, percent-encoded",
    schema: { type: "string", minLength: 1, maxLength: 256, examples: ["checkout-7"] },
  },
  CommandName: {
    name: "command",
    in: "path",
    required: true,
    description: "The name of the command",
    schema: { type: "string", examples: ["add-user"] },
  },
  CeSpecVersion: cloudEventHeader("specversion", "always 1.0", "1.0"),
  CeType: cloudEventHeader("type", "what happened", "OrderPlaced"),
  CeId: cloudEventHeader("id", "unique with the source within the stream", "order-1-placed"),
  CeSource: cloudEventHeader("source", "a URI reference", "/shop/checkout"),
  CeSubject: cloudEventHeader("subject", "what the event is about, within the source", "o-1"),
  CeTime: cloudEventHeader("time", "when it happened, RFC 3339", "2026-11-21T10:00:00Z"),
  CeCorrelationId: cloudEventHeader("correlationid", "joins the events of one process", "checkout-7"),
  CePartitionKey: cloudEventHeader("partitionkey", "events of one key are handed out in order", "o-1"),
} satisfies Record<string, Parameter>;

export type ParameterName = keyof typeof parameters;

/** References to parameters of the components. */
export const use = (...names: ParameterName[]) => names.map((name) => component("parameters", name));

/** The headers of the components, by name. */
export const headers: Record<string, Header> = {
  RequestId: {
    description:
      "The client's X-Request-Id, or a new one; stands on problems, and on answers to requests that bore one",
    schema: { type: "string" },
  },
  RetryAfter: { description: "Seconds to wait before trying again", schema: { type: "integer" } },
  LastOffset: {
    description:
      'The version of the stream, in quotes, as If-Match takes it: the last offset ever given; `"-1"` when nothing was ever appended',
    schema: { type: "string", examples: ['"17"'] },
  },
  NextPage: {
    description: 'The next page, with rel="next"; missing on the last one',
    schema: { type: "string" },
  },
  ProjectionPosition: {
    description: "Everything up to this position of the log is in what was read; -1 before the first event",
    schema: { type: "string", examples: ["1042"] },
  },
  EntityTag: { description: "Changes with the content", schema: { type: "string" } },
};
