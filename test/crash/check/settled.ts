// Invariant 6: nothing that matches is lost, and no floor passes what is not settled.
import type { SubscriptionDeclared } from "../consumer-history.ts";
import type { JobEvent } from "../ledger-snapshot.ts";
import { attemptsOf } from "./attempts.ts";
import { type LedgerContext, slackMs } from "./ledger-context.ts";

/** Each event was settled, is a dead letter, waits because its key is paused, or its settlement's outcome is unknown. */
export function everythingIsSettled(context: LedgerContext): string[] {
  const violations: string[] = [];
  const { ledger, journals, doneAt } = context;
  for (const declared of journals.declared) {
    // What was given away may be lost with the answer.
    if (declared.delivery === "at-most-once") continue;
    const { subscription } = declared;
    const parked = new Set(ledger.parked.filter((p) => p.subscription === subscription).map((p) => p.position));
    const cursors = ledger.cursors.filter((cursor) => cursor.subscription === subscription);
    if (cursors.length === 0) violations.push(`${subscription} has no cursor`);
    for (const cursor of cursors) {
      const name = `${subscription}${cursor.consumer === "" ? "" : ` of ${cursor.consumer}`}`;
      for (const { position } of context.eventsOf(declared)) {
        if (doneAt(subscription, cursor.consumer, position) < Number.POSITIVE_INFINITY || parked.has(position))
          continue;
        const given = context.handoutsOf(subscription, cursor.consumer, position).length;
        violations.push(`${name} position ${position} was handed out ${given} times and is not settled`);
      }
      if (cursor.leased + cursor.waiting > 0)
        violations.push(`${name} still has ${cursor.leased} events out and ${cursor.waiting} waiting`);
    }
    violations.push(...parkedWithoutReason(context, declared, parked));
  }
  return violations;
}

/** Only where a key has a dead letter do its events stay parked. */
function parkedWithoutReason(
  context: LedgerContext,
  declared: SubscriptionDeclared,
  parked: ReadonlySet<number>,
): string[] {
  const { subscription } = declared;
  const events = context.eventsOf(declared);
  const paused = new Set(
    events.flatMap(({ key, position }) => (context.deadLetterOf(subscription, "", position) === null ? [] : [key])),
  );
  return events
    .filter(
      ({ key, position }) =>
        parked.has(position) && !(declared.onFailure === "pause" && key !== null && paused.has(key)),
    )
    .map(({ position }) => `${subscription} position ${position} is parked without a reason`);
}

/** Whenever somebody looked, everything below the floor had been settled; the same for what an ephemeral stream has forgotten. */
export function floorsHold(context: LedgerContext): string[] {
  const violations: string[] = [];
  const declared = new Map(context.journals.declared.map((d) => [d.subscription, d]));
  const perCursor = new Map<string, Done>();
  for (const entry of context.history) {
    if (entry.kind !== "sampled" || context.forgotten.mayBe(entry.invokedAt, entry.at)) continue;
    for (const { subscription, consumer, floor } of entry.cursors) {
      const of = declared.get(subscription);
      if (of === undefined || of.delivery === "at-most-once") continue;
      const done = doneOf(perCursor, context, of, consumer);
      violations.push(
        ...passed(done, (event) => event.position < floor, entry.at, `the floor of ${subscription} ${consumer}`),
      );
    }
    for (const { stream, firstOffset } of entry.firstOffsets) {
      for (const of of context.journals.declared) {
        if (of.stream !== stream || of.delivery === "at-most-once") continue;
        const done = doneOf(perCursor, context, of, "");
        violations.push(
          ...passed(done, (event) => event.offset < firstOffset, entry.at, `what ${stream} has forgotten`),
        );
      }
    }
  }
  return [...new Set(violations)];
}

type Done = { events: JobEvent[]; latest: { at: number; position: number }[] };

/** Up to each event of a cursor the one that was over last. */
function doneOf(
  known: Map<string, Done>,
  context: LedgerContext,
  declared: SubscriptionDeclared,
  consumer: string,
): Done {
  const key = `${declared.subscription} ${consumer}`;
  const found = known.get(key);
  if (found !== undefined) return found;
  const events = context.eventsOf(declared);
  const latest: Done["latest"] = [];
  for (const { position } of events) {
    const at = context.overAt(declared, consumer, position);
    const before = latest.at(-1);
    latest.push(before !== undefined && before.at >= at ? before : { at, position });
  }
  const done = { events, latest };
  known.set(key, done);
  return done;
}

function passed({ events, latest }: Done, isBelow: (event: JobEvent) => boolean, at: number, what: string): string[] {
  const last = latest[events.findLastIndex(isBelow)];
  return last !== undefined && last.at > at + slackMs
    ? [`${what} passed position ${last.position}, which was not settled`]
    : [];
}

/** What was acknowledged stands in the log, at the offset that was told. */
export function acknowledgedAreStored({ history, ledger }: LedgerContext): string[] {
  const stored = new Set(ledger.events.map(({ stream, offset }) => `${stream} ${offset}`));
  return attemptsOf(history).flatMap(({ stream, answer }) =>
    (answer?.stored ?? [])
      .filter(({ offset }) => !stored.has(`${stream} ${offset}`))
      .map(({ offset }) => `an append was acknowledged at ${stream} ${offset}, and is missing`),
  );
}
