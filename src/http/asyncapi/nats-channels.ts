// The channels of NATS: for each cross-service stream the subjects to which its events are published.
import { type SchemaComponent, unusedName } from "../../stream/schema/components.ts";
import type { Schema } from "../openapi/operation.ts";
import { schemas } from "../openapi/schemas.ts";
import { messagesOf } from "./messages.ts";
import type { Channel, DescribedOperation, Messages, Server } from "./parts.ts";
import { inThisDocument, multiFormat } from "./schemas.ts";

/** How the events of a cross-service stream are published. */
export type PublishedStream = {
  name: string;
  /** The JetStream stream. */
  jetstream: string;
  /** Of its events; the last token may be `{type}`. */
  subject: string;
  mode: "binary" | "structured";
};

/** The servers by their keys; their URLs have no credentials. */
export function natsServers(urls: readonly string[]): Record<string, Server> {
  return Object.fromEntries(
    urls.map((url, i) => {
      const { hostname, port, protocol } = new URL(url);
      const server: Server = {
        host: `${hostname}:${port || "4222"}`,
        protocol: "nats",
        title: "NATS JetStream",
        ...(protocol === "tls:" ? { description: "Over TLS" } : {}),
      };
      return [`nats${i + 1}`, server];
    }),
  );
}

type Parts = {
  servers: Record<string, Server>;
  channels: Record<string, Channel>;
  operations: Record<string, DescribedOperation>;
  messages: Messages;
};

/** References of all these channels to messages; beyond it they have only the message of any event. */
const maxReferences = 5_000;

/** What NATS adds to the document; nothing where there is no NATS. `events` are the names of the messages in structured mode. */
export function natsParts(
  nats: { servers: readonly string[]; streams: readonly PublishedStream[] } | null,
  registered: readonly SchemaComponent[],
  events: readonly string[],
): Parts {
  const parts: Parts = { servers: {}, channels: {}, operations: {}, messages: {} };
  if (nats === null) return parts;
  parts.servers = natsServers(nats.servers);
  const servers = Object.keys(parts.servers).map((key) => ({ $ref: `#/servers/${key}` }));
  if (nats.streams.some(({ mode }) => mode === "binary")) parts.messages = binaryMessages(registered);
  const binary = Object.keys(parts.messages);
  const room = nats.streams.length * events.length <= maxReferences;
  const keys = new Set<string>();
  for (const { name, jetstream, subject, mode } of nats.streams) {
    const key = unusedName(`nats.${name}`, keys);
    const names = mode === "binary" ? binary : events;
    const byType = subject.endsWith(typeToken);
    parts.channels[key] = {
      address: subject,
      title: `Stream ${name} in NATS`,
      description: `The events of the stream ${name}, in their order, published to the JetStream stream ${jetstream} in the ${mode} mode of the NATS binding of CloudEvents 1.0. \`Nats-Msg-Id\` is the event's id.`,
      servers,
      messages: messagesOf(room ? names : names.slice(0, 1)),
      parameters: byType ? { type: { description: typeDescription } } : {},
      bindings: { nats: { bindingVersion } },
      "x-jetstream": { stream: jetstream, subjects: [byType ? `${subject.slice(0, -typeToken.length)}*` : subject] },
    };
    parts.operations[`send.${key}`] = {
      action: "send",
      channel: { $ref: `#/channels/${key}` },
      title: `Stream ${name} to NATS`,
      summary: "Each event of the stream, once, when it has been committed",
      bindings: { nats: { bindingVersion } },
    };
  }
  return parts;
}

const typeToken = "{type}";
const typeDescription =
  "The type of the event, with `_` for each character that NATS refuses: white space and `. * > / \\`";
const bindingVersion = "0.1.0";

/** Events as headers and data; that of any event is the first. */
function binaryMessages(registered: readonly SchemaComponent[]): Messages {
  const messages: Messages = {
    "event.binary": {
      name: "event",
      title: "Any event",
      description:
        "An event of a type or a version that is not registered: its data are of the media type that `ce-datacontenttype` says.",
      headers: multiFormat(headers({})),
      payload: multiFormat({ description: "The data" }),
    },
  };
  for (const { name, type, version, description } of registered) {
    messages[`${name}.binary`] = {
      name: type,
      title: `${type}, version ${version}`,
      ...(description === null ? {} : { description }),
      contentType: "application/json",
      headers: multiFormat(headers({ "ce-type": percentEncoded(type), "ce-schemaversion": String(version) })),
      payload: { $ref: `#/components/schemas/${name}` },
    };
  }
  return messages;
}

const { Event } = schemas as { Event: { properties: Record<string, Schema> } };
const notHeaders = ["data", "data_base64"];
const required = ["specversion", "id", "source", "type", "time", "schemaversion"];

/** The attributes of events as headers; their values are percent-encoded as the NATS binding says. */
function headers(fixed: Record<string, string>): unknown {
  const properties: Record<string, Schema> = {};
  for (const [attribute, schema] of Object.entries(Event.properties)) {
    const header = `ce-${attribute}`;
    const value = fixed[header];
    if (!notHeaders.includes(attribute)) properties[header] = value === undefined ? schema : { const: value };
  }
  return { type: "object", properties: inThisDocument(properties), required: required.map((name) => `ce-${name}`) };
}

const percentEncoded = (text: string) => text.replace(/[^!#$&-~]/gu, encodeURIComponent);
