// The body of a message: CloudEvents in both modes (NATS binding 1.0), plain JSON, other bytes.
import { invalidEvent, malformedBody, Problem } from "../../../base/errors.ts";
import { contentHash } from "../../../base/ids.ts";
import { isJson } from "../../../stream/cloudevents.ts";
import { JsonWalk } from "../../../stream/json-text.ts";
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

type Value = Record<string, unknown>;
/** Attributes, the text of JSON data, and data of other kinds. */
export type Body = { value: Value; data: string | null; binary: Uint8Array | null };

/** As the outbound side writes it, in lower case. */
const typesHeader = "sluice-types";
const maxIdLength = 256;

/** Throws a problem where it is none of these. */
export function readBody(message: StoredMessage, headers: ReadonlyMap<string, string>): Body {
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
  const form = types === undefined ? null : giveTypes(value, types);
  if (value.datacontenttype === undefined && contentType !== null) value.datacontenttype = contentType;
  const type = (value.datacontenttype ?? null) as string | null;
  const told = form === null ? null : readAs(form, data);
  if (told !== null) return { value, ...told };
  if (data.length === 0) return { value, data: null, binary: null };
  if (type !== null && !isJson(type)) {
    const text = isText(type) ? textOrNull(data) : null;
    return text === null ? { value, data: null, binary: data } : { value, data: JSON.stringify(text), binary: null };
  }
  const json = type === null ? jsonOrNull(data) : readJson(data);
  return json === null ? { value, data: null, binary: data } : { value, data: json, binary: null };
}

/** Makes integers and booleans of the attributes that are said to be, and look it; returns what the data are said to be. */
function giveTypes(value: Value, types: string): string | null {
  let form: string | null = null;
  for (const entry of types.split(",")) {
    const [name, type] = entry.split("=") as [string, string | undefined];
    if (name === "data") form = type ?? null;
    const text = value[name];
    if (type === "integer" && typeof text === "string" && String(Number.parseInt(text, 10)) === text)
      value[name] = Number(text);
    else if (type === "boolean" && (text === "true" || text === "false")) value[name] = text === "true";
  }
  return form;
}

/** Null where the data cannot be that. */
function readAs(form: string, data: Uint8Array): Pick<Body, "data" | "binary"> | null {
  if (form === "binary") return { data: null, binary: data };
  const text = form === "text" ? textOrNull(data) : null;
  const json = text !== null ? JSON.stringify(text) : form === "json" ? jsonOrNull(data) : null;
  return json === null ? null : { data: json, binary: null };
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
    id: given === undefined || given === "" || given.length > maxIdLength ? idOf(jetstream, sequence, storedMs) : given,
    type: subject.slice(subject.lastIndexOf(".") + 1),
    source: `nats:${encodeURI(subject)}`,
    ...(contentType !== null && { datacontenttype: contentType }),
  });
  if (json !== null) return { value, data: json, binary: null };
  if (data.length > 0 && contentType === null) value.datacontenttype = "application/octet-stream";
  return { value, data: null, binary: data.length === 0 ? null : data };
}

/** The same message has the same id, each time that it is read. */
function idOf(jetstream: string, sequence: number, storedMs: number): string {
  const place = `:${sequence}:${storedMs}`;
  return `${jetstream.length + place.length > maxIdLength ? contentHash([jetstream]) : jetstream}${place}`;
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
