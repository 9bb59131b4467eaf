// The messages of the AsyncAPI document: events of each registered type and version, and the service's own frames.
import { headerValue } from "../../delivery/bridge/outbound/message.ts";
import type { SchemaComponent } from "../../stream/schema/components.ts";
import { frameData, type ServiceFrame } from "../openapi/service-frames.ts";
import type { Messages, Reference } from "./parts.ts";
import { attributes, inThisDocument, multiFormat } from "./schemas.ts";

const envelope = "application/cloudevents+json";

/** An event of whatever type: also one without a registered schema is sent. */
export const anyEvent: Messages = {
  event: {
    name: "event",
    title: "Any event",
    description: "An event of a type or a version that is not registered: its data are any JSON value, or binary.",
    contentType: envelope,
    payload: { $ref: "#/components/schemas/Event" },
  },
};

/** Events as JSON envelopes. */
export function eventMessages(registered: readonly SchemaComponent[]): Messages {
  const messages: Messages = {};
  for (const { name, type, version, description } of registered) {
    messages[name] = {
      name: type,
      title: `${type}, version ${version}`,
      ...(description === null ? {} : { description }),
      contentType: envelope,
      payload: { $ref: `#/components/schemas/${name}.event` },
    };
  }
  return messages;
}

/** Events as headers and data, that of any event first. */
export function binaryMessages(registered: readonly SchemaComponent[]): Messages {
  const messages: Messages = {
    "event.binary": {
      name: "event",
      title: "Any event, as headers and data",
      description:
        "An event of a type or a version that is not registered: its data are of the media type that `ce-datacontenttype` says.",
      headers: multiFormat(binaryHeaders({})),
      payload: multiFormat({ description: "The data; empty where there are none" }),
    },
  };
  for (const { name, type, version, description } of registered) {
    const fixed = { type: headerValue(type), schemaversion: String(version) };
    messages[`${name}.binary`] = {
      name: type,
      title: `${type}, version ${version}, as headers and data`,
      ...(description === null ? {} : { description }),
      contentType: "application/json",
      headers: multiFormat(binaryHeaders(fixed)),
      payload: { $ref: `#/components/schemas/${name}` },
    };
  }
  return messages;
}

const always = [
  "specversion",
  "id",
  "type",
  "source",
  "time",
  ...["stream", "offset", "logid", "recordedtime", "schemaversion"],
];

/** The headers of an event, of which some have one value. */
function binaryHeaders(fixed: Record<string, string>): unknown {
  const properties: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(attributes))
    properties[`ce-${name}`] = fixed[name] === undefined ? schema : { const: fixed[name] };
  return { type: "object", properties, required: always.map((name) => `ce-${name}`) };
}

/** The frames of the event streams of one kind, whose name begins the messages' names: no type of events has such a one. */
export function frameMessages(kind: string, frames: readonly ServiceFrame[]): Messages {
  const messages: Messages = {};
  for (const frame of frames) {
    const { event, id, data, meaning } = frame;
    messages[`${kind}.${event}`] = {
      name: event,
      title: event,
      description: meaning,
      contentType: data === null ? "application/problem+json" : "application/json",
      headers: multiFormat({
        type: "object",
        description: "The fields of the frame beside `data:`",
        properties: { event: { const: event }, ...(id === null ? {} : { id: { type: "string", description: id } }) },
        required: ["event"],
      }),
      payload: multiFormat(inThisDocument(frameData(frame))),
    };
  }
  return messages;
}

/** References to messages, as a channel has them. */
export const messagesOf = (names: readonly string[]): Record<string, Reference> =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/messages/${name}` }]));
