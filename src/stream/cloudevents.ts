// Reads events out of request bodies: JSON, CloudEvents structured, batch and binary.
import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { emptyAppend, invalidEvent, malformedBody, Problem, type Violation } from "../base/errors.ts";
import { contentHash, uuidv7 } from "../base/ids.ts";
import type { NewEvent } from "./event.ts";
import { JsonWalk, type Span } from "./json-text.ts";

const maxEventsPerAppend = 1_000;

const text = (maxLength: number, description: string) => Type.String({ minLength: 1, maxLength, description });

/** An event as a producer writes it (CloudEvents 1.0, section 3); `data` may be any JSON. */
export const EventInput = Type.Object(
  {
    specversion: Type.Optional(Type.Literal("1.0")),
    id: Type.Optional(
      text(256, "Unique with source within the stream: appending it again stores nothing. Default: a UUIDv7"),
    ),
    source: Type.Optional(text(1_024, "A URI reference. Default: /{service}/streams/{stream}")),
    type: text(256, "What happened, such as OrderPlaced; types that begin with sluice. are the service's own"),
    time: Type.Optional(text(64, "When it happened, RFC 3339. Default: the time of recording")),
    datacontenttype: Type.Optional(text(256, "Media type of the data. Default: application/json")),
    dataschema: Type.Optional(text(1_024, "A URI of the schema of the data")),
    subject: Type.Optional(text(1_024, "What the event is about, within the source")),
    schemaversion: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 999_999_999 }), Type.String({ pattern: "^[1-9][0-9]{0,8}$" })], {
        description: "Version of the type's schema. Default: 1",
      }),
    ),
    correlationid: Type.Optional(text(256, "Joins the events of one process")),
    causationid: Type.Optional(text(256, "Id of the event or command that caused this one")),
    partitionkey: Type.Optional(text(256, "Events of one key are handed out in order")),
    traceparent: Type.Optional(text(256, "W3C trace context")),
    data: Type.Optional(Type.Unknown({ description: "Any JSON value" })),
    data_base64: Type.Optional(
      Type.String({ description: "Binary data in Base64 (RFC 4648 section 4), instead of data" }),
    ),
  },
  {
    additionalProperties: Type.Union(
      [Type.String({ maxLength: 4_096 }), Type.Boolean(), Type.Integer({ minimum: -2147483648, maximum: 2147483647 })],
      {
        description: "Other lower-case alphanumeric attributes are kept and given back",
      },
    ),
  },
);

export const EventsInput = Type.Union([EventInput, Type.Array(EventInput, { maxItems: maxEventsPerAppend })]);

const checker = TypeCompiler.Compile(EventInput);

const serverAttributes = new Set([
  "stream",
  "offset",
  "position",
  "recordedtime",
  "deliverytoken",
  "deliveryattempt",
  "deliverydeadline",
]);
// Columns of their own, or added by the envelope: not part of the stored attributes.
const columns = new Set([
  "specversion",
  "id",
  "type",
  "schemaversion",
  "correlationid",
  "partitionkey",
  "data",
  "data_base64",
]);
const attributeName = /^[a-z0-9]{1,64}$/;
// CloudEvents section 2 (String): no control characters, no lone surrogates.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/;
const rfc3339 =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$/;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export type ParseContext = {
  stream: string;
  /** Name of the service, for the default source. */
  service: string;
  /** Derives ids that the producer did not give, so that a repeated request has the same ones; scoped to one request. */
  idempotencyKey: string | null;
};

type Body = { value: Record<string, unknown>; data: string | null };

/** Reads a body of `application/json`, `application/cloudevents+json` or its batch form. */
export function parseJsonBody(body: string, strict: boolean, context: ParseContext): NewEvent[] {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw malformedBody(`The body is not JSON: ${error instanceof Error ? error.message : "it cannot be parsed"}`);
  }
  const walk = new JsonWalk(body);
  const violations: Violation[] = [];
  if (!Array.isArray(value)) {
    const event = parseOne(value, walk, "", strict, context, 0, violations);
    if (event === null) throw invalidEvent(violations);
    return [event];
  }
  if (value.length === 0) throw emptyAppend();
  if (value.length > maxEventsPerAppend) {
    throw invalidEvent([
      { path: "", message: `an array has at most ${maxEventsPerAppend} events, this one has ${value.length}` },
    ]);
  }
  const events: NewEvent[] = [];
  walk.elements((index) => {
    const event = parseOne((value as unknown[])[index], walk, `/${index}`, strict, context, index, violations);
    if (event !== null) events.push(event);
  });
  if (violations.length > 0) throw invalidEvent(violations);
  return events;
}

