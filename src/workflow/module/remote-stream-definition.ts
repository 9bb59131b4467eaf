// A remote stream that a module brings along: what is mirrored, and the local stream that has it.
import { streamName } from "../../stream/event.ts";

type Tries = { maxDeliveries?: number; backoff?: { initial?: string; factor?: number; max?: string } };

/** The body of `PUT /api/remote-streams/{name}`. */
export type RemoteStreamOptions = Tries &
  ({ service: string; stream: string } | { subject: string } | { jetstream: string; subject?: string });

export type RemoteStreamDefinition = {
  readonly kind: "remote-stream";
  /** Of the local stream. */
  readonly name: string;
  readonly options: RemoteStreamOptions;
};

/** A remote stream of a module. Throws on a name that is none; the rest is checked as the service starts. */
export function defineRemoteStream(name: string, options: RemoteStreamOptions): RemoteStreamDefinition {
  if (!streamName.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a stream`);
  return { kind: "remote-stream", name, options };
}
