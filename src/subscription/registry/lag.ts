// How far a cursor is behind, as the API shows it.

export type Lag = {
  /** Matching events that are not settled, a decimal string. */
  events: string;
  /** There may be more. */
  atLeast: boolean;
  /** Since the oldest of them was recorded. */
  seconds: number;
};

export type LagColumns = { lag_events: string; lag_is_least: boolean; lag_seconds: number };

/** Events that are looked at for one cursor, and for all of a list. */
const looksAtOne = 5_000;
const looksAtAll = 50_000;
const looksAtLeast = 100;

/** How many events may be looked at for each of `count` cursors: a list costs about as much as one. */
export function looksEach(count: number): number {
  return Math.min(looksAtOne, Math.max(looksAtLeast, Math.floor(looksAtAll / Math.max(1, count))));
}

export function lagOf(row: LagColumns): Lag {
  return { events: row.lag_events, atLeast: row.lag_is_least, seconds: Number(row.lag_seconds) };
}
