// The messages of the AsyncAPI document: events of each registered type and version, and the service's own frames.
import type { SchemaComponent } from "../../stream/schema/components.ts";
import { frameData, type ServiceFrame } from "../openapi/service-frames.ts";
import type { Messages, Reference } from "./parts.ts";
import { inThisDocument, multiFormat } from "./schemas.ts";

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
