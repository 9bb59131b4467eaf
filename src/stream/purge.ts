// Removes from the disk what is invisible: rows of trimmed and deleted events, and ids whose window is over.
import type { Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import type { Pool } from "../storage/pool.ts";
import { beginDuty } from "./duty.ts";

export type PurgerOptions = {
  pool: Pool;
  /** Time between two rounds, in milliseconds. */
  everyMs: number;
  /** How long ids outlive their trimmed events, in milliseconds. */
  deduplicationMs: number;
  /** Positions in one partition of the log. */
  partitionSize: number;
  log: Log;
};

export type Purger = {
  start: () => void;
  /** Something was trimmed or deleted. */
  wake: () => void;
  stop: () => Promise<void>;
  counters: () => { rows: number; waiting: number };
};

const batchRows = 2_000;
/** Rows that are deleted in a second: up to this rate nothing invisible stays, beyond it partitions are dropped whole. */
const rowsPerSecond = 2_000;
/** When so many partitions' worth of rows wait, nothing can be dropped that would relieve the disk: all are deleted. */
const waitingPartitions = 2;
const idsEveryMs = 60_000;

export function createPurger({ pool, everyMs, deduplicationMs, partitionSize, log }: PurgerOptions): Purger {
  const loops: Loop[] = [];
  let asked = false;
  let after = 0;
  let rows = 0;
  let waiting = 0;
  // Rows that may be deleted now: what was not used stays, up to what one interval is good for.
  const mostAtOnce = (rowsPerSecond * Math.max(1_000, everyMs)) / 1_000;
  let allowed = mostAtOnce;
  let allowedAt = performance.now();

  async function purge(signal: AbortSignal): Promise<void> {
    const wasAsked = asked;
    // Whoever asks from here on means the next round.
    asked = false;
    if (!wasAsked && !(await beginDuty(pool, "purge", everyMs))) return;
    waiting = await countWaiting(pool);
    const now = performance.now();
    allowed = Math.min(mostAtOnce, allowed + ((now - allowedAt) / 1_000) * rowsPerSecond);
    allowedAt = now;
    const isUrgent = waiting > waitingPartitions * partitionSize;
    let isFirstLap = after === 0;
    let goneInLap = 0;
    while ((isUrgent || allowed >= 1) && !signal.aborted) {
      const { gone, reached } = await purgeRows(
        pool,
        after,
        isUrgent ? batchRows : Math.min(batchRows, Math.floor(allowed)),
      );
      rows += gone;
      if (!isUrgent) allowed -= gone;
      goneInLap += gone;
      after = reached ?? 0;
      if (reached !== null) continue;
      if (isFirstLap && goneInLap === 0) break;
      isFirstLap = true;
      goneInLap = 0;
    }
    waiting = await countWaiting(pool);
  }

  async function forgetIds(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (await forgetEventIds(pool, deduplicationMs, batchRows)) !== null);
  }

  return {
    start() {
      const idsMs = Math.min(idsEveryMs, Math.max(1_000, deduplicationMs / 2));
      loops.push(startLoop("purge", everyMs, purge, log), startLoop("event ids", idsMs, forgetIds, log));
    },
    wake() {
      asked = true;
      for (const loop of loops) loop.wake();
    },
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
    counters: () => ({ rows, waiting }),
  };
}

/** Deletes about so many invisible rows of streams behind one. `reached` is null behind the last, or while another purges. */
export async function purgeRows(
  pool: Pool,
  after: number,
  limit: number,
): Promise<{ gone: number; reached: number | null }> {
  return pool.run(async (sql) => {
    const [row] = await sql<{ gone: number; reached: string | null }[]>`select * from stream_purge(${after}, ${limit})`;
    const reached = row?.reached ?? null;
    return { gone: row?.gone ?? 0, reached: reached === null ? null : Number(reached) };
  });
}

/** Forgets ids of deleted events, and of those that were trimmed longer ago than the window. Null when there is none. */
export async function forgetEventIds(pool: Pool, deduplicationMs: number, limit: number): Promise<number | null> {
  return pool.run(async (sql) => {
    const [row] = await sql<{ gone: number | null }[]>`
      select event_ids_forget(clock_timestamp() - ${`${deduplicationMs} ms`}::text::interval, ${limit}) as gone`;
    return row?.gone ?? null;
  });
}

/** About how many invisible rows are on the disk; those that left with a partition count until the purge comes to them. */
async function countWaiting(pool: Pool): Promise<number> {
  return pool.run(async (sql) => {
    const [row] = await sql<{ waiting: string }[]>`
      select coalesce(sum(to_offset - from_offset), 0) as waiting from stream_purges`;
    return Number(row?.waiting);
  });
}
