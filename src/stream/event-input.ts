// One event as a producer writes it: its schema, its checks, and what the service fills in.
import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { Violation } from "../base/errors.ts";
import { contentHash, uuidv7 } from "../base/ids.ts";
import { pointerToken } from "../base/json-pointer.ts";
import { isDateTime } from "../base/rfc3339.ts";
import type { NewEvent } from "./event.ts";

/** Events in one append, at most. */
export const maxEventsPerAppend = 1_000;

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
  // Where a mirrored event was appended first: believed when it comes back.
  "originstream",
  "originoffset",
  "originlogid",
  "upcasterror",
  "deliverytoken",
  "deliveryattempt",
  "deliverydeadline",
  "deliverysubscription",
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
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export type ParseContext = {
  stream: string;
  /** Name of the service, for the default source. */
  service: string;
  /** Derives ids that the producer did not give, so that a repeated request has the same ones; scoped to one request. */
  idempotencyKey: string | null;
  /** The service's own event: its type may begin with sluice. */
  own?: boolean;
};

/** What a body holds of one event: its attributes, and the text of its JSON data. */
export type EventBody = { value: Record<string, unknown>; data: string | null };

/** Checks one event and fills in what its producer left out. Null when it was found wrong, which `violations` then say. */
export function toEvent(
  body: EventBody,
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
        path: path + pointerToken(name.slice(0, 100)),
        message: "an attribute's name has 1 to 64 lower-case letters and digits",
      });
    } else if (name === "time" && !isDateTime(item as string)) {
      violations.push({ path: `${path}/time`, message: "is not a time of RFC 3339" });
    } else if (typeof item !== "object") attributes += `,"${name}":${JSON.stringify(item)}`;
  }
  attributes += "}";
  const type = value.type as string;
  if (typeof type === "string" && type.startsWith("sluice.") && context.own !== true) {
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
