// What ended before something else began stands before it, in every stream that both have events in.
import type { Entry } from "../history.ts";
import type { ProcessEvent, ProcessSnapshot } from "../process-snapshot.ts";
import { commandRequests, eventsByMark, isAcknowledged } from "./command-attempts.ts";

/** What somebody did between two moments, and where it stands. */
export type Done = {
  what: string;
  begunAt: number;
  /** Null: nobody was told. */
  endedAt: number | null;
  events: readonly Pick<ProcessEvent, "stream" | "offset">[];
};

export function realTimeIsKept(done: readonly Done[]): string[] {
  const violations: string[] = [];
  const places = done.flatMap(({ what, begunAt, endedAt, events }) =>
    [...Map.groupBy(events, ({ stream }) => stream)].map(([stream, own]) => ({
      ...{ what, begunAt, endedAt, stream },
      first: Math.min(...own.map(({ offset }) => offset)),
      last: Math.max(...own.map(({ offset }) => offset)),
    })),
  );
  for (const [stream, own] of Map.groupBy(places, (place) => place.stream)) {
    const ended = own
      .filter((place) => place.endedAt !== null)
      .sort((a, b) => (a.endedAt as number) - (b.endedAt as number));
    let furthest: (typeof own)[number] | null = null;
    let next = 0;
    for (const place of own.toSorted((a, b) => a.begunAt - b.begunAt)) {
      for (; next < ended.length && (ended[next]?.endedAt as number) < place.begunAt; next++) {
        const before = ended[next] as (typeof own)[number];
        if (furthest === null || before.last > furthest.last) furthest = before;
      }
      if (furthest !== null && furthest.last > place.first)
        violations.push(
          `${furthest.what} ended before ${place.what} began, and stands behind it in ${stream}: ${furthest.last} and ${place.first}`,
        );
    }
  }
  return violations;
}

export function commandsKeepRealTime(history: readonly Entry[], { events }: ProcessSnapshot): string[] {
  const marks = eventsByMark(events);
  return realTimeIsKept(
    [...commandRequests(history)].map(([mark, attempts]) => {
      const ends = attempts.filter(isAcknowledged).map(({ answer }) => answer?.at as number);
      return {
        ...{ what: mark, begunAt: Math.min(...attempts.map(({ at }) => at)), events: marks.get(mark) ?? [] },
        endedAt: ends.length === 0 ? null : Math.min(...ends),
      };
    }),
  );
}
