// Invariant 2: positions and offsets are gapless, times never run back, and every form of reading shows the same log.
import type { LoggedEvent, LogSnapshot } from "../log-snapshot.ts";

/** Positions in the table go 0, 1, 2 …, and so do the offsets of each stream. */
export function rowsAreGapless(rows: LogSnapshot["rows"]): string[] {
  const violations: string[] = [];
  const next = new Map<string, number>();
  rows.forEach((row, i) => {
    const expected = i === 0 ? 0 : (rows[i - 1]?.position as number) + 1;
    if (row.position !== expected) violations.push(`position ${expected} is followed by ${row.position} in the table`);
    const offset = next.get(row.stream) ?? 0;
    if (row.offset !== offset)
      violations.push(`${row.stream} goes on with offset ${row.offset}, not ${offset}, at position ${row.position}`);
    next.set(row.stream, row.offset + 1);
  });
  return violations;
}

/** The replay of the log is the table without the service's own records, and the replay of a stream is its part of it. */
export function replaysEqualRows({ rows, events, streams }: LogSnapshot): string[] {
  const key = (event: { position: number; stream: string; offset: number }) =>
    `${event.position} ${event.stream} ${event.offset}`;
  const violations = differences(
    "the replay of the log",
    rows.filter((row) => !row.stream.startsWith("$")).map(key),
    events.map(key),
  );
  const whole = (event: LoggedEvent) => `${key(event)} ${event.hash}`;
  for (const [name, replayed] of streams) {
    const part = events.filter((event) => event.stream === name);
    violations.push(...differences(`the replay of stream ${name}`, part.map(whole), replayed.map(whole)));
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
export function differences(what: string, expected: readonly string[], actual: readonly string[]): string[] {
  const length = Math.max(expected.length, actual.length);
  for (let i = 0; i < length; i++) {
    if (expected[i] === actual[i]) continue;
    return [
      `${what} has at place ${i} ${actual[i] ?? "nothing"} instead of ${expected[i] ?? "nothing"} (${actual.length} of ${expected.length})`,
    ];
  }
  return [];
}
