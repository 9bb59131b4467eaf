// What an event is wherever it stands: its attributes and its data, without its place there. Read from envelopes and from messages of NATS.
import type { Held } from "../support/bridge.ts";

/** Attributes as text, and the data as the text of its JSON. */
export type Content = Record<string, string>;

/** What belongs to a place of an event, or comes and goes with the registry of a service. */
const ofPlaces = new Set([
  ...["stream", "offset", "position", "recordedtime", "logid", "dataschema"],
  ...["originstream", "originoffset", "originlogid"],
]);

/** Of the JSON format of CloudEvents. */
export function contentOf(envelope: Record<string, unknown>): Content {
  const content: Content = {};
  for (const [name, value] of Object.entries(envelope))
    if (!ofPlaces.has(name)) content[name] = name === "data" ? JSON.stringify(value) : String(value);
  return content;
}

/** Of the NATS binding: in the structured mode the payload is the envelope, in the binary mode attributes are headers. */
export function contentOfMessage({ headers, text }: Held): Content {
  if (headers["Content-Type"]?.startsWith("application/cloudevents")) return contentOf(JSON.parse(text));
  const envelope: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith("ce-")) envelope[name.slice(3)] = decodeURIComponent(value);
  if (text !== "") envelope.data = JSON.parse(text);
  return contentOf(envelope);
}

/** In which attributes two differ. */
export function differences(one: Content, other: Content): string[] {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].filter((name) => one[name] !== other[name]);
}
