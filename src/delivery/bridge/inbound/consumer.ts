// The consumer of a mirror in JetStream: how it is called, and how it is taken away when nobody needs it any more.
import type { Log } from "../../../base/log.ts";
import { defaultNaming, namesOf } from "../../../stream/cross-service/names.ts";
import type { Nats } from "../jetstream.ts";

/** `remote`: name of the remote stream. */
export function consumerName(service: string, remote: string): string {
  return namesOf(remote, defaultNaming(service)).stream;
}

/** Where that cannot be done, it is left, and said: nothing waits for it. */
export async function takeAwayConsumer(
  nats: Pick<Nats, "deleteConsumer">,
  jetstream: string,
  consumer: string,
  log: Log,
): Promise<void> {
  try {
    await nats.deleteConsumer(jetstream, consumer);
  } catch (error) {
    log.warn({ err: error, jetstream, consumer }, "a consumer that nobody needs is left in JetStream");
  }
}
