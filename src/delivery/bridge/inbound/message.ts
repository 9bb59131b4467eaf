// Reads messages of NATS into events: CloudEvents in both modes (NATS binding 1.0), plain JSON, other bytes.
import { bodyTooLarge, invalidEvent, malformedBody, Problem, type Violation } from "../../../base/errors.ts";
import { isJson } from "../../../stream/cloudevents.ts";
import type { NewEvent } from "../../../stream/event.ts";
import { toEvent } from "../../../stream/event-input.ts";
import { JsonWalk } from "../../../stream/json-text.ts";
import type { RemoteSource } from "../../../stream/remote/definition.ts";
import type { OriginOffset } from "../../../stream/remote/move.ts";
import { isText, jsonOrNull, onOneLine, parseJson, readJson, textOf, textOrNull } from "./payload.ts";

/** A message as JetStream stores it. */
export type StoredMessage = {
  /** Name of the stream of JetStream. */
  jetstream: string;
  sequence: number;
  /** When it was stored there, in milliseconds since 1970. */
  storedMs: number;
  subject: string;
  headers: readonly (readonly [name: string, value: string])[];
  data: Uint8Array;
};

/** An event; `origin`: where it stands in the log of the service that published it, if that says so. */
export type ReadMessage = {
  event: NewEvent | Problem;
  origin: OriginOffset | null;
  /** It was appended to the very stream that mirrors it, and comes back to it: that has it, or has forgotten it. */
  isReturned: boolean;
};

/** What is the same for all mirrors of a service. */
export type ReadSettings = {
  /** Name of this service. */
  service: string;
  maxEventBytes: number;
};

export type ReadContext = ReadSettings & {
  /** Of this service's log. */
  logId: string;
  /** The local stream. */
  stream: string;
  source: RemoteSource;
};

type Value = Record<string, unknown>;
/** Attributes, the text of JSON data, and data of other kinds. */
type Body = { value: Value; data: string | null; binary: Uint8Array | null };

// What the service that published an event says of its place there; here it has another one.
const ownPlace = ["position", "recordedtime", "stream", "offset", "logid"];
const ofFirstPlace = ["originstream", "originoffset", "originlogid"];
/** As the outbound side writes it, in lower case. */
const typesHeader = "sluice-types";
const maxOffset = /^\d{1,15}$/;
const maxIdLength = 256;
// Of the types that are the service's own, those that stand in streams which can be shared: the transitions of sagas.
const sagaTransition = /^sluice\.saga-[a-z-]+$/;

/** Reads a message. What can never become an event comes as the problem that says why. */
export function readMessage(message: StoredMessage, context: ReadContext): ReadMessage {
  let origin: OriginOffset | null = null;
  let isReturned = false;
  try {
    const headers = new Map<string, string>();
    for (const [name, value] of message.headers) headers.set(name.toLowerCase(), value);
    const body = readBody(message, headers);
    const { value } = body;
    const { dataschema, logid, stream, offset, originlogid, originstream, originoffset } = value;
    origin = placeOf(logid, stream, offset);
    // What a service passes on that it has mirrored itself says where it was appended.
    const first = origin && (placeOf(originlogid, originstream, originoffset) ?? origin);
    isReturned = first !== null && first.logId === context.logId && first.stream === context.stream;
    for (const name of ownPlace) delete value[name];
    for (const name of ofFirstPlace) delete value[name];
    // The link to a schema comes and goes with the schema; the event stays the same.
    if (origin !== null) delete value.dataschema;
    // What the envelope says without being told.
    if (body.data !== null && value.datacontenttype === "application/json") delete value.datacontenttype;
    if (body.binary !== null) value.data_base64 = Buffer.from(body.binary).toString("base64");
    const violations: Violation[] = [];
    // Who writes to the stream of a service is that service; a subject or a stream by its name may be anybody's.
    const own = origin !== null && "service" in context.source && sagaTransition.test(String(value.type));
    const parse = { stream: context.stream, service: context.service, idempotencyKey: null, own };
    const event = toEvent({ value, data: body.data }, "", parse, 0, violations);
    if (event === null || violations.length > 0) return { event: invalidEvent(violations), origin, isReturned };
    const added = value.time === undefined ? { time: new Date(message.storedMs).toISOString() } : {};
    if (first !== null) Object.assign(added, originOf(first, dataschema));
    const whole = withAttributes(event, added);
    const isTooLarge = whole.bytes > context.maxEventBytes;
    return { event: isTooLarge ? bodyTooLarge(context.maxEventBytes) : whole, origin, isReturned };
  } catch (error) {
    return { event: error instanceof Problem ? error : malformedBody(String(error)), origin, isReturned };
  }
}

/** What is no part of what the event is: the same event may come again at another time, and from another place. */
function withAttributes(event: NewEvent, added: Record<string, string>): NewEvent {
  const text = JSON.stringify(added);
  if (text === "{}") return event;
  const attributes = `${event.attributes.slice(0, -1)},${text.slice(1)}`;
  return { ...event, attributes, bytes: event.bytes + Buffer.byteLength(text) - 1 };
}

function originOf({ stream, offset, logId }: OriginOffset, dataschema: unknown): Record<string, string> {
  const place = { originstream: stream, originoffset: String(offset), originlogid: logId };
  const isLink = typeof dataschema === "string" && dataschema.length <= 1_024 && URL.canParse(dataschema);
  return isLink ? { ...place, dataschema } : place;
}

