// How often what failed is tried again, and how long the pauses are.
import { requireDuration } from "../module/definition.ts";

export type RetryOptions = {
  /** Tries in all, from 1 to 1,000. Default: 5. */
  attempts?: number;
  /** The first pause, such as `100ms` (the default). */
  initial?: string;
  /** By how much each pause is longer than the last. Default: 2. */
  factor?: number;
  /** The longest pause. Default: `30s`. */
  max?: string;
};

export type RetryPolicy = {
  readonly attempts: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
};

const maxPauseMs = 3_600_000;

/** Throws a plain sentence where the policy is none. `what`: whose it is. */
export function retryPolicy(what: string, options: RetryOptions = {}): RetryPolicy {
  const { attempts = 5, initial = "100ms", factor = 2, max = "30s" } = options;
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 1_000)
    throw new Error(`${what}: retry.attempts must be a whole number from 1 to 1000, not ${attempts}`);
  if (!(factor >= 1 && factor <= 100)) throw new Error(`${what}: retry.factor must be from 1 to 100, not ${factor}`);
  return {
    attempts,
    initialMs: requireDuration(`${what}: retry.initial`, initial, 1, maxPauseMs),
    factor,
    maxMs: requireDuration(`${what}: retry.max`, max, 1, maxPauseMs),
  };
}

/** The pause behind the nth try, from 1, in milliseconds. */
export function pauseAfter({ initialMs, factor, maxMs }: RetryPolicy, attempt: number): number {
  return Math.min(maxMs, initialMs * factor ** (attempt - 1));
}
