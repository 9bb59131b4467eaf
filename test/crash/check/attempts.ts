// Joins requests with their answers, and the log with its marks: what the checks of appends look at.
import type { AppendAnswered, AppendInvoked, Entry } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";

export type Attempt = Omit<AppendInvoked, "kind" | "at"> & {
  invokedAt: number;
  /** Infinity for one that had no answer. */
  answeredAt: number;
  answer: AppendAnswered | null;
  outcome: AppendAnswered["outcome"];
};

/** Answers that say that nothing was changed, though they are 5xx. */
export const declining = new Set(["storage-unavailable", "overloaded", "shutting-down"]);

export function attemptsOf(history: readonly Entry[]): Attempt[] {
  const answers = new Map<number, AppendAnswered>();
  for (const entry of history) if (entry.kind === "answered") answers.set(entry.op, entry);
  const attempts: Attempt[] = [];
  for (const entry of history) {
    if (entry.kind !== "invoked") continue;
    const { kind: _, at, ...asked } = entry;
    const answer = answers.get(entry.op) ?? null;
    attempts.push({
      ...asked,
      invokedAt: at,
      answer,
      answeredAt: answer?.at ?? Number.POSITIVE_INFINITY,
      outcome: answer?.outcome ?? "unknown",
    });
  }
  return attempts;
}

/** The attempts of each request. */
export function byGroup(attempts: readonly Attempt[]): Map<string, Attempt[]> {
  const groups = new Map<string, Attempt[]>();
  for (const attempt of attempts) {
    const group = groups.get(attempt.group);
    if (group === undefined) groups.set(attempt.group, [attempt]);
    else group.push(attempt);
  }
  return groups;
}

export function byMark(log: readonly LoggedEvent[]): Map<string, LoggedEvent[]> {
  const marks = new Map<string, LoggedEvent[]>();
  for (const event of log) marks.set(event.mark, [...(marks.get(event.mark) ?? []), event]);
  return marks;
}

export const nameOf = (attempt: Attempt) => `append ${attempt.group} (op ${attempt.op}, ${attempt.stream})`;
