// Invariant 2: what is deleted was asked to be, by a record that tells exactly what; nothing else is gone.
import type { Entry } from "../history.ts";
import type { Deletion, LogSnapshot } from "../log-snapshot.ts";
import { type Attempt, attemptsOf } from "./attempts.ts";
import { type LifeOf, livesOf } from "./lives.ts";
import { type DeletionAttempt, deletionAttemptsOf, type RecordedDeletion, recordedDeletions } from "./removals.ts";

/** Each record takes everything of its stream that stands before it and was not deleted yet, and nothing more. */
export function deletionsTakeAll({ rows, deletions }: Pick<LogSnapshot, "rows" | "deletions">): string[] {
  const violations: string[] = [];
  const firsts = new Map<string, number>();
  for (const deletion of deletions) {
    const { stream, from, to, position } = deletion;
    const before = rows.filter((row) => row.stream === stream && row.position < position);
    const last = Math.max(-1, ...before.map((row) => row.offset));
    const first = firsts.get(stream) ?? 0;
    if (from !== first || to !== last)
      violations.push(
        `the deletion of ${stream} at position ${position} tells ${from} to ${to}, and there were ${first} to ${last}`,
      );
    firsts.set(stream, to + 1);
  }
  return violations;
}

/** Only rows of deleted events leave the disk. */
export function purgedWereDeleted({ rows, deletions }: Pick<LogSnapshot, "rows" | "deletions">): string[] {
  const ends = endsOf(deletions);
  return rows
    .filter((row) => row.purged && row.offset > (ends.get(row.stream) ?? -1))
    .map((row) => `${row.stream} ${row.offset} (position ${row.position}) left the disk, and nobody deleted it`);
}

/** The last deleted offset of each stream. */
export function endsOf(deletions: readonly Deletion[]): Map<string, number> {
  return new Map(deletions.map(({ stream, to }) => [stream, to]));
}

/**
 * Each record is the effect of a request of its own, at a moment between its invocation and its answer, and each
 * acknowledged request has a record: so an append that was acknowledged before a deletion was asked for is deleted, and
 * one that began after its acknowledgement is not.
 */
export function deletionsWereAsked(
  history: readonly Entry[],
  log: Pick<LogSnapshot, "stored" | "deletions">,
): string[] {
  const violations: string[] = [];
  const records = recordedDeletions(history, log);
  const requests = deletionAttemptsOf(history);
  const attempts = attemptsOf(history);
  const lifeOf = livesOf(log.deletions);
  const describe = ({ stream, to, position }: Deletion) =>
    `the deletion of ${stream} up to ${to} (position ${position})`;
  for (const record of unmatched(records, (record) => record.requests.map(({ op }) => op)))
    violations.push(`${describe(record)} was not asked for, or not at that time`);
  const acknowledged = requests.filter((request) => request.outcome === "acknowledged");
  const recordsOf = (request: DeletionAttempt) =>
    records.filter((record) => record.requests.some(({ op }) => op === request.op));
  for (const request of unmatched(acknowledged, recordsOf))
    violations.push(
      `deletion op ${request.op} of ${request.stream} was acknowledged (${request.invokedAt} to ${request.answeredAt} ms), and has no record of that time`,
    );
  for (const request of requests) {
    if (request.outcome !== "refused") continue;
    if (request.status !== 404)
      violations.push(
        `deletion op ${request.op} of ${request.stream} was answered ${request.status} ${request.reason}`,
      );
    else violations.push(...refusedInVain(attempts, lifeOf, records, request));
  }
  return violations;
}

/** A 404 is wrong when the stream was there all the time: an event known before, and not yet deleted at the answer. */
function refusedInVain(
  attempts: readonly Attempt[],
  lifeOf: LifeOf,
  records: readonly RecordedDeletion[],
  { op, stream, invokedAt, answeredAt }: DeletionAttempt,
): string[] {
  const known = attempts
    .filter(
      (attempt) => attempt.stream === stream && attempt.outcome === "acknowledged" && attempt.answeredAt < invokedAt,
    )
    .map((attempt) => attempt.answer?.stored.at(-1)?.offset ?? -1);
  if (known.length === 0) return [];
  const offset = Math.max(...known);
  const end = records.filter((record) => record.stream === stream)[lifeOf(stream, offset)];
  if (end !== undefined && end.earliest <= answeredAt) return [];
  return [`deletion op ${op} found no ${stream} (404), though offset ${offset} was there all the time`];
}

/** What has no partner of its own among its candidates in any assignment (bipartite matching by augmenting paths). */
function unmatched<Left, Right>(lefts: readonly Left[], candidatesOf: (left: Left) => readonly Right[]): Left[] {
  const partners = new Map<Right, Left>();
  const assign = (left: Left, tried: Set<Right>): boolean =>
    candidatesOf(left).some((right) => {
      if (tried.has(right)) return false;
      tried.add(right);
      const holder = partners.get(right);
      if (holder !== undefined && !assign(holder, tried)) return false;
      partners.set(right, left);
      return true;
    });
  return lefts.filter((left) => !assign(left, new Set()));
}
