// How long to wait before the next attempt: longer each time, with jitter, so that many who lost the same server do not come back at once.
import { decorrelatedJitterGenerator, ExponentialBackoff, type IBackoff } from "cockatiel";

export type Backoff = {
  /** In milliseconds. */
  nextMs: () => number;
  /** It went well: the next one is short again. */
  reset: () => void;
};

export function createBackoff({ initialMs, maxMs }: { initialMs: number; maxMs: number }): Backoff {
  const policy = new ExponentialBackoff({
    initialDelay: initialMs,
    maxDelay: maxMs,
    generator: decorrelatedJitterGenerator,
  });
  let current: IBackoff<unknown> | null = null;
  return {
    nextMs() {
      current = current === null ? policy.next() : current.next(undefined);
      return current.duration;
    },
    reset() {
      current = null;
    },
  };
}
