// What the checks of the ledger look at: the journals of its consumers, what crashes may have forgotten, and its end.

import type { SubscriptionDeclared } from "../consumer-history.ts";
import type { Entry } from "../history.ts";
import type { DeadLetter, JobEvent, LedgerSnapshot } from "../ledger-snapshot.ts";
import { type Forgotten, forgottenOf } from "./forgotten.ts";
import { type CursorJournal, type Handout, type Journals, journalsOf, mayEnd, type Settlement } from "./handouts.ts";
import { type Mark, marksOf, mayMark } from "./mark-journal.ts";
import { mayCover, type ReadingJournal, readingJournalsOf } from "./reading-journal.ts";

export type LedgerContext = {
  history: readonly Entry[];
  ledger: LedgerSnapshot;
  journals: Journals;
  forgotten: Forgotten;
  /** It may have been handed out by a claim that a crash has forgotten. */
  isForgotten: (handout: Handout) => boolean;
  deadLetterOf: (subscription: string, cursor: string, position: number) => DeadLetter | null;
  /** When the event became a dead letter; Infinity for never. */
  deathOf: (handout: Handout) => number;
  /** The handouts of an event under a cursor, in the order of time. */
  handoutsOf: (subscription: string, cursor: string, position: number) => readonly Handout[];
  journalOf: (handout: Handout) => CursorJournal;
  marks: readonly Mark[];
  /** By subscription and consumer. */
  readingJournals: ReadonlyMap<string, ReadingJournal>;
  /** The first moment in which the event may have been marked as processed, or read; Infinity for never. */
  overriddenAt: (subscription: string, cursor: string, position: number) => number;
  /** The first moment in which the event may have been settled, marked, read or dead; Infinity for never. */
  doneAt: (subscription: string, cursor: string, position: number) => number;
  /** The same, but that an event of a read-receipt subscription is not over when it was delivered. */
  overAt: (declared: SubscriptionDeclared, cursor: string, position: number) => number;
  /** The events that a subscription selects, in order. */
  eventsOf: (declared: SubscriptionDeclared) => JobEvent[];
};

/** Deadlines are told in milliseconds, and clocks are read a moment earlier or later. */
export const slackMs = 3;
/** What an abandoned claim had in hand is put back within this time, and comes as if for the first time. */
export const puttingBackMs = 10_000;

const nothing: readonly Handout[] = [];

export function ledgerContext(history: readonly Entry[], ledger: LedgerSnapshot): LedgerContext {
  const journals = journalsOf(history);
  const forgotten = forgottenOf(history);
  const keyOf = (subscription: string, cursor: string) => `${subscription} ${cursor}`;
  const events = new Map(journals.cursors.map((c) => [keyOf(c.declared.subscription, c.cursor), c.events]));
  const dead = new Map(ledger.deadLetters.map((d) => [`${keyOf(d.subscription, d.consumer)} ${d.position}`, d]));
  const deadLetterOf: LedgerContext["deadLetterOf"] = (subscription, cursor, position) =>
    dead.get(`${keyOf(subscription, cursor)} ${position}`) ?? null;
  const handoutsOf: LedgerContext["handoutsOf"] = (subscription, cursor, position) =>
    events.get(keyOf(subscription, cursor))?.get(position) ?? nothing;
  const marks = marksOf(history);
  const markedAt = new Map<string, number>();
  for (const mark of marks) {
    const key = `${mark.subscription} ${mark.position}`;
    if (mayMark(mark)) markedAt.set(key, Math.min(mark.invokedAt, markedAt.get(key) ?? Number.POSITIVE_INFINITY));
  }
  const readingJournals = readingJournalsOf(history);
  const readAt = readTimes(readingJournals, ledger.events);
  const overriddenAt: LedgerContext["overriddenAt"] = (subscription, cursor, position) =>
    Math.min(
      markedAt.get(`${subscription} ${position}`) ?? Number.POSITIVE_INFINITY,
      readAt.get(keyOf(subscription, cursor))?.get(position) ?? Number.POSITIVE_INFINITY,
    );
  function endsAt(subscription: string, cursor: string, position: number, ends: (s: Settlement) => boolean): number {
    const deadAt = deadLetterOf(subscription, cursor, position)?.deadAt ?? Number.POSITIVE_INFINITY;
    let at = Math.min(deadAt, overriddenAt(subscription, cursor, position));
    for (const { settlements } of handoutsOf(subscription, cursor, position))
      for (const settlement of settlements) if (ends(settlement)) at = Math.min(at, settlement.invokedAt);
    return at;
  }
  return {
    ...{ history, ledger, journals, forgotten, deadLetterOf, handoutsOf, marks, readingJournals, overriddenAt },
    journalOf({ declared, cursor }) {
      const found = events.get(keyOf(declared.subscription, cursor));
      return { declared, cursor, events: found ?? new Map() };
    },
    isForgotten: ({ claimedAt, receivedAt }) => forgotten.mayBe(claimedAt, receivedAt),
    deathOf: ({ declared, cursor, position }) =>
      deadLetterOf(declared.subscription, cursor, position)?.deadAt ?? Number.POSITIVE_INFINITY,
    doneAt: (subscription, cursor, position) => endsAt(subscription, cursor, position, mayEnd),
    overAt: ({ subscription, mode }, cursor, position) =>
      endsAt(subscription, cursor, position, (s) => mayEnd(s) && !(mode === "read-receipt" && s.action === "ack")),
    eventsOf: ({ stream, types }) =>
      ledger.events.filter((event) => event.stream === stream && (types === null || types.includes(event.type))),
  };
}

/** By subscription and consumer, and by position: the first moment in which an event may have been read. */
function readTimes(
  journals: ReadonlyMap<string, ReadingJournal>,
  events: readonly JobEvent[],
): Map<string, Map<number, number>> {
  const times = new Map<string, Map<number, number>>();
  for (const [key, { readings }] of journals) {
    const own = new Map<number, number>();
    for (const event of events) {
      const first = readings.find((reading) => mayCover(reading, event));
      if (first !== undefined) own.set(event.position, first.invokedAt);
    }
    times.set(key, own);
  }
  return times;
}
