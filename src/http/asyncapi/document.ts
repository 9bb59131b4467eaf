// The AsyncAPI 3.0 document: what the service sends, over HTTP and over NATS, and what the events in it look like.
import type { SchemaComponents } from "../../stream/schema/components.ts";
import { eventStreamChannels, eventStreamOperations, serviceMessages } from "./event-streams.ts";
import { anyEvent, eventMessages } from "./messages.ts";
import { type NatsParts, type NatsSubject, natsParts } from "./nats-channels.ts";
import type { Messages, Server } from "./parts.ts";
import { schemaComponents } from "./schemas.ts";

export type AsyncApiSubject = {
  /** Where the service is reached, without a slash at its end. */
  publicUrl: string;
  registered: SchemaComponents;
  /** Null where there is no NATS. */
  nats: NatsSubject | null;
};

const description = `An event-streaming service on PostgreSQL. This document says what the service sends: events, as CloudEvents 1.0, in event streams (Server-Sent Events) over HTTP and, where a stream is shared across services, through NATS JetStream; from there remote streams are mirrored. What can be asked of it is in the [OpenAPI document](/openapi.json).

Each version of an event type that is registered is a message of its own. A channel may carry events of any type; which of them do is up to those who append. Events of types that are not registered are the message \`event\`.

In an event stream the payload of a message is the frame's \`data:\`, on one line; the frames of events have no \`event:\` unless \`named=true\`.`;

const license = { name: "MIT" };

/** The text of the document, on one line: with a large registry, a pause is half as long as with indentation. */
export function asyncApiDocument({ publicUrl, registered, nats }: AsyncApiSubject): string {
  const { components, leftOut } = registered;
  const events: Messages = { ...anyEvent, ...eventMessages(components) };
  const bridge: Partial<NatsParts> = nats === null ? {} : natsParts(nats, components, events);
  const document = {
    asyncapi: "3.0.0",
    info: { title: "Sluice", version: "0.1.0", description: describe(leftOut, nats?.hasMore ?? false), license },
    defaultContentType: "application/json",
    servers: { http: httpServer(publicUrl), ...bridge.servers },
    channels: { ...eventStreamChannels(Object.keys(events)), ...bridge.channels },
    operations: { ...eventStreamOperations, ...bridge.operations },
    components: {
      messages: { ...events, ...bridge.messages, ...serviceMessages },
      schemas: schemaComponents(components),
    },
  };
  return `${JSON.stringify(document)}\n`;
}

function describe(leftOut: number, hasMoreStreams: boolean): string {
  const told = [description];
  if (leftOut > 0)
    told.push(`Versions of types that there was no room for: ${leftOut}. \`GET /api/schemas\` lists all types.`);
  if (hasMoreStreams)
    told.push(
      "There are more streams in NATS than have channels here; `GET /api/bridge` and `GET /api/remote-streams` list all.",
    );
  return told.join("\n\n");
}

function httpServer(publicUrl: string): Server {
  const { host, protocol, pathname } = new URL(publicUrl);
  return {
    host,
    ...(pathname === "/" ? {} : { pathname }),
    protocol: protocol.slice(0, -1),
    protocolVersion: "1.1",
    title: "The service that serves this document",
  };
}
