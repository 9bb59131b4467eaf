// How often what failed is tried again, and how long the pauses are.
import { requireDuration } from "../module/definition.ts";

export type RetryOptions = {
  /** Tries in all, from 1 to 1,000. Default: of an event in a projection 5, of a saga's step 3, of a compensation 10. */
  attempts?: number;
  /** The first pause. Default: of an event in a projection `100ms`, of a saga's step `200ms`, of a compensation `500ms`. */
  initial?: string;
  /** By how much each pause is longer than the last. Default: 2. */
  factor?: number;
  /** The longest pause. Default: `30s`, of a compensation `1m`. */
  max?: string;
};

export type RetryPolicy = {
  readonly attempts: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
};

/** What is not said of the retries of an event in a projection, of a saga's step, and of its compensation. */
export const eventRetry: RetryPolicy = { attempts: 5, initialMs: 100, factor: 2, maxMs: 30_000 };
export const stepRetry: RetryPolicy = { attempts: 3, initialMs: 200, factor: 2, maxMs: 30_000 };
export const compensationRetry: RetryPolicy = { attempts: 10, initialMs: 500, factor: 2, maxMs: 60_000 };

const maxPauseMs = 86_400_000;

/** Throws a plain sentence where the policy is none. `what`: whose it is. */
export function retryPolicy(what: string, given: RetryOptions = {}, fallback: RetryPolicy): RetryPolicy {
  const { attempts = fallback.attempts, factor = fallback.factor, initial, max } = given;
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 1_000)
    throw new Error(`${what}.attempts must be a whole number from 1 to 1000, not ${attempts}`);
  if (!(factor >= 1 && factor <= 100)) throw new Error(`${what}.factor must be from 1 to 100, not ${factor}`);
  const pauseOf = (name: string, text: string) => requireDuration(`${what}.${name}`, text, 0, maxPauseMs);
  const initialMs = initial === undefined ? fallback.initialMs : pauseOf("initial", initial);
  const maxMs = max === undefined ? Math.max(fallback.maxMs, initialMs) : pauseOf("max", max);
  return { attempts, initialMs, factor, maxMs };
}

/** The pause behind the nth try, from 1, in milliseconds. */
export function pauseAfter({ initialMs, factor, maxMs }: RetryPolicy, attempt: number): number {
  return Math.min(maxMs, initialMs * factor ** (attempt - 1));
}
