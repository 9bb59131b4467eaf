// Requests as they stand in the log: one a request and life of its stream.
import type { Entry } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { type Attempt, attemptsOf, byGroup, byMark } from "./attempts.ts";
import { type LifeOf, onlyLife } from "./lives.ts";

export type Operation = {
  attempt: Attempt;
  /** The first attempt of the request. */
  invokedAt: number;
  /** The first acknowledgement; Infinity when there was none. */
  acknowledgedAt: number;
  first: LoggedEvent;
  last: LoggedEvent;
};

/** The requests that are in the log, in its order. */
export function operationsOf(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  lifeOf: LifeOf = onlyLife,
): Operation[] {
  const marks = byMark(log);
  const operations: Operation[] = [];
  for (const group of byGroup(attemptsOf(history)).values()) {
    const attempt = group[0] as Attempt;
    const invokedAt = Math.min(...group.map((g) => g.invokedAt));
    const lasts = marks.get(attempt.marks.at(-1) as string) ?? [];
    for (const first of marks.get(attempt.marks[0] as string) ?? []) {
      const life = lifeOf(first.stream, first.offset);
      const last = lasts.find((event) => lifeOf(event.stream, event.offset) === life);
      if (last === undefined) continue;
      const answers = group
        .filter((g) => g.outcome === "acknowledged" && lifeOf(g.stream, g.answer?.stored[0]?.offset ?? -1) === life)
        .map((g) => g.answeredAt);
      operations.push({
        attempt,
        invokedAt,
        acknowledgedAt: Math.min(Number.POSITIVE_INFINITY, ...answers),
        first,
        last,
      });
    }
  }
  return operations.sort((a, b) => a.first.position - b.first.position);
}