function parseOne(
  value: unknown,
  walk: JsonWalk,
  path: string,
  strict: boolean,
  context: ParseContext,
  index: number,
  violations: Violation[],
): NewEvent | null {
  const before = violations.length;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    walk.value();
    violations.push({ path, message: "an event is a JSON object" });
    return null;
  }
  walk.refusal = null;
  const span: Span | null = walk.member("data");
  if (walk.refusal !== null) violations.push({ path: span ? `${path}/data` : path, message: walk.refusal });
  let data: string | null = null;
  if (span !== null) {
    data = walk.text.slice(span.start, span.end);
    // Between tokens only: a string cannot hold a raw line break. The envelope has to stay on one line.
    if (data.includes("\n") || data.includes("\r")) data = data.replace(/[\r\n]+\s*/g, " ");
  }
  const record = value as Record<string, unknown>;
  // JSON format, section 2.2: an attribute that is null is not set.
  for (const name in record) if (record[name] === null && name !== "data") delete record[name];
  if (strict && record.specversion !== "1.0")
    violations.push({ path: `${path}/specversion`, message: 'must be "1.0"' });
  const event = toEvent({ value: record, data }, path, context, index, violations);
  return violations.length > before ? null : event;
}

/** Reads the binary content mode (CloudEvents HTTP binding 1.0, section 3.1): attributes in `ce-*` headers, data in the body. */
export function parseBinaryMode(
  headers: Iterable<[string, string]>,
  contentType: string | null,
  body: Uint8Array,
  decode: (bytes: Uint8Array) => string,
  context: ParseContext,
): NewEvent[] {
  const violations: Violation[] = [];
  // Without a prototype, on which ce-__proto__ would be lost.
  const value = Object.create(null) as Record<string, unknown>;
  for (const [name, raw] of headers) {
    if (!name.startsWith("ce-")) continue;
    const attribute = name.slice(3);
    if (attribute === "data" || attribute === "data_base64" || attribute === "datacontenttype") {
      violations.push({ path: `/${attribute}`, message: "is not a header of the binary mode" });
      continue;
    }
    value[attribute] = decodeHeader(raw);
  }
  if (value.specversion !== "1.0")
    violations.push({ path: "/specversion", message: 'the header ce-specversion must be "1.0"' });
  if (contentType !== null) value.datacontenttype = contentType;
  let data: string | null = null;
  if (body.byteLength > 0) {
    if (contentType === null || isJson(contentType)) {
      data = decode(body).trim();
      try {
        JSON.parse(data);
      } catch {
        throw malformedBody(`The body is not JSON, as its content type ${contentType ?? "(none)"} says`);
      }
      const walk = new JsonWalk(data);
      walk.value();
      if (walk.refusal !== null) violations.push({ path: "/data", message: walk.refusal });
      data = data.replace(/[\r\n]+\s*/g, " ");
    } else {
      value.data_base64 = Buffer.from(body).toString("base64");
    }
  }
  const event = toEvent({ value, data }, "", context, 0, violations);
  if (violations.length > 0 || event === null) throw invalidEvent(violations);
  return [event];
}

function isJson(contentType: string): boolean {
  return /^[^;]*[/+]json\s*(;|$)/i.test(contentType);
}

