// Finds the stream of JetStream that is mirrored, and where in it the mirror goes on.
import { type Naming, namesOf } from "../../../stream/cross-service/names.ts";
import type { RemoteSource } from "../../../stream/remote/definition.ts";
import type { MirrorCursor } from "../../../stream/remote/move.ts";
import type { Nats, NatsStream } from "../jetstream.ts";

type Asked = Pick<Nats, "findStream" | "streamsOfSubject" | "message">;

/** What is missing, as long as there is none. Throws a sentence where what there is cannot be mirrored. */
export async function locate(
  nats: Asked,
  source: RemoteSource,
  naming: Naming,
): Promise<NatsStream | { missing: string }> {
  let name: string;
  if ("service" in source) name = namesOf(source.stream, { ...naming, service: source.service }).stream;
  else if ("jetstream" in source) name = source.jetstream;
  else {
    const names = await nats.streamsOfSubject(source.subject);
    if (names.length > 1)
      throw new Error(`several streams of JetStream have the subject ${source.subject}: ${names.sort().join(", ")}`);
    if (names[0] === undefined) return { missing: `no stream of JetStream has the subject ${source.subject}` };
    name = names[0];
  }
  const stream = await nats.findStream(name);
  if (stream === null) return { missing: `JetStream has no stream ${name}` };
  // The consumer is made anew whenever a mirror begins: of what is kept for consumers alone, the rest would be gone with it.
  if (stream.retention !== "limits")
    throw new Error(
      `the JetStream stream ${name} has the retention ${stream.retention}, and forgets what was acknowledged: only one with the retention limits can be mirrored`,
    );
  return stream;
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
