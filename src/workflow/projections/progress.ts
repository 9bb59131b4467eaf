// Lets readers wait until a projection has come to a position: one look for all who wait for it, when it has moved and now and then.
import type { Log } from "../../base/log.ts";

export type Progress = {
  /** Resolves true when it has come to the position, false when the time is over. Rejects when the signal fires or the position cannot be read. */
  reach: (projection: string, position: number, waitMs: number, signal: AbortSignal) => Promise<boolean>;
  /** It may have moved, as far as this process knows. */
  moved: (projection: string) => void;
  /** Ends all waiting: the service drains. */
  drain: () => void;
  /** Readers that wait. */
  waiting: () => number;
};

export type ProgressOptions = {
  /** Up to where the tables that answer have come; null where there are none. */
  read: (projection: string) => Promise<number | null>;
  log: Log;
};

type Waiting = { position: number; settle: (reached: boolean) => void };
type Watch = {
  waiting: Set<Waiting>;
  isLooking: boolean;
  again: boolean;
  restMs: number;
  timer: Timer | null;
  atMs: number;
};
type Timer = ReturnType<typeof setTimeout>;

/** Between two looks, in milliseconds: after what has moved here, and where another process runs it, longer each time. */
const movedMs = 5;
const firstRestMs = 20;
const maxRestMs = 250;

export function createProgress({ read, log }: ProgressOptions): Progress {
  const watches = new Map<string, Watch>();
  let draining = false;

  function schedule(projection: string, watch: Watch, ms: number): void {
    const atMs = performance.now() + ms;
    // Whoever comes later does not put it off.
    if (watch.timer !== null && watch.atMs <= atMs) return;
    if (watch.timer !== null) clearTimeout(watch.timer);
    watch.atMs = atMs;
    watch.timer = setTimeout(() => void look(projection, watch), ms);
  }

  async function look(projection: string, watch: Watch): Promise<void> {
    watch.timer = null;
    watch.isLooking = true;
    watch.again = false;
    try {
      const position = (await read(projection)) ?? -1;
      for (const one of [...watch.waiting]) if (one.position <= position) one.settle(true);
    } catch (error) {
      // Whoever waits has its time; the database may be back by then.
      log.debug({ err: error, projection }, "the position of a projection could not be read");
    }
    watch.isLooking = false;
    if (watch.waiting.size === 0) return;
    schedule(projection, watch, watch.again ? movedMs : watch.restMs);
    watch.restMs = Math.min(watch.restMs * 1.5, maxRestMs);
  }

  function watchOf(projection: string): Watch {
    let watch = watches.get(projection);
    if (watch === undefined) {
      watch = { waiting: new Set(), isLooking: false, again: false, restMs: firstRestMs, timer: null, atMs: 0 };
      watches.set(projection, watch);
    }
    return watch;
  }

  function leave(projection: string, watch: Watch): void {
    if (watch.waiting.size > 0) return;
    if (watch.timer !== null) clearTimeout(watch.timer);
    watch.timer = null;
    if (watches.get(projection) === watch) watches.delete(projection);
  }

  return {
    async reach(projection, position, waitMs, signal) {
      signal.throwIfAborted();
      const reached = (await read(projection)) ?? -1;
      if (reached >= position || waitMs === 0 || draining) return reached >= position;
      signal.throwIfAborted();
      return new Promise<boolean>((resolve, reject) => {
        const watch = watchOf(projection);
        const end = () => {
          clearTimeout(timer);
          signal.removeEventListener("abort", abort);
          watch.waiting.delete(one);
          leave(projection, watch);
        };
        const one: Waiting = {
          position,
          settle(is) {
            end();
            resolve(is);
          },
        };
        const abort = () => {
          end();
          reject(signal.reason);
        };
        const timer = setTimeout(() => one.settle(false), waitMs);
        signal.addEventListener("abort", abort, { once: true });
        watch.waiting.add(one);
        watch.restMs = firstRestMs;
        // It may have moved between the look and this.
        if (!watch.isLooking) schedule(projection, watch, movedMs);
        else watch.again = true;
      });
    },
    moved(projection) {
      const watch = watches.get(projection);
      if (watch === undefined) return;
      if (watch.isLooking) watch.again = true;
      else schedule(projection, watch, 0);
    },
    drain() {
      draining = true;
      for (const watch of [...watches.values()]) for (const one of [...watch.waiting]) one.settle(false);
    },
    waiting: () => [...watches.values()].reduce((sum, { waiting }) => sum + waiting.size, 0),
  };
}
