// Reads events out of request bodies: JSON, CloudEvents structured, batch and binary.
import { emptyAppend, invalidEvent, malformedBody, Problem, type Violation } from "../base/errors.ts";
import type { NewEvent } from "./event.ts";
import { maxEventsPerAppend, type ParseContext, toEvent } from "./event-input.ts";
import { JsonWalk, type Span } from "./json-text.ts";

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

/** Whether a media type is one of JSON (JSON format of CloudEvents, section 3.1). */
export function isJson(contentType: string): boolean {
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
