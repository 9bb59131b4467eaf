// The consumer of a mirror in JetStream: how it is called, and how it is taken away when nobody needs it any more.
import { createHash } from "node:crypto";
import type { Log } from "../../../base/log.ts";
import { sanitise } from "../../../stream/cross-service/names.ts";
import { JetStreamError, type Nats } from "../jetstream.ts";
import { toldOf } from "../refusals.ts";

const plain = /^[A-Za-z0-9-]+$/;
/** nats-server refuses longer ones; nine characters are those of the hash. */
const maxNameLength = 255;
const keptLength = maxNameLength - 9;

/**
 * `{service}_{remote}`, of the names of this service and of the remote stream. Where one of them has more than letters, digits and
 * `-`, or both are too long, that could be the name of another pair too: it ends with a hash of both then.
 */
export function consumerName(service: string, remote: string): string {
  const name = `${sanitise(service)}_${sanitise(remote)}`;
  if (plain.test(service) && plain.test(remote) && name.length <= maxNameLength) return name;
  const hash = createHash("sha256").update(`${service}\n${remote}`).digest("hex").slice(0, 8);
  return `${name.slice(0, keptLength).toWellFormed()}-${hash}`;
}

/** Where that cannot be done, it is left, and said: nothing waits for it. Returns whether another try is of no use. */
export async function takeAwayConsumer(
  nats: Pick<Nats, "deleteConsumer">,
  jetstream: string,
  consumer: string,
  log: Log,
): Promise<boolean> {
  try {
    await nats.deleteConsumer(jetstream, consumer);
    return true;
  } catch (error) {
    log.warn({ ...toldOf(error), jetstream, consumer }, "a consumer that nobody needs is left in JetStream");
    return error instanceof JetStreamError;
  }
}
