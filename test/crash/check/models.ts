// Invariant 10, of projections: what is read of them equals a fold over the log up to the position that they tell.
import type { Entry } from "../history.ts";
import type { ModelRead } from "../process-history.ts";
import { checksum } from "../process-module.ts";
import type { ProcessEvent, ProcessSnapshot } from "../process-snapshot.ts";

const keyOf: Record<string, (event: ProcessEvent) => string> = {
  "stream-tally": ({ stream }) => stream,
  "type-tally": ({ type }) => type,
};

const readsOf = (history: readonly Entry[]) =>
  history.filter((entry): entry is ModelRead => entry.kind === "model-read");

/** Every answer, while the run went on and at its end. */
export function modelsEqualTheLog(history: readonly Entry[], { events }: ProcessSnapshot): string[] {
  const violations: string[] = [];
  for (const [projection, reads] of Map.groupBy(readsOf(history), (read) => read.projection)) {
    const keyed = keyOf[projection];
    if (keyed === undefined) throw new Error(`nobody knows what ${projection} folds`);
    const rows = new Map<string, { events: number; checksum: number }>();
    let next = 0;
    for (const read of reads.toSorted((a, b) => a.position - b.position)) {
      for (; next < events.length && (events[next]?.position as number) <= read.position; next++) {
        const event = events[next] as ProcessEvent;
        const row = rows.get(keyed(event)) ?? { events: 0, checksum: 0 };
        rows.set(keyed(event), { events: row.events + 1, checksum: checksum(row.checksum, event.position) });
      }
      const seen = new Map(read.rows.map((row) => [row.key, row]));
      for (const key of new Set([...rows.keys(), ...seen.keys()])) {
        const [is, was] = [seen.get(key), rows.get(key)];
        if (is?.events === was?.events && is?.checksum === was?.checksum) continue;
        violations.push(
          `${projection} at position ${read.position}, read at ${read.at} ms, has of ${key} ${told(is)} instead of ${told(was)}`,
        );
      }
    }
  }
  return violations;
}

const told = (row: { events: number; checksum: number } | undefined) =>
  row === undefined ? "nothing" : `${row.events} events (checksum ${row.checksum})`;

/** Who has read a model as of a position reads none that is older, also while it is built anew. */
export function modelsNeverGoBack(history: readonly Entry[]): string[] {
  const violations: string[] = [];
  for (const [projection, reads] of Map.groupBy(readsOf(history), (read) => read.projection)) {
    const ended = reads.toSorted((a, b) => a.at - b.at);
    let furthest = -1;
    let next = 0;
    for (const read of reads.toSorted((a, b) => a.invokedAt - b.invokedAt)) {
      for (; next < ended.length && (ended[next]?.at as number) < read.invokedAt; next++)
        furthest = Math.max(furthest, ended[next]?.position as number);
      if (read.position < furthest)
        violations.push(
          `${projection} was read as of ${read.position} at ${read.at} ms, behind an answer of ${furthest}`,
        );
    }
  }
  return violations;
}

/** At the end nothing is left to be looked at, and each event was counted once. */
export function modelsAreDone({ models, events }: ProcessSnapshot): string[] {
  const last = events.at(-1)?.position ?? -1;
  return models.flatMap(({ projection, state, lag, position, eventsProcessed }) => [
    ...(state === "running" ? [] : [`${projection} is ${state}`]),
    ...(lag === 0 ? [] : [`${projection} has a lag of ${lag}`]),
    ...(position >= last ? [] : [`${projection} stands at ${position}, and the log ends at ${last}`]),
    ...(eventsProcessed === events.length
      ? []
      : [`${projection} has counted ${eventsProcessed} events, and there are ${events.length}`]),
  ]);
}
