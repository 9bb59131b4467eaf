// What the checks of the ledger look at: the journals of its consumers, what crashes may have forgotten, and its end.

import type { SubscriptionDeclared } from "../consumer-history.ts";
import type { Entry } from "../history.ts";
import type { DeadLetter, JobEvent, LedgerSnapshot } from "../ledger-snapshot.ts";
import { type Forgotten, forgottenOf } from "./forgotten.ts";
import { type Handout, type Journals, journalsOf, mayEnd } from "./handouts.ts";

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
  /** The first moment in which the event may have been settled or dead; Infinity for never. */
  doneAt: (subscription: string, cursor: string, position: number) => number;
  /** The events that a subscription selects, in order. */
  eventsOf: (declared: SubscriptionDeclared) => JobEvent[];
};

/** Deadlines are told in milliseconds, and clocks are read a moment earlier or later. */
export const slackMs = 3;

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
  return {
    ...{ history, ledger, journals, forgotten, deadLetterOf, handoutsOf },
    isForgotten: ({ claimedAt, receivedAt }) => forgotten.mayBe(claimedAt, receivedAt),
    deathOf: ({ declared, cursor, position }) =>
      deadLetterOf(declared.subscription, cursor, position)?.deadAt ?? Number.POSITIVE_INFINITY,
    doneAt(subscription, cursor, position) {
      let at = deadLetterOf(subscription, cursor, position)?.deadAt ?? Number.POSITIVE_INFINITY;
      for (const { settlements } of handoutsOf(subscription, cursor, position))
        for (const settlement of settlements) if (mayEnd(settlement)) at = Math.min(at, settlement.invokedAt);
      return at;
    },
    eventsOf: ({ stream, types }) =>
      ledger.events.filter((event) => event.stream === stream && (types === null || types.includes(event.type))),
  };
}
