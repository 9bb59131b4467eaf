// Trims streams at an interval: one process for all, page by page through the streams that forget.
import type { Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import type { Pool } from "../storage/pool.ts";
import { beginDuty } from "./duty.ts";
import { findDueStreams, trimStreams } from "./retention.ts";

export type TrimmerOptions = {
  pool: Pool;
  /** Time between two rounds, in milliseconds. */
  everyMs: number;
  /** How long ids outlive their events, in milliseconds. */
  deduplicationMs: number;
  /** A control record was written at this position, and rows wait for their purge. */
  onTrimmed: (position: number) => void;
  /** The log has no partition for the next position; resolves when it is worth trying again. */
  onNoPartition: () => Promise<void>;
  log: Log;
};

export type Trimmer = {
  start: () => void;
  stop: () => Promise<void>;
  counters: () => { events: number; lastRoundSeconds: number };
};

const pageStreams = 500;
// As many are locked at once: an append to one of them waits while their record is committed.
const recordStreams = 64;
// Ids live up to this share of the window longer, so that a busy stream has a few horizons instead of thousands.
const periodsInWindow = 16;

export function createTrimmer(options: TrimmerOptions): Trimmer {
  const { pool, everyMs, deduplicationMs, log } = options;
  const periodMs = Math.ceil(deduplicationMs / periodsInWindow);
  let loop: Loop | null = null;
  let events = 0;
  let lastRoundSeconds = 0;
  // Where the last round broke off: there may be more streams than one interval is good for.
  let after = 0;

  async function round(signal: AbortSignal): Promise<void> {
    if (!(await beginDuty(pool, "trim", everyMs))) return;
    const started = performance.now();
    const elapsedMs = () => performance.now() - started;
    let gone = 0;
    while (!signal.aborted) {
      const due = await findDueStreams(pool, after, pageStreams, recordStreams);
      after = due.reached ?? 0;
      if (due.count > 0) {
        const trimmed = await trimStreams(pool, due, periodMs, options.onNoPartition);
        gone += trimmed.events;
        events += trimmed.events;
        if (trimmed.position !== null) options.onTrimmed(trimmed.position);
      }
      if (due.reached === null || elapsedMs() > everyMs / 2) break;
    }
    lastRoundSeconds = elapsedMs() / 1_000;
    if (gone > 0) log.debug({ events: gone, seconds: lastRoundSeconds }, "streams trimmed");
  }

  return {
    start() {
      loop = startLoop("trim", everyMs, round, log);
    },
    async stop() {
      await loop?.stop();
    },
    counters: () => ({ events, lastRoundSeconds }),
  };
}
