// The channels of NATS from which remote streams are mirrored: what the service receives.
import { type Naming, namesOf, subjectFilter } from "../../stream/cross-service/names.ts";
import type { RemoteSource } from "../../stream/remote/definition.ts";
import { unusedName } from "../../stream/schema/components.ts";
import { messagesOf } from "./messages.ts";
import { type Channel, type DescribedOperation, natsBindings, type Reference, typeDescription } from "./parts.ts";

/** `name` is that of the local stream. */
export type MirroredStream = { name: string; source: RemoteSource };

export type RemoteParts = { channels: Record<string, Channel>; operations: Record<string, DescribedOperation> };

/** `keys` are those of other channels; `servers` refer to where the messages come from. */
export function remoteParts(
  remotes: readonly MirroredStream[],
  naming: Naming,
  servers: readonly Reference[],
  keys: Set<string>,
): RemoteParts {
  const channels: RemoteParts["channels"] = {};
  const operations: RemoteParts["operations"] = {};
  for (const { name, source } of remotes) {
    const key = unusedName(`nats.remote.${name}`, keys);
    const { address, jetstream } = placeOf(source, naming);
    const title = `Remote stream ${name}`;
    channels[key] = {
      address,
      title,
      description: `What is mirrored into the stream ${name}: CloudEvents in binary or structured mode. Plain JSON and other bytes are taken too; the last token of their subject is their type.`,
      servers: [...servers],
      messages: messagesOf(["event.binary", "event"]),
      parameters: address?.endsWith("{type}") ? { type: { description: typeDescription } } : {},
      bindings: natsBindings,
      ...(jetstream !== null && {
        "x-jetstream": { stream: jetstream, subjects: address === null ? [] : [subjectFilter(address)] },
      }),
    };
    operations[`receive.${key}`] = {
      action: "receive",
      channel: { $ref: `#/channels/${key}` },
      title,
      summary: "Each message, through a durable consumer of JetStream",
      bindings: natsBindings,
    };
  }
  return { channels, operations };
}

/** `address` is null for all subjects of a JetStream stream, `jetstream` where it is the one that has the subject. */
function placeOf(source: RemoteSource, naming: Naming): { address: string | null; jetstream: string | null } {
  if ("service" in source) {
    const names = namesOf(source.stream, { ...naming, service: source.service });
    return { address: names.subject, jetstream: names.stream };
  }
  if ("jetstream" in source) return { address: source.subject, jetstream: source.jetstream };
  return { address: source.subject, jetstream: null };
}
