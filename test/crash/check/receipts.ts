// Read receipts: what was delivered stays unread until it is read, and what was read is never unread, nor handed out, again.
import type { SubscriptionDeclared, UnreadListed } from "../consumer-history.ts";
import { type Handout, mayEnd, nameOf, type Settlement, wasValid } from "./handouts.ts";
import { type LedgerContext, slackMs } from "./ledger-context.ts";
import { mayCover, type ReadingJournal, surelyCovers } from "./reading-journal.ts";

export function receiptsHold(context: LedgerContext): string[] {
  const declared = new Map(context.journals.declared.map((d) => [d.subscription, d]));
  return [...context.readingJournals.values()].flatMap((journal) => {
    const of = declared.get(journal.subscription);
    if (of === undefined) return [];
    const readAt = earliest(journal, context, of);
    return [
      ...journal.lists.flatMap((page) => listedWrongly(context, of, page, readAt)),
      ...comesAfterReading(context, journal, readAt),
      ...countedTwice(context, of, journal),
    ];
  });
}

/** By position: when it was answered that the event is read. */
type ReadAt = ReadonlyMap<number, number>;

function earliest(journal: ReadingJournal, context: LedgerContext, declared: SubscriptionDeclared): ReadAt {
  const readAt = new Map<number, number>();
  const answered = journal.readings.toSorted((a, b) => a.answeredAt - b.answeredAt);
  for (const { position } of context.eventsOf(declared)) {
    const reading = answered.find((attempt) => surelyCovers(attempt, position));
    if (reading !== undefined) readAt.set(position, reading.answeredAt);
  }
  return readAt;
}

/** It left the ledger for good without being delivered, or may have. */
const mayVanish = (settlement: Settlement) => mayEnd(settlement) && settlement.action !== "ack";

function listedWrongly(
  context: LedgerContext,
  declared: SubscriptionDeclared,
  page: UnreadListed,
  readAt: ReadAt,
): string[] {
  const violations: string[] = [];
  const { subscription, consumer, invokedAt, at, after, upTo, positions } = page;
  const name = (position: number) => `position ${position} of ${subscription} of ${consumer}`;
  const listed = new Set(positions);
  const events = context.eventsOf(declared);
  const stored = new Set(events.map(({ position }) => position));
  for (const [i, position] of positions.entries()) {
    const isInPlace = position > (positions[i - 1] ?? after) && position <= (upTo ?? Number.POSITIVE_INFINITY);
    if (!isInPlace) violations.push(`${name(position)} is not in its place among what is unread, at ${at} ms`);
    if (!stored.has(position)) violations.push(`${name(position)} is unread, and does not belong to the subscription`);
    if ((readAt.get(position) ?? Number.POSITIVE_INFINITY) < invokedAt)
      violations.push(`${name(position)} was unread at ${at} ms, though it was read at ${readAt.get(position)} ms`);
    for (const handout of context.handoutsOf(subscription, consumer, position)) {
      const gone = handout.settlements.find((s) => s.result === "settled" && mayVanish(s) && s.answeredAt < invokedAt);
      if (gone !== undefined) violations.push(`${nameOf(handout)} was unread at ${at} ms, behind ${gone.action}`);
    }
  }
  for (const event of events) {
    const { position } = event;
    if (position <= after || position > (upTo ?? Number.POSITIVE_INFINITY) || listed.has(position)) continue;
    const handouts = context.handoutsOf(subscription, consumer, position);
    const isKnown = handouts.some(({ receivedAt }) => receivedAt < invokedAt);
    if (!isKnown || mayBeRead(context, page, event) || isGone(context, handouts, at)) continue;
    violations.push(`${name(position)} was handed out, is not read, and was not unread at ${at} ms`);
  }
  return violations;
}

function mayBeRead(
  context: LedgerContext,
  { subscription, consumer, at }: UnreadListed,
  event: Parameters<typeof mayCover>[1],
): boolean {
  const { readings = [] } = context.readingJournals.get(`${subscription} ${consumer}`) ?? {};
  return readings.some((reading) => reading.invokedAt <= at && mayCover(reading, event));
}

function isGone(context: LedgerContext, handouts: readonly Handout[], at: number): boolean {
  return handouts.some(
    (handout) =>
      context.deathOf(handout) <= at + slackMs ||
      handout.settlements.some((settlement) => mayVanish(settlement) && settlement.invokedAt <= at),
  );
}

/** Nobody is handed what it has read, nor is a token of it good, nor is it given up. */
function comesAfterReading(
  context: LedgerContext,
  { subscription, consumer }: ReadingJournal,
  readAt: ReadAt,
): string[] {
  const violations: string[] = [];
  for (const [position, at] of readAt) {
    for (const handout of context.handoutsOf(subscription, consumer, position)) {
      if (handout.claimedAt > at + slackMs)
        violations.push(`${nameOf(handout)} was handed out though it was read at ${at} ms`);
      const late = handout.settlements.find((s) => wasValid(s) && s.invokedAt > at);
      if (late !== undefined) violations.push(`${nameOf(handout)} was valid for op ${late.op}, read at ${at} ms`);
    }
    const dead = context.deadLetterOf(subscription, consumer, position);
    if (dead !== null && dead.deadAt > at + slackMs)
      violations.push(`position ${position} of ${subscription} of ${consumer} was given up though read at ${at} ms`);
  }
  return violations;
}

/** What is read is counted once, however often it is said. */
function countedTwice(context: LedgerContext, declared: SubscriptionDeclared, journal: ReadingJournal): string[] {
  const counted = journal.readings.reduce((sum, { read }) => sum + (read ?? 0), 0);
  const events = context
    .eventsOf(declared)
    .filter((event) => journal.readings.some((reading) => mayCover(reading, event)));
  return counted > events.length
    ? [`${journal.consumer} of ${journal.subscription} was told of ${counted} events read, of ${events.length}`]
    : [];
}