/** Header values are percent-encoded UTF-8 (HTTP binding, section 3.1.3.2). */
function decodeHeader(raw: string): string {
  const value = /^".*"$/.test(raw) ? raw.slice(1, -1).replace(/\\(.)/g, "$1") : raw;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function toEvent(
  body: Body,
  path: string,
  context: ParseContext,
  index: number,
  violations: Violation[],
): NewEvent | null {
  const { value, data } = body;
  const before = violations.length;
  if (!checker.Check(value as unknown)) collectErrors(value, path, violations);
  const source = typeof value.source === "string" ? value.source : `/${context.service}/streams/${context.stream}`;
  let attributes = `{"source":${JSON.stringify(source)}`;
  for (const name in value) {
    const item = value[name];
    if (typeof item === "string" && name !== "data_base64" && name !== "data") {
      if (controlCharacter.test(item) || !item.isWellFormed()) {
        violations.push({ path: `${path}/${name}`, message: "contains a control character or a lone surrogate" });
      }
    }
    if (name === "source" || columns.has(name)) continue;
    if (serverAttributes.has(name)) violations.push({ path: `${path}/${name}`, message: "is set by the service" });
    else if (!attributeName.test(name)) {
      violations.push({
        path: `${path}/${pointer(name)}`,
        message: "an attribute's name has 1 to 64 lower-case letters and digits",
      });
    } else if (name === "time" && !rfc3339.test(item as string)) {
      violations.push({ path: `${path}/time`, message: "is not a time of RFC 3339" });
    } else if (typeof item !== "object") attributes += `,"${name}":${JSON.stringify(item)}`;
  }
  attributes += "}";
  const type = value.type as string;
  if (typeof type === "string" && type.startsWith("sluice.")) {
    violations.push({ path: `${path}/type`, message: "types that begin with sluice. are the service's own" });
  }
  let binary: Uint8Array | null = null;
  const encoded = value.data_base64;
  if (typeof encoded === "string") {
    if (data !== null)
      violations.push({ path: `${path}/data_base64`, message: "stands beside data; an event has one of them" });
    if (!base64.test(encoded)) violations.push({ path: `${path}/data_base64`, message: "is not Base64" });
    else binary = Buffer.from(encoded, "base64");
  }
  if (violations.length > before) return null;

  const given = value as Static<typeof EventInput>;
  const correlationId = given.correlationid ?? null;
  const partitionKey = given.partitionkey ?? null;
  const schemaVersion = Number(given.schemaversion ?? 1);
  const known = given.id !== undefined || context.idempotencyKey !== null;
  const id =
    given.id ??
    (context.idempotencyKey === null ? uuidv7() : contentHash([context.idempotencyKey, context.stream, String(index)]));
  const hash = known
    ? contentHash([
        type,
        String(schemaVersion),
        correlationId ?? "",
        partitionKey ?? "",
        sortedAttributes(attributes),
        data ?? "",
        binary ?? "",
      ])
    : null;
  const bytes =
    Buffer.byteLength(id) +
    Buffer.byteLength(type) +
    Buffer.byteLength(attributes) +
    (data === null ? 0 : Buffer.byteLength(data)) +
    (binary?.byteLength ?? 0);
  return { id, known, hash, source, type, schemaVersion, correlationId, partitionKey, attributes, data, binary, bytes };
}

function sortedAttributes(attributes: string): string {
  return JSON.stringify(
    Object.entries(JSON.parse(attributes) as Record<string, unknown>).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function pointer(name: string): string {
  return name.slice(0, 100).replaceAll("~", "~0").replaceAll("/", "~1");
}

function collectErrors(value: unknown, path: string, violations: Violation[]): void {
  const seen = new Set<string>();
  for (const error of checker.Errors(value)) {
    if (seen.size >= 20) break;
    if (seen.has(error.path)) continue;
    seen.add(error.path);
    violations.push({
      path: path + error.path,
      message: error.message.charAt(0).toLowerCase() + error.message.slice(1),
    });
  }
}

/** Refuses an array that holds one id with two contents, which no order of storing could satisfy. */
export function refuseContradictions(stream: string, events: readonly NewEvent[]): void {
  if (events.length < 2) return;
  const hashes = new Map<string, string>();
  for (const event of events) {
    if (event.hash === null) continue;
    const key = `${event.source}\n${event.id}`;
    const earlier = hashes.get(key);
    if (earlier === undefined) hashes.set(key, event.hash);
    else if (earlier !== event.hash) {
      throw new Problem("event-id-conflict", `The array holds id ${event.id} twice with different contents`, {
        stream,
        ids: [event.id],
      });
    }
  }
}
