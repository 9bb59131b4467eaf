// What consumers said that they had read: which events each request surely covers, and which it may.
import type { Reading, UnreadListed } from "../consumer-history.ts";
import type { Entry } from "../history.ts";
import type { JobEvent } from "../ledger-snapshot.ts";

export type ReadingAttempt = Omit<Reading, "kind" | "at"> & {
  invokedAt: number;
  answeredAt: number;
  /** Null: unknown. */
  read: number | null;
};

export type ReadingJournal = {
  subscription: string;
  consumer: string;
  readings: ReadingAttempt[];
  lists: UnreadListed[];
};

/** One whose answer is lost may be carried out so long afterwards. */
const lateMs = 15_000;

/** Of each consumer that has read, or looked at what it has not. */
export function readingJournalsOf(history: readonly Entry[]): Map<string, ReadingJournal> {
  const answers = new Map(
    history.flatMap((entry) => (entry.kind === "reading-answered" ? [[entry.op, entry] as const] : [])),
  );
  const journals = new Map<string, ReadingJournal>();
  function journalOf({ subscription, consumer }: { subscription: string; consumer: string }): ReadingJournal {
    const key = `${subscription} ${consumer}`;
    const journal = journals.get(key) ?? { subscription, consumer, readings: [], lists: [] };
    journals.set(key, journal);
    return journal;
  }
  for (const entry of history) {
    if (entry.kind === "unread-listed") journalOf(entry).lists.push(entry);
    if (entry.kind !== "reading") continue;
    const answer = answers.get(entry.op);
    const status = answer?.status ?? null;
    // A reading of much is carried out in parts: also one that was declined may have been, for the first of them.
    if (status !== null && status >= 400 && status < 500) continue;
    const { op, at, subscription, consumer, what } = entry;
    journalOf(entry).readings.push({
      ...{ op, subscription, consumer, what, invokedAt: at, answeredAt: answer?.at ?? Number.POSITIVE_INFINITY },
      read: status === 200 ? (answer?.read ?? 0) : null,
    });
  }
  return journals;
}

/** Whether the request, if it was carried out, can have covered the event. */
export function mayCover({ what, answeredAt, read }: ReadingAttempt, { position, storedAt }: JobEvent): boolean {
  if ("positions" in what) return what.positions.includes(position);
  if ("upTo" in what) return position <= what.upTo;
  return storedAt <= answeredAt + (read === null ? lateMs : 0);
}

/** Whether the answer says that the event is read. */
export function surelyCovers({ what, read }: ReadingAttempt, position: number): boolean {
  if (read === null) return false;
  if ("positions" in what) return what.positions.includes(position);
  return position <= ("upTo" in what ? what.upTo : what.knownUpTo);
}
