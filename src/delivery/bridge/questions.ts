// How JetStream is asked: through the circuit breaker, and for as long as somebody wants to know.
import { unlessAborted } from "../../base/unless-aborted.ts";
import type { Breaker } from "./breaker.ts";
import type { Nats } from "./jetstream.ts";

/** While the circuit is open, questions reject with `NatsUnavailable`. Without a connection nothing is asked, so nothing is silent. */
export function guarded(nats: Nats, breaker: Breaker): Nats {
  return asking(nats, (ask) => (nats.state() === "connected" ? breaker.run(ask) : ask()));
}

/** Questions reject with the signal's reason once it fires: a server that hangs holds up nobody who ends. */
export function askedUntil(nats: Nats, signal: AbortSignal): Nats {
  return asking(nats, async (ask) => {
    signal.throwIfAborted();
    return unlessAborted(ask(), signal);
  });
}

type Way = <Answer>(ask: () => Promise<Answer>) => Promise<Answer>;

function asking(nats: Nats, by: Way): Nats {
  return {
    ...nats,
    findStream: (name) => by(() => nats.findStream(name)),
    createStream: (name, subjects, settings) => by(() => nats.createStream(name, subjects, settings)),
    updateStream: (name, subjects, settings) => by(() => nats.updateStream(name, subjects, settings)),
    streamsOfSubject: (subject) => by(() => nats.streamsOfSubject(subject)),
    message: (stream, sequence) => by(() => nats.message(stream, sequence)),
    findConsumer: (stream, name) => by(() => nats.findConsumer(stream, name)),
    createConsumer: (settings) => by(() => nats.createConsumer(settings)),
    deleteConsumer: (stream, name) => by(() => nats.deleteConsumer(stream, name)),
  };
}