/** A place in the log of a service of this kind; null where it is none. */
function placeOf(logId: unknown, stream: unknown, offset: unknown): OriginOffset | null {
  const isOne =
    typeof logId === "string" &&
    /^[0-9a-f-]{36}$/.test(logId) &&
    typeof stream === "string" &&
    /^[A-Za-z0-9._:-]{1,200}$/.test(stream) &&
    typeof offset === "string" &&
    maxOffset.test(offset);
  return isOne ? { logId, stream, offset: Number(offset) } : null;
}

function readBody(message: StoredMessage, headers: ReadonlyMap<string, string>): Body {
  const { data } = message;
  const contentType = headers.get("content-type") ?? null;
  // NATS binding, section 3: this begins the media type of structured mode, and of nothing else.
  if (contentType !== null && /^application\/cloudevents/i.test(contentType)) {
    if (!/^application\/cloudevents\+json\s*(;|$)/i.test(contentType))
      throw new Problem(
        "unsupported-media-type",
        `Events in ${contentType} are not read; application/cloudevents+json is`,
      );
    return readStructured(textOf(data));
  }
  if (headers.has("ce-specversion") || headers.has("ce-type")) return readBinaryMode(headers, contentType, data);
  return readPlain(message, headers, contentType);
}

function readStructured(text: string): Body {
  const value = parseJson(text);
  if (!isObject(value)) throw malformedBody("An event is a JSON object");
  const walk = new JsonWalk(text);
  const span = walk.member("data");
  if (walk.refusal !== null) throw invalidEvent([{ path: span === null ? "" : "/data", message: walk.refusal }]);
  // JSON format, section 2.2: an attribute that is null is not set.
  for (const name in value) if (value[name] === null && name !== "data") delete value[name];
  if (value.specversion !== "1.0") throw invalidEvent([{ path: "/specversion", message: 'must be "1.0"' }]);
  requireIdentity(value);
  return { value, data: span === null ? null : onOneLine(text.slice(span.start, span.end)), binary: null };
}

function readBinaryMode(headers: ReadonlyMap<string, string>, contentType: string | null, data: Uint8Array): Body {
  const value = Object.create(null) as Value;
  for (const [name, raw] of headers) if (name.startsWith("ce-")) value[name.slice(3)] = decodeValue(raw);
  if (value.specversion !== "1.0")
    throw invalidEvent([{ path: "/specversion", message: 'the header ce-specversion must be "1.0"' }]);
  if ("data" in value || "data_base64" in value)
    throw invalidEvent([{ path: "/data", message: "is not a header of the binary mode" }]);
  requireIdentity(value);
  const types = headers.get(typesHeader);
  if (types !== undefined) giveTypes(value, types);
  if (value.datacontenttype === undefined && contentType !== null) value.datacontenttype = contentType;
  const type = (value.datacontenttype ?? null) as string | null;
  if (data.length === 0) return { value, data: null, binary: null };
  if (type !== null && !isJson(type)) {
    const text = isText(type) ? textOrNull(data) : null;
    return text === null ? { value, data: null, binary: data } : { value, data: JSON.stringify(text), binary: null };
  }
  const json = type === null ? jsonOrNull(data) : readJson(data);
  return json === null ? { value, data: null, binary: data } : { value, data: json, binary: null };
}

/** Attributes that the publishing service says are integers or booleans, and that look it. */
function giveTypes(value: Value, types: string): void {
  for (const entry of types.split(",")) {
    const [name, type] = entry.split("=") as [string, string | undefined];
    const text = value[name];
    if (type === "integer" && typeof text === "string" && String(Number.parseInt(text, 10)) === text)
      value[name] = Number(text);
    else if (type === "boolean" && (text === "true" || text === "false")) value[name] = text === "true";
  }
}

/** What is no CloudEvent: the last token of the subject is its type. */
function readPlain(message: StoredMessage, headers: ReadonlyMap<string, string>, contentType: string | null): Body {
  const { jetstream, sequence, storedMs, subject, data } = message;
  const json =
    data.length === 0 || (contentType !== null && !isJson(contentType))
      ? null
      : contentType === null
        ? jsonOrNull(data)
        : readJson(data);
  // A CloudEvent whose producer forgot to say so.
  if (json !== null && contentType === null && /"specversion"/.test(json)) {
    const value = parseJson(json);
    if (isObject(value) && value.specversion === "1.0" && "id" in value && "type" in value && "source" in value)
      return readStructured(json);
  }
  const given = headers.get("nats-msg-id");
  const value = Object.assign(Object.create(null) as Value, {
    id:
      given === undefined || given === "" || given.length > maxIdLength
        ? `${jetstream}:${sequence}:${storedMs}`
        : given,
    type: subject.slice(subject.lastIndexOf(".") + 1),
    source: `nats:${encodeURI(subject)}`,
    ...(contentType !== null && { datacontenttype: contentType }),
  });
  if (json !== null) return { value, data: json, binary: null };
  if (data.length > 0 && contentType === null) value.datacontenttype = "application/octet-stream";
  return { value, data: null, binary: data.length === 0 ? null : data };
}

/** What a CloudEvent must have (CloudEvents 1.0, section 3.1); without an id it could not be told from its repetition. */
function requireIdentity(value: Value): void {
  const missing = ["id", "source", "type"].filter((name) => value[name] === undefined || value[name] === "");
  if (missing.length > 0) throw invalidEvent(missing.map((name) => ({ path: `/${name}`, message: "is missing" })));
}

function isObject(value: unknown): value is Value {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Values of headers are percent-encoded UTF-8 (NATS binding, section 3.1.3.2). */
function decodeValue(raw: string): string {
  if (!raw.includes("%")) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}
