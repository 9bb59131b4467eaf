// A writer: makes requests of its own, by decisions of its own seeded source, and has them sent.
import { setTimeout as sleep } from "node:timers/promises";
import { type Append, type AppendClient, createAppendClient, type NewEvent } from "./append-client.ts";
import { createDeletionClient, type DeletionClient } from "./deletion-client.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";

const eventTypes = ["Opened", "Changed", "Closed"] as const;

export type WritersOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  /** No new appends after it; those under way get their outcome. */
  stop: AbortSignal;
  giveUp: AbortSignal;
};

export type Writer = {
  name: string;
  random: Random;
  client: AppendClient;
  deletions: DeletionClient;
  services: number;
  /** A fresh request on a stream. */
  append: (
    stream: string,
    size: number,
    given?: Partial<Pick<Append, "expected" | "key">> & { ids?: boolean },
  ) => Append;
};

/** One turn of a writer. */
export type Turn = (writer: Writer) => Promise<void>;

/** Runs a writer of each kind, named, at once, turn after turn; resolves when each has the outcome of its last request. */
export async function runTurns(options: WritersOptions, kinds: readonly [string, () => Turn][]): Promise<void> {
  let op = 0;
  const nextOp = () => op++;
  await Promise.all(
    kinds.map(async ([name, kind]) => {
      const writer = createWriter(name, options, nextOp);
      const turn = kind();
      while (!options.stop.aborted) {
        await turn(writer);
        await sleep(writer.random.between(2, 40));
      }
      writer.client.close();
      writer.deletions.close();
    }),
  );
}

function createWriter(name: string, { history, random, ports, giveUp }: WritersOptions, nextOp: () => number): Writer {
  const own = random.fork(name);
  const client = createAppendClient({ history, random: own.fork("client"), ports, nextOp, giveUp });
  const deletions = createDeletionClient({ history, random: own.fork("deletions"), ports, nextOp });
  let groups = 0;
  return {
    name,
    random: own,
    client,
    deletions,
    services: ports.length,
    append(stream, size, given = {}) {
      const group = `${name}-${groups++}`;
      const events: NewEvent[] = Array.from({ length: size }, (_, i) => ({
        id: given.ids === true ? `${group}-${i}` : null,
        mark: `${group}/${i}`,
        type: own.pick(eventTypes),
        n: own.between(0, 99),
        pad: own.chance(0.1) ? "x".repeat(own.between(1, 3_000)) : "",
      }));
      return { group, stream, events, expected: given.expected ?? null, key: given.key ?? null };
    },
  };
}

export const anyService = (writer: Writer) => writer.random.between(0, writer.services - 1);

/** Mostly one event, at times a few. */
export const size = (writer: Writer) => (writer.random.chance(0.3) ? writer.random.between(2, 8) : 1);

/** Settles a fresh request or repeats an earlier one; at times both services get it at once. */
export async function repeatable(writer: Writer, earlier: Append[], fresh: () => Append): Promise<void> {
  const again = earlier.length > 0 && writer.random.chance(0.1);
  const append = again ? writer.random.pick(earlier) : fresh();
  if (!again) earlier.push(append);
  if (earlier.length > 50) earlier.shift();
  if (writer.services > 1 && writer.random.chance(0.1)) {
    await Promise.all([writer.client.attempt(append, 0), writer.client.attempt(append, 1)]);
  }
  await writer.client.settle(append);
}
