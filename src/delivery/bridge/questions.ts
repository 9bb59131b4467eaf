// How JetStream is asked: through the circuit breaker, and for as long as somebody wants to know.
import { unlessAborted } from "../../base/unless-aborted.ts";
import type { Breaker } from "./breaker.ts";
import type { Nats } from "./jetstream.ts";

/** While the circuit of a stream is open, questions about it reject with `NatsUnavailable`. Without a connection nothing is asked, so nothing is silent. */
export function guarded(nats: Nats, breaker: Breaker): Nats {
  return asking(nats, (about, ask) => (nats.state() === "connected" ? breaker.run(about, ask) : ask()));
}

/** Questions reject with the signal's reason once it fires: a server that hangs holds up nobody who ends. */
export function askedUntil(nats: Nats, signal: AbortSignal): Nats {
  return asking(nats, async (_about, ask) => {
    signal.throwIfAborted();
    return unlessAborted(ask(), signal);
  });
}

/** `about`: the stream of JetStream that is asked for, or a subject. */
type Way = <Answer>(about: string, ask: () => Promise<Answer>) => Promise<Answer>;

function asking(nats: Nats, by: Way): Nats {
  return {
    ...nats,
    findStream: (name) => by(name, () => nats.findStream(name)),
    createStream: (name, subjects, settings) => by(name, () => nats.createStream(name, subjects, settings)),
    updateStream: (name, subjects, settings) => by(name, () => nats.updateStream(name, subjects, settings)),
    streamsOfSubject: (subject) => by(subject, () => nats.streamsOfSubject(subject)),
    message: (stream, sequence) => by(stream, () => nats.message(stream, sequence)),
    findConsumer: (stream, name) => by(stream, () => nats.findConsumer(stream, name)),
    createConsumer: (settings) => by(settings.stream, () => nats.createConsumer(settings)),
    deleteConsumer: (stream, name) => by(stream, () => nats.deleteConsumer(stream, name)),
  };
}
