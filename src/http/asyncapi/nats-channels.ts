// The channels of NATS: for each cross-service stream the subjects to which its events are published, and those that are mirrored.
import { type Naming, subjectFilter } from "../../stream/cross-service/names.ts";
import type { PublishedStream } from "../../stream/cross-service/published-streams.ts";
import { type SchemaComponent, unusedName } from "../../stream/schema/components.ts";
import { binaryMessages, messagesOf } from "./messages.ts";
import {
  type Channel,
  type DescribedOperation,
  type Messages,
  natsBindings,
  type Server,
  typeDescription,
} from "./parts.ts";
import { type MirroredStream, remoteParts } from "./remote-channels.ts";

export type NatsSubject = {
  /** URLs without credentials. */
  servers: readonly string[];
  /** Of this service. */
  naming: Naming;
  streams: readonly PublishedStream[];
  remotes: readonly MirroredStream[];
  /** There are more streams than these, of one kind or the other. */
  hasMore: boolean;
  /** Of streams that say nothing of their own. */
  mode: "binary" | "structured";
};

export type NatsParts = {
  servers: Record<string, Server>;
  channels: Record<string, Channel>;
  operations: Record<string, DescribedOperation>;
  messages: Messages;
};

/** References of all these channels to messages; where there would be more, they have only the message of any event. */
const maxReferences = 5_000;

/** What NATS adds to the document. `events` are the messages of events as envelopes, that of any event first. */
export function natsParts(
  { servers: urls, naming, streams, remotes, mode: usual }: NatsSubject,
  registered: readonly SchemaComponent[],
  events: Messages,
): NatsParts {
  const servers = natsServers(urls);
  const onServers = Object.keys(servers).map((server) => ({ $ref: `#/servers/${server}` }));
  const hasBinary = remotes.length > 0 || streams.some(({ mode }) => (mode ?? usual) === "binary");
  const binary = hasBinary ? binaryMessages(registered) : {};
  const room = streams.length * (registered.length + 1) <= maxReferences;
  const channels: NatsParts["channels"] = {};
  const operations: NatsParts["operations"] = {};
  const keys = new Set<string>();
  for (const stream of streams) {
    const key = unusedName(`nats.${stream.name}`, keys);
    const mode = stream.mode ?? usual;
    const names = Object.keys(mode === "binary" ? binary : events);
    channels[key] = {
      address: stream.subject,
      title: `Stream ${stream.name} in NATS`,
      description: describe(stream, mode),
      servers: onServers,
      messages: messagesOf(room ? names : names.slice(0, 1)),
      parameters: stream.subject.endsWith("{type}") ? { type: { description: typeDescription } } : {},
      bindings: natsBindings,
      "x-jetstream": { stream: stream.jetstream, subjects: [subjectFilter(stream.subject)] },
    };
    operations[`send.${key}`] = {
      action: "send",
      channel: { $ref: `#/channels/${key}` },
      title: `Stream ${stream.name} in NATS`,
      summary: "Each event of the stream, once it is committed",
      bindings: natsBindings,
    };
  }
  const mirrored = remoteParts(remotes, naming, onServers, keys);
  return {
    servers,
    channels: { ...channels, ...mirrored.channels },
    operations: { ...operations, ...mirrored.operations },
    messages: binary,
  };
}

function describe({ name, jetstream }: PublishedStream, mode: string): string {
  const form =
    mode === "binary"
      ? "the attributes are headers `ce-*`, percent-encoded, and the payload is the data"
      : "the payload is the envelope; `ce-stream`, `ce-offset` and `ce-logid` stand among the headers too";
  return `The events of the stream ${name}, in their order, in the JetStream stream ${jetstream}. They are in the ${mode} mode of CloudEvents: ${form}. \`Nats-Msg-Id\` is the event's id.`;
}

function natsServers(urls: readonly string[]): Record<string, Server> {
  const servers: Record<string, Server> = {};
  for (const [i, url] of urls.entries()) {
    const { hostname, port, protocol } = new URL(url);
    servers[`nats${i + 1}`] = {
      host: `${hostname}:${port || "4222"}`,
      protocol: "nats",
      title: "NATS JetStream",
      ...(protocol === "tls:" ? { description: "Over TLS" } : {}),
    };
  }
  return servers;
}
