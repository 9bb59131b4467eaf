// When deletions took effect: what was deleted, the earliest moment at which that can have been, and when it was known.
import type { DeletionAnswered, Entry } from "../history.ts";
import type { Deletion, LogSnapshot } from "../log-snapshot.ts";
import { declining } from "./attempts.ts";
import { livesOf } from "./lives.ts";
import { operationsOf } from "./operations.ts";

export type DeletionAttempt = {
  op: number;
  stream: string;
  invokedAt: number;
  /** Infinity for one whose outcome is unknown: it may take effect later. */
  answeredAt: number;
  outcome: DeletionAnswered["outcome"];
  status: number | null;
  reason: string | null;
};

export type RecordedDeletion = Deletion & {
  /** It had no effect before this moment: what stands before it in the log was not yet invoked. */
  earliest: number;
  /** The requests that can have made it. */
  requests: DeletionAttempt[];
};

export type Removal = Deletion & {
  earliest: number;
  /** When it was acknowledged that the event is deleted; Infinity when it never was. */
  hiddenAt: number;
};

/** The removal of an event; null for one that is there. */
export type RemovalOf = (stream: string, offset: number) => Removal | null;

export const nothingRemoved: RemovalOf = () => null;

export function deletionAttemptsOf(history: readonly Entry[]): DeletionAttempt[] {
  const answers = new Map<number, DeletionAnswered>();
  for (const entry of history) if (entry.kind === "deleted") answers.set(entry.op, entry);
  return history.flatMap((entry) => {
    if (entry.kind !== "deleting") return [];
    const { outcome = "unknown", status = null, reason = null, at } = answers.get(entry.op) ?? {};
    const answeredAt = outcome === "unknown" || at === undefined ? Number.POSITIVE_INFINITY : at;
    return [{ op: entry.op, stream: entry.stream, invokedAt: entry.at, answeredAt, outcome, status, reason }];
  });
}

/** The records of the log, each between what is known of its neighbours and with the requests that fit there. */
export function recordedDeletions(
  history: readonly Entry[],
  { stored, deletions }: Pick<LogSnapshot, "stored" | "deletions">,
): RecordedDeletion[] {
  const operations = operationsOf(history, stored, livesOf(deletions));
  const effective = deletionAttemptsOf(history).filter(
    ({ outcome, reason }) => outcome !== "refused" && !declining.has(reason ?? ""),
  );
  return deletions.map((deletion) => {
    let after = 0;
    let before = Number.POSITIVE_INFINITY;
    for (const { first, invokedAt, acknowledgedAt } of operations) {
      if (first.position < deletion.position) after = Math.max(after, invokedAt);
      else before = Math.min(before, acknowledgedAt);
    }
    const requests = effective.filter(
      ({ stream, invokedAt, answeredAt }) => stream === deletion.stream && invokedAt <= before && answeredAt >= after,
    );
    const asked = Math.min(Number.POSITIVE_INFINITY, ...requests.map((request) => request.invokedAt));
    return { ...deletion, earliest: Math.max(after, Number.isFinite(asked) ? asked : 0), requests };
  });
}

export function removalsOf(history: readonly Entry[], log: Pick<LogSnapshot, "stored" | "deletions">): RemovalOf {
  const records = recordedDeletions(history, log);
  const known = deletionAttemptsOf(history).flatMap((request) => {
    const fitting = records.filter((record) => record.requests.some(({ op }) => op === request.op));
    // Which of them it made is not told: what the first of them took is gone in any case.
    const to = Math.min(...fitting.map((record) => record.to));
    return request.outcome === "acknowledged" && fitting.length > 0 ? [{ ...request, to }] : [];
  });
  const removals = records.map((record): Removal => {
    const acknowledgements = known.filter(({ stream, to }) => stream === record.stream && to >= record.to);
    const hiddenAt = Math.min(Number.POSITIVE_INFINITY, ...acknowledgements.map((request) => request.answeredAt));
    return { ...record, hiddenAt };
  });
  const byStream = Map.groupBy(removals, (removal) => removal.stream);
  return (stream, offset) => byStream.get(stream)?.find((removal) => removal.to >= offset) ?? null;
}
