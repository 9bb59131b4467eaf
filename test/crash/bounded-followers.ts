// Bounded followers: event streams that end at a place or after a number of events, one round after the other.
import { type Follower, startFollower } from "./followers.ts";
import type { Frame, History, ReaderDeclared } from "./history.ts";
import type { Random } from "./random.ts";

export type BoundedOptions = {
  history: History;
  random: Random;
  ports: readonly number[];
  /** What every round asks for; each gets a name, a beginning and bounds of its own. */
  reader: ReaderDeclared;
  /** The first position that is the run's. */
  base: number;
  dropEveryMs: number | null;
  stop: AbortSignal;
};

export type BoundedFollowers = {
  /** The round under way, or the last one. */
  current: () => Follower;
  calm: () => void;
  stop: () => Promise<void>;
};

/** Begins rounds until `stop` fires; the one under way then goes on until it is stopped or done. */
export function startBounded(options: BoundedOptions): BoundedFollowers {
  const { history, random, ports, base, dropEveryMs, stop } = options;
  let known = options.reader.single ? -1 : base - 1;
  let follower = begin(0);

  function begin(round: number): Follower {
    const reader = { ...options.reader, reader: `${options.reader.reader}-${round}`, ...bounds() };
    const next = startFollower({
      history,
      random: random.fork(String(round)),
      ports,
      reader,
      dropEveryMs,
      slow: false,
    });
    void next.ended.then(() => {
      if (!next.isDone()) return;
      known = Math.max(known, lastPlace(history, reader));
      if (!stop.aborted) follower = begin(round + 1);
    });
    return next;
  }

  /** Some lie behind what is known to be there, some before it: those have to wait for it. */
  function bounds(): Pick<ReaderDeclared, "from" | "to" | "limit"> {
    const first = options.reader.single ? 0 : base;
    // Beyond the end there is nothing to begin at: that would be a cursor of another history.
    const from =
      known < first ? (base === 0 ? "beginning" : first) : random.between(Math.max(first, known - 500), known);
    const start = typeof from === "number" ? from : 0;
    const how = random.pick(["to", "limit", "both"] as const);
    return {
      from: options.reader.single && known < first ? "beginning" : from,
      to: how === "limit" ? null : start + random.between(0, 600),
      limit: how === "to" ? null : random.between(1, 200),
    };
  }

  return {
    current: () => follower,
    calm: () => follower.calm(),
    stop: () => follower.stop(),
  };
}

/** The last place that the reader was told. */
function lastPlace({ entries }: History, { reader }: ReaderDeclared): number {
  const frame = entries.findLast(
    (entry): entry is Frame => entry.kind === "frame" && entry.reader === reader && entry.id !== null,
  );
  return Number(frame?.id?.replace("end:", "") ?? -1);
}
