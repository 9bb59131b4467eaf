// How the log forgets: streams are trimmed, rows and ids purged, empty partitions dropped.
import type { Log } from "../base/log.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { createPartitionRemoval } from "./partition-removal.ts";
import { createPurger } from "./purge.ts";
import { createTrimmer } from "./trimmer.ts";

export type ForgettingOptions = {
  pool: Pool;
  /** A connection of its own, for what cannot be done in a transaction. */
  connect: (settings: Record<string, string>) => Sql;
  /** Time between two rounds of each duty, in milliseconds. */
  everyMs: number;
  /** How long ids outlive their trimmed events, in milliseconds. */
  deduplicationMs: number;
  partitionSize: number;
  /** A control record was written at this position. */
  onControl: (position: number) => void;
  /** The log has no partition for the next position; resolves when it is worth trying again. */
  onNoPartition: () => Promise<void>;
  log: Log;
};

export type ForgettingCounters = {
  trimmedEvents: number;
  purgedRows: number;
  /** Invisible rows on the disk, as of the last purge. */
  waitingRows: number;
  droppedPartitions: number;
  lastRoundSeconds: number;
};

export type Forgetting = {
  start: () => void;
  /** Something was deleted. */
  wakePurge: () => void;
  counters: () => ForgettingCounters;
  stop: () => Promise<void>;
};

const recordsMs = 3_600_000;

export function createForgetting(options: ForgettingOptions): Forgetting {
  const purger = createPurger(options);
  const onTrimmed = (position: number) => {
    options.onControl(position);
    purger.wake();
  };
  const trimmer = createTrimmer({ ...options, onTrimmed });
  const removal = createPartitionRemoval({ ...options, recordsMs, onTrimmed });
  const parts = [purger, trimmer, removal];
  return {
    start() {
      for (const part of parts) part.start();
    },
    wakePurge: purger.wake,
    counters() {
      const { events: trimmedEvents, lastRoundSeconds } = trimmer.counters();
      const { rows: purgedRows, waiting: waitingRows } = purger.counters();
      return {
        trimmedEvents,
        purgedRows,
        waitingRows,
        droppedPartitions: removal.counters().dropped,
        lastRoundSeconds,
      };
    },
    async stop() {
      await Promise.all(parts.map((part) => part.stop()));
    },
  };
}
