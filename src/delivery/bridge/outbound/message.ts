// An event as a message of NATS: the CloudEvents binding for NATS 1.0.3, binary mode or structured mode. Pure.
import { isJson } from "../../../stream/cloudevents.ts";
import { envelope, type SchemaLinks, type StoredEvent } from "../../../stream/event.ts";
import type { Headers } from "../jetstream.ts";

export type Mode = "binary" | "structured";

export type Message = { headers: (readonly [name: string, value: string])[]; data: Uint8Array };

/** Headers by which the bridge finds out what of a stream is published; they stand on messages of both modes. */
export const streamHeader = "ce-stream";
export const offsetHeader = "ce-offset";
export const logIdHeader = "ce-logid";
/**
 * What headers and payload cannot say: `name=integer` and `name=boolean` of attributes that are no text; `data=text`, `data=json` or
 * `data=binary` where the media type does not tell how the payload is to be read. Separated by commas.
 */
const typesHeader = "Sluice-Types";

const encoder = new TextEncoder();
const nothing = new Uint8Array();
const structuredType = "application/cloudevents";

/** `logId`: of the log that the event belongs to, so that offsets of another history are told apart. */
export function messageOf(event: StoredEvent, mode: Mode, logId: string, schemas: SchemaLinks): Message {
  return mode === "binary" ? binaryMessage(event, logId, schemas) : structuredMessage(event, logId, schemas);
}

/** Each attribute is a header, the data is the payload (section 3.1). */
function binaryMessage(event: StoredEvent, logId: string, schemas: SchemaLinks): Message {
  const headers: (readonly [string, string])[] = [
    ["ce-specversion", "1.0"],
    ["ce-id", headerValue(event.id)],
    ["ce-type", headerValue(event.type)],
  ];
  const attributes = JSON.parse(event.attributes) as Record<string, string | number | boolean>;
  const types: string[] = [];
  for (const name in attributes) {
    const value = attributes[name];
    headers.push([`ce-${name}`, headerValue(String(value))]);
    if (typeof value !== "string") types.push(`${name}=${typeof value === "number" ? "integer" : "boolean"}`);
  }
  if (attributes.time === undefined) headers.push(["ce-time", event.recordedTime]);
  let contentType = attributes.datacontenttype as string | undefined;
  if (contentType === undefined && event.data !== null) {
    contentType = "application/json";
    headers.push(["ce-datacontenttype", contentType]);
  }
  const form = formOf(event, contentType);
  if (form !== null) types.push(`data=${form}`);
  if (types.length > 0) headers.push([typesHeader, types.join(",")]);
  // What calls itself a CloudEvent would be taken for the structured mode.
  if (contentType !== undefined && !contentType.toLowerCase().startsWith(structuredType))
    headers.push(["Content-Type", headerValue(contentType, " ")]);
  const schema = attributes.dataschema === undefined ? schemas.linkOf(event.type, event.schemaVersion) : null;
  if (schema !== null) headers.push(["ce-dataschema", headerValue(JSON.parse(schema) as string)]);
  headers.push(...placeOf(event, logId), ["ce-recordedtime", event.recordedTime]);
  headers.push(["ce-schemaversion", String(event.schemaVersion)]);
  if (event.correlationId !== null) headers.push(["ce-correlationid", headerValue(event.correlationId)]);
  if (event.partitionKey !== null) headers.push(["ce-partitionkey", headerValue(event.partitionKey)]);
  return { headers, data: payloadOf(event, form) };
}

/** Null where the media type tells. A JSON string under one that is none of JSON is text (JSON format, section 3.1). */
function formOf({ data, binary }: StoredEvent, contentType: string | undefined): "text" | "json" | "binary" | null {
  if (binary !== null) return "binary";
  if (data === null || contentType === undefined || isJson(contentType)) return null;
  return data.startsWith('"') ? "text" : "json";
}

function payloadOf({ data, binary }: StoredEvent, form: ReturnType<typeof formOf>): Uint8Array {
  if (data === null) return binary ?? nothing;
  return encoder.encode(form === "text" ? (JSON.parse(data) as string) : data);
}

/** The payload is the envelope (section 3.2). */
function structuredMessage(event: StoredEvent, logId: string, schemas: SchemaLinks): Message {
  const line = envelope(event, schemas);
  return {
    headers: [["Content-Type", `${structuredType}+json`], ...placeOf(event, logId)],
    data: encoder.encode(`${line.slice(0, -1)},"logid":"${logId}"}`),
  };
}

function placeOf(event: StoredEvent, logId: string): Headers {
  return [
    [streamHeader, event.stream],
    [offsetHeader, String(event.offset)],
    [logIdHeader, logId],
  ];
}

const plain = /^[\x21\x23\x24\x26-\x7e]*$/;
const unsafe = /[^\x21\x23\x24\x26-\x7e]/gu;

/** Space, `"`, `%` and all but printable ASCII are percent-encoded as UTF-8 (section 3.1.3.2). */
export function headerValue(text: string, kept = ""): string {
  if (plain.test(text)) return text;
  return text.replace(unsafe, (character) => (character === kept ? character : encodeURIComponent(character)));
}
