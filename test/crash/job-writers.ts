// Writers of work: events with keys, for those who consume subscriptions and queues.
import { setTimeout as sleep } from "node:timers/promises";
import { type AppendClient, createAppendClient, type NewEvent } from "./append-client.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { ephemeralStream, sharedStream } from "./subscribed.ts";

export type JobWritersOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  streams: readonly string[];
  /** No new appends after it; those under way get their outcome. */
  stop: AbortSignal;
  giveUp: AbortSignal;
};

const eventTypes = ["Opened", "Changed", "Closed"] as const;
const writersPerStream: Record<string, number> = { [sharedStream]: 2, [ephemeralStream]: 2 };

/** Resolves when each has the outcome of its last request. */
export async function runJobWriters(options: JobWritersOptions): Promise<void> {
  let op = 0;
  const { history, random, ports, stop, giveUp } = options;
  const keys = random.fork("keys").pick([1, 4, 12, 60]);

  async function write(stream: string, name: string): Promise<void> {
    const own = random.fork(name);
    const nextOp = () => op++;
    const client: AppendClient = createAppendClient({ history, random: own.fork("client"), ports, nextOp, giveUp });
    for (let group = 0; !stop.aborted; group++) {
      const size = own.chance(0.05) ? own.between(20, 150) : own.between(1, 6);
      const append = {
        ...{ group: `${name}-${group}`, stream, expected: null, key: null },
        events: Array.from({ length: size }, (_, i) => newEvent(own, `${name}-${group}/${i}`, keys)),
      };
      if (own.chance(0.5)) await client.settle(append);
      else await client.attempt(append, own.between(0, ports.length - 1));
      await sleep(own.between(10, own.chance(0.05) ? 1_500 : 90));
    }
    client.close();
  }

  await Promise.all(
    options.streams.flatMap((stream) =>
      Array.from({ length: writersPerStream[stream] ?? 1 }, (_, i) => write(stream, `${stream}-writer-${i}`)),
    ),
  );
}

/** The id lets a request be repeated; every tenth event has no key. */
function newEvent(random: Random, mark: string, keys: number): NewEvent {
  return {
    ...{ id: mark.replace("/", "-"), mark, type: random.pick(eventTypes), n: random.between(0, 99) },
    pad: random.chance(0.05) ? "x".repeat(random.between(1, 3_000)) : "",
    partitionKey: random.chance(0.1) ? null : `key-${random.between(0, keys - 1)}`,
  };
}
