// The outbox: rows of transactions that were committed become events once and in order, those that were rolled back never.
import type { Entry } from "../history.ts";
import type { OutboxWriting, OutboxWritten } from "../process-history.ts";
import type { ProcessEvent, ProcessSnapshot } from "../process-snapshot.ts";
import { realTimeIsKept } from "./real-time.ts";

type Transaction = OutboxWriting & { ended: OutboxWritten | null };

function transactionsOf(history: readonly Entry[]): Transaction[] {
  const ends = new Map<number, OutboxWritten>();
  for (const entry of history) if (entry.kind === "outbox-written") ends.set(entry.tx, entry);
  return history.flatMap((entry) =>
    entry.kind === "outbox-writing" ? [{ ...entry, ended: ends.get(entry.tx) ?? null }] : [],
  );
}

const writtenEvents = (events: readonly ProcessEvent[]) =>
  Map.groupBy(
    events.filter(({ type }) => type === "Written"),
    ({ data }) => String(data.mark),
  );

/** What was committed is what the writers' own table says, which the same transactions have filled. */
export function outboxBecameEvents(history: readonly Entry[], { events, written }: ProcessSnapshot): string[] {
  const violations: string[] = [];
  const committed = new Set(written);
  const found = writtenEvents(events);
  const asked = new Set<string>();
  for (const { rows, ended } of transactionsOf(history))
    for (const { mark, stream, isDoomed } of rows) {
      if (ended?.outcome === "committed" && !committed.has(mark))
        violations.push(`${mark} was committed, and is not in the table of its writer`);
      if (asked.has(mark)) continue;
      asked.add(mark);
      const own = found.get(mark) ?? [];
      const is = committed.has(mark) && !isDoomed ? 1 : 0;
      if (own.length !== is)
        violations.push(`${mark} was ${committed.has(mark) ? "" : "not "}committed, and is there ${own.length} times`);
      if (own.some((event) => event.stream !== stream))
        violations.push(`${mark} was for ${stream}, and is in ${own.map((event) => event.stream).join(", ")}`);
    }
  for (const mark of found.keys()) if (!asked.has(mark)) violations.push(`nobody wrote ${mark}`);
  return violations;
}

/** The rows of a transaction stand as they were inserted, and behind those of transactions that ended before it began. */
export function outboxKeepsOrder(history: readonly Entry[], { events }: ProcessSnapshot): string[] {
  const found = writtenEvents(events);
  const violations: string[] = [];
  const seen = new Set<string>();
  const done = transactionsOf(history).map(({ tx, writer, at, rows, ended }) => {
    // A row that is written again stands where it was.
    const own = rows.filter(({ mark }) => !seen.has(mark)).flatMap(({ mark }) => found.get(mark)?.[0] ?? []);
    for (const { mark } of rows) seen.add(mark);
    for (const [stream, those] of Map.groupBy(own, (event) => event.stream))
      if (those.some(({ offset }, i) => offset < (those[i - 1]?.offset ?? -1)))
        violations.push(
          `${writer}'s transaction ${tx} stands in ${stream} out of order: ${those.map(({ offset, data }) => `${data.mark} at ${offset}`).join(", ")}`,
        );
    const endedAt = ended?.outcome === "committed" ? ended.at : null;
    return { what: `${writer}'s transaction ${tx}`, begunAt: at, endedAt, events: own };
  });
  return [...violations, ...realTimeIsKept(done)];
}

/** What is left are the rows that cannot become events, with the reason. */
export function outboxIsEmpty(history: readonly Entry[], { written, waiting }: ProcessSnapshot): string[] {
  const violations: string[] = [];
  const committed = new Set(written);
  const rows = transactionsOf(history).flatMap((transaction) => transaction.rows);
  const doomed = new Set(rows.filter((row) => row.isDoomed && committed.has(row.mark)).map(({ mark }) => mark));
  for (const { mark, failure } of waiting) {
    if (failure === null) violations.push(`${mark} still waits`);
    else if (!doomed.has(mark)) violations.push(`${mark} was set aside: ${failure}`);
  }
  for (const mark of doomed)
    if (!waiting.some((row) => row.mark === mark)) violations.push(`${mark} cannot become an event, and is gone`);
  return violations;
}
