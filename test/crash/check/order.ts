// Invariant 2: positions and offsets are gapless, times never run back, and every form of reading shows the same log.
import type { LoggedEvent, LogSnapshot } from "../log-snapshot.ts";
import { endsOf } from "./deletions.ts";

/** Positions go 0, 1, 2 … (or on from where the run began), and so do the offsets of each stream, also over deletions. */
export function rowsAreGapless(rows: LogSnapshot["rows"], base = 0): string[] {
  const violations: string[] = [];
  const next = new Map<string, number>();
  rows.forEach((row, i) => {
    const expected = i === 0 ? base : (rows[i - 1]?.position as number) + 1;
    if (row.position !== expected) violations.push(`position ${expected} is followed by ${row.position} in the table`);
    const offset = next.get(row.stream) ?? 0;
    if (row.offset !== offset)
      violations.push(`${row.stream} goes on with offset ${row.offset}, not ${offset}, at position ${row.position}`);
    next.set(row.stream, row.offset + 1);
  });
  return violations;
}

/** The replay of the log is what was stored and not deleted, and the replay of a stream is its part of it. */
export function replaysEqualLog({ stored, deletions, events, streams }: LogSnapshot): string[] {
  const ends = endsOf(deletions);
  const whole = (event: LoggedEvent) => `${event.position} ${event.stream} ${event.offset} ${event.hash}`;
  const present = stored.filter((event) => event.offset > (ends.get(event.stream) ?? -1));
  const violations = differences("the replay of the log", present.map(whole), events.map(whole));
  for (const [name, replayed] of streams) {
    const part = present.filter((event) => event.stream === name);
    // A stream that was deleted, and to which nothing was appended since, is none.
    if ((replayed === null) !== (part.length === 0))
      violations.push(
        `stream ${name} has ${part.length} events and ${replayed === null ? "is not there" : "is there"}`,
      );
    violations.push(...differences(`the replay of stream ${name}`, part.map(whole), (replayed ?? []).map(whole)));
  }
  return violations;
}

export function timesNeverRunBack(log: readonly LoggedEvent[]): string[] {
  const violations: string[] = [];
  for (let i = 1; i < log.length; i++) {
    const [before, after] = [log[i - 1] as LoggedEvent, log[i] as LoggedEvent];
    if (after.recordedTime < before.recordedTime)
      violations.push(
        `position ${after.position} was recorded at ${after.recordedTime}, before its predecessor (${before.recordedTime})`,
      );
  }
  return violations;
}

/** Where two sequences part, in one line. */
function differences(what: string, expected: readonly string[], actual: readonly string[]): string[] {
  const length = Math.max(expected.length, actual.length);
  for (let i = 0; i < length; i++) {
    if (expected[i] === actual[i]) continue;
    return [
      `${what} has at place ${i} ${actual[i] ?? "nothing"} instead of ${expected[i] ?? "nothing"} (${actual.length} of ${expected.length})`,
    ];
  }
  return [];
}
