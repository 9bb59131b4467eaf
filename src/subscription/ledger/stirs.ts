// Tells who collects events, instead of taking each as it comes, that something may have come for it.
import { everyone } from "../../base/principal.ts";
import { createMatcher } from "../../stream/selection.ts";
import type { TailBatch } from "../../stream/tail.ts";
import { type Subscription, selectionOf } from "../registry/subscription.ts";

export type Stirs = {
  /** Resolves when there may be something to claim under a cursor that was not there before, and now and then; or when the signal fires. */
  next: (subscription: Subscription, cursor: number, signal: AbortSignal) => Promise<void>;
  onBatch: (batch: TailBatch) => void;
  /** Something of this cursor was settled or put back, or its subscription was configured. */
  onCursor: (cursor: number) => void;
};

/** What comes by itself, such as the time for another attempt, is looked for this often. */
const everyMs = 1_000;

type Listener = { cursor: number; matches: ReturnType<typeof createMatcher>; resolve: () => void };

export function createStirs(): Stirs {
  const listeners = new Set<Listener>();
  return {
    next(subscription, cursor, signal) {
      return new Promise((resolve) => {
        if (signal.aborted) return resolve();
        const listener: Listener = {
          cursor,
          // A predicate is Postgres's to decide: what it may match is worth a claim.
          matches: createMatcher(selectionOf(subscription), everyone),
          resolve() {
            listeners.delete(listener);
            clearTimeout(timer);
            signal.removeEventListener("abort", listener.resolve);
            resolve();
          },
        };
        const timer = setTimeout(listener.resolve, everyMs);
        signal.addEventListener("abort", listener.resolve, { once: true });
        listeners.add(listener);
      });
    },
    onBatch(batch) {
      for (const { matches, resolve } of listeners) if (batch.events.some(matches)) resolve();
    },
    onCursor(cursor) {
      for (const listener of listeners) if (listener.cursor === cursor) listener.resolve();
    },
  };
}
