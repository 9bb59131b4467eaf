// Sweeps the ledger at an interval: one process for all, one duty after the other, each within its share of the time.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Pool } from "../../storage/pool.ts";
import { beginDuty } from "../../stream/duty.ts";
import { createExpiryDuty, createStreamDeletionsDuty } from "./deletions.ts";
import type { SweepDuty } from "./duty.ts";
import {
  createPausedKeysDuty,
  createReplayedLettersDuty,
  createRevocationsDuty,
  createStepsDuty,
} from "./leftovers.ts";
import { createOverdueDuty } from "./overdue.ts";

export type SweeperOptions = {
  pool: Pool;
  /** Something under this cursor was taken back or settled. */
  onChanged: (cursor: number) => void;
  log: Log;
};

export type Sweeper = { stop: () => Promise<void> };

const everyMs = 2_000;
const dutyMs = 1_000;

export function startSweeper({ pool, onChanged, log }: SweeperOptions): Sweeper {
  const duties: Record<string, SweepDuty> = {
    overdue: createOverdueDuty(pool, onChanged),
    "deleted streams": createStreamDeletionsDuty(pool, onChanged),
    "paused keys": createPausedKeysDuty(pool, onChanged),
    expiry: createExpiryDuty(pool, log),
    steps: createStepsDuty(pool),
    revocations: createRevocationsDuty(pool),
    "replayed letters": createReplayedLettersDuty(pool),
  };

  async function round(signal: AbortSignal): Promise<void> {
    if (!(await beginDuty(pool, "ledger", everyMs))) return;
    for (const [name, duty] of Object.entries(duties)) {
      const deadline = performance.now() + dutyMs;
      try {
        await duty(() => !signal.aborted && performance.now() < deadline);
      } catch (error) {
        // One that fails must not keep the others from their turn.
        if (!signal.aborted) log.warn({ err: error, duty: name }, "a duty of the ledger failed");
      }
      if (signal.aborted) return;
    }
  }
  const loop: Loop = startLoop("ledger", everyMs, round, log);

  return { stop: () => loop.stop() };
}
