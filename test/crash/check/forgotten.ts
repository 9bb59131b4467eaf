// What a crash of Postgres may have forgotten: claims are committed without waiting for the disk, everything else is not.
import type { Entry, Fault } from "../history.ts";
import { attemptsOf } from "./attempts.ts";
import { marksOf } from "./mark-journal.ts";
import { readingJournalsOf } from "./reading-journal.ts";

export type Crash = {
  at: number;
  /** When Postgres was there again. */
  overAt: number;
  /** What was committed before this moment was on the disk: something was asked for then and acknowledged before the crash. */
  durableUpTo: number;
};

export type Forgotten = {
  crashes: Crash[];
  /** Whether what began at one moment and was known at another can have been forgotten. */
  mayBe: (beganAt: number, knownAt: number) => boolean;
};

/** Postgres may be slow to come back, and nobody may have seen it. */
const longestOutageMs = 10_000;

export function forgottenOf(history: readonly Entry[]): Forgotten {
  const starts = new Set<number>();
  const durable: { invokedAt: number; answeredAt: number }[] = [];
  for (const attempt of attemptsOf(history)) {
    if (attempt.outcome === "acknowledged" && attempt.answer?.stored.some((event) => !event.duplicate))
      durable.push(attempt);
  }
  const settling = new Map<number, number>();
  for (const mark of marksOf(history)) if (mark.outcome === "marked") durable.push(mark);
  for (const { readings } of readingJournalsOf(history).values())
    for (const reading of readings) if (reading.read !== null && reading.read > 0) durable.push(reading);
  for (const entry of history) {
    if (entry.kind === "settling") settling.set(entry.op, entry.at);
    else if (entry.kind === "settling-answered" && entry.results.some((r) => r === "settled" || r === "extended"))
      durable.push({ invokedAt: settling.get(entry.op) ?? 0, answeredAt: entry.at });
    else if (entry.kind === "sampled") starts.add(entry.startedAt);
  }
  const crashes = history
    .filter(
      (entry): entry is Fault =>
        entry.kind === "fault" && entry.phase === "begins" && entry.what.startsWith("crash-postgres"),
    )
    .map(({ at }): Crash => {
      const next = Math.min(...[...starts].filter((start) => start > at), at + longestOutageMs);
      const known = durable.filter(({ answeredAt }) => answeredAt <= at).map(({ invokedAt }) => invokedAt);
      return { at, overAt: next, durableUpTo: known.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY) };
    });
  return {
    crashes,
    mayBe: (beganAt, knownAt) => crashes.some(({ overAt, durableUpTo }) => beganAt <= overAt && knownAt >= durableUpTo),
  };
}
