// Remembers up to which id the outbox has been dealt with for good, so that what is gone need not be passed over at each look.
import type { TransactionSnapshot } from "./row.ts";

/**
 * A row that is committed late has a lower id than rows that were there before it, so an id is settled only when every transaction
 * that may have drawn a lower one has ended. Who draws an id and begins to write much later, or makes a failed row wait again, is
 * found by the full looks, which come every few seconds.
 */
export type Horizon = {
  /** The id behind which to look. */
  after: (nowMs: number) => number;
  /** All rows that were found up to this id have been dealt with. */
  passed: (id: number) => void;
  /** Whether it is worth telling it which transactions are under way. */
  isCurious: (nowMs: number) => boolean;
  observe: (snapshot: TransactionSnapshot, nowMs: number) => void;
  /** Something was left: begin anew. */
  reset: () => void;
};

/** From drawing an id to the first write of its transaction, in milliseconds, with much room. */
const settleMs = 2_000;
const fullLookMs = 5_000;

export function createHorizon(): Horizon {
  let settled = 0;
  let highest = 0;
  let candidate: { id: number; atMs: number; xmax: number | null } | null = null;
  let fullLookAtMs = Number.NEGATIVE_INFINITY;
  const isRipe = (nowMs: number) => candidate !== null && nowMs - candidate.atMs >= settleMs;

  return {
    after(nowMs) {
      if (nowMs - fullLookAtMs < fullLookMs) return settled;
      fullLookAtMs = nowMs;
      return 0;
    },
    passed(id) {
      highest = Math.max(highest, id);
    },
    isCurious: (nowMs) => (candidate === null ? highest > settled : isRipe(nowMs)),
    observe({ xmin, xmax }, nowMs) {
      if (candidate === null) {
        if (highest > settled) candidate = { id: highest, atMs: nowMs, xmax: null };
      } else if (isRipe(nowMs)) {
        candidate.xmax ??= xmax;
        if (xmin < candidate.xmax) return;
        settled = candidate.id;
        candidate = null;
      }
    },
    reset() {
      settled = 0;
      highest = 0;
      candidate = null;
    },
  };
}
