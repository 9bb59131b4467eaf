// Finds the stream of JetStream that is mirrored, and where in it the mirror goes on.
import { type Naming, namesOf } from "../../../stream/cross-service/names.ts";
import type { RemoteSource } from "../../../stream/remote/definition.ts";
import type { MirrorCursor } from "../../../stream/remote/move.ts";
import type { Nats, NatsStream } from "../jetstream.ts";

type Asked = Pick<Nats, "findStream" | "streamOfSubject" | "message">;

/** Null as long as there is none. */
export async function locate(nats: Asked, source: RemoteSource, naming: Naming): Promise<NatsStream | null> {
  if ("service" in source)
    return nats.findStream(namesOf(source.stream, { ...naming, service: source.service }).stream);
  if ("jetstream" in source) return nats.findStream(source.jetstream);
  const name = await nats.streamOfSubject(source.subject);
  return name === null ? null : nats.findStream(name);
}

/**
 * Where to go on in a stream. One that was made anew, or has lost its end since, has other messages under the sequences that
 * were mirrored: it is begun with its first, and what is known is passed over.
 */
export async function align(nats: Asked, known: MirrorCursor | null, stream: NatsStream): Promise<MirrorCursor> {
  const { name: jetstream, created } = stream;
  const anew: MirrorCursor = { jetstream, created, sequence: 0, storedMs: null };
  if (known === null || known.jetstream !== jetstream || known.created !== created) return anew;
  if (known.sequence > stream.lastSequence) return anew;
  if (known.storedMs === null) return known;
  const message = await nats.message(jetstream, known.sequence);
  const isOther = message !== null && Math.abs(message.storedMs - known.storedMs) > 1;
  return isOther ? anew : known;
}
