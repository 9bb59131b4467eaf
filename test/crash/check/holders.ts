// Invariant 7: each event has one holder at a time, and a token that is not its holder's settles nothing.
import {
  type CursorJournal,
  didEnd,
  type Handout,
  mayEnd,
  mayReturn,
  nameOf,
  type Settlement,
  type Span,
  wasValid,
} from "./handouts.ts";
import { type LedgerContext, slackMs } from "./ledger-context.ts";

/** A member is noted only when a quarter of its timeout has passed. */
const notedWithin = 0.75;
/** An extension whose answer is lost may be carried out so long afterwards. */
const lateMs = 15_000;

export function oneHolderAtATime(context: LedgerContext): string[] {
  const violations: string[] = [];
  for (const journal of context.journals.cursors) {
    for (const handouts of journal.events.values()) {
      if (journal.declared.delivery === "at-most-once") violations.push(...comeTwice(handouts));
      else violations.push(...heldAtOnce(context, journal, handouts), ...settledWrongly(context, journal, handouts));
    }
  }
  for (const settlement of context.journals.strangers)
    if (wasValid(settlement)) violations.push(`op ${settlement.op} settled a token that nobody was given`);
  return violations;
}

function comeTwice(handouts: readonly Handout[]): string[] {
  return handouts.slice(1).map((handout) => `${nameOf(handout)} came a second time`);
}

function heldAtOnce(context: LedgerContext, journal: CursorJournal, handouts: readonly Handout[]): string[] {
  const violations: string[] = [];
  for (let i = 1; i < handouts.length; i++) {
    const [before, after] = [handouts[i - 1] as Handout, handouts[i] as Handout];
    const lost = context.isForgotten(before);
    if (before.token === after.token) violations.push(`${nameOf(after)} was handed out twice with one token`);
    if (lost) continue;
    const revoked =
      journal.declared.mode === "consumer-group" && mayBeRevoked(context, journal, before, after.claimedAt);
    if (endOf(context, before) > after.claimedAt + slackMs && !revoked)
      violations.push(`${nameOf(after)} was handed out while ${nameOf(before)} was held`);
    if (after.attempt < before.attempt || (after.attempt === before.attempt && !revoked))
      violations.push(`${nameOf(after)} came after ${nameOf(before)}, and the attempt is not counted`);
  }
  return violations;
}

function settledWrongly(context: LedgerContext, journal: CursorJournal, handouts: readonly Handout[]): string[] {
  const violations: string[] = [];
  const ends = handouts.flatMap((handout) =>
    handout.settlements.filter(didEnd).map((settlement) => ({ handout, settlement })),
  );
  for (const { handout } of ends.slice(1)) violations.push(`${nameOf(handout)} was settled a second time`);
  for (const handout of handouts) {
    const given = handout.settlements.filter(
      (settlement) => settlement.action === "requeue" && settlement.result === "settled",
    );
    if (given.length > 1) violations.push(`${nameOf(handout)} was given back ${given.length} times`);
    const taken = handout.settlements.filter((s) => wasValid(s));
    const aliveAt = taken.some(didEnd)
      ? Number.POSITIVE_INFINITY
      : Math.max(...taken.map(({ invokedAt }) => invokedAt));
    for (const later of handouts) {
      if (later.claimedAt <= handout.claimedAt || later.claimedAt + slackMs >= aliveAt || context.isForgotten(later))
        continue;
      violations.push(`${nameOf(handout)} was valid at ${aliveAt} ms, though ${nameOf(later)} was handed out before`);
    }
    for (const settlement of handout.settlements)
      violations.push(
        ...answeredWrongly(context, journal, handouts, handout, settlement).map((what) => `${nameOf(handout)} ${what}`),
      );
  }
  return violations;
}

function answeredWrongly(
  context: LedgerContext,
  journal: CursorJournal,
  handouts: readonly Handout[],
  handout: Handout,
  settlement: Settlement,
): string[] {
  const { op, result, invokedAt, answeredAt, consumer } = settlement;
  if (result === null) return [];
  const overriddenAt = context.overriddenAt(journal.declared.subscription, journal.cursor, handout.position);
  if (wasValid(settlement)) {
    if (consumer !== null && consumer !== handout.consumer) return [`was settled by op ${op} for ${consumer}`];
    const latest = latestDeadline(handout, settlement);
    return invokedAt > latest + slackMs
      ? [`was valid for op ${op} at ${invokedAt} ms, after its deadline at ${latest} ms`]
      : [];
  }
  if (result === "already-settled") {
    const others = handouts.flatMap((other) => other.settlements);
    const isSettled = others.some((other) => other !== settlement && mayEnd(other) && other.invokedAt <= answeredAt);
    const isDead = context.deathOf(handout) <= answeredAt + slackMs;
    return isSettled || isDead || overriddenAt <= answeredAt
      ? []
      : [`was told by op ${op} to be settled already, and nobody had settled it`];
  }
  if (result !== "stale") return [`was answered ${result} by op ${op}`];
  if (consumer !== null && consumer !== handout.consumer) return [];
  const explained =
    Math.min(endOf(context, handout), overriddenAt) <= answeredAt + slackMs ||
    context.isForgotten(handout) ||
    handout.settlements.some(
      (other) => other !== settlement && (mayEnd(other) || mayReturn(other)) && other.invokedAt <= answeredAt,
    ) ||
    (journal.declared.mode === "consumer-group" && mayBeRevoked(context, journal, handout, Number.POSITIVE_INFINITY));
  return explained ? [] : [`was told to be stale by op ${op} at ${answeredAt} ms, while it was held`];
}

/** The earliest moment from which the event may be handed out again, but for a failure of an earlier one of its key. */
export function endOf({ journals }: LedgerContext, handout: Handout): number {
  const { declared, settlements, claimedAt, consumer } = handout;
  const returns = settlements.filter(mayReturn).map(({ invokedAt, delayMs }) => invokedAt + (delayMs ?? 0));
  // A slot that moves takes what is out of it after the subscription's time.
  const drained =
    declared.mode === "consumer-group" ? claimedAt + declared.visibilityTimeoutMs : Number.POSITIVE_INFINITY;
  const silent = silentAt(
    journals.signsOfLife(declared.subscription, consumer),
    handout,
    declared.consumerTimeoutMs * notedWithin,
  );
  const removed = journals
    .removals(declared.subscription, consumer)
    .flatMap(({ from, to }) => (to >= claimedAt ? [Math.max(from, claimedAt)] : []));
  return Math.min(earliestDeadline(handout), ...returns, ...removed, handout.feedEndAt, drained, silent);
}

/** The earliest moment after the handout in which the consumer may not have been heard of for so long. */
function silentAt(signs: readonly Span[], { receivedAt }: Handout, timeoutMs: number): number {
  let heardAt = Number.NEGATIVE_INFINITY;
  for (const { from, to } of signs) {
    if (to > receivedAt && to - heardAt > timeoutMs) break;
    heardAt = Math.max(heardAt, from);
  }
  return heardAt + timeoutMs;
}

/** The last deadline that was told; one that may have been set and was not told can be earlier. */
function earliestDeadline({ deadline, settlements }: Handout): number {
  let last = deadline ?? Number.POSITIVE_INFINITY;
  let untold = Number.POSITIVE_INFINITY;
  for (const { action, result, deadline: moved, invokedAt, extensionMs } of settlements) {
    if (action !== "extend") continue;
    if (result === "extended" && moved !== null) last = moved;
    else if (result === null) untold = Math.min(untold, invokedAt + (extensionMs ?? 0));
  }
  return Math.min(last, untold);
}

/** The last moment in which another settlement can have found the token valid. */
export function latestDeadline({ deadline, settlements }: Handout, except?: Settlement): number {
  let last = deadline ?? Number.POSITIVE_INFINITY;
  for (const settlement of settlements) {
    const { action, result, deadline: moved, answeredAt, extensionMs } = settlement;
    if (action !== "extend" || settlement === except) continue;
    if (result === "extended" && moved !== null) last = Math.max(last, moved);
    else if (result === null) last = Math.max(last, answeredAt + lateMs + (extensionMs ?? 0));
  }
  return last;
}

/** Whether an earlier event of the key can have failed between the handout and a later moment. */
export function mayBeRevoked(context: LedgerContext, journal: CursorJournal, handout: Handout, until: number): boolean {
  const { key, position, claimedAt, declared } = handout;
  if (key === null) return false;
  for (const [other, handouts] of journal.events) {
    const [first] = handouts as [Handout];
    if (other >= position || first.key !== key) continue;
    const death = context.deathOf(first);
    if (death >= claimedAt - slackMs && death <= until + slackMs) return true;
    if (handouts.some((again) => again.claimedAt > claimedAt && again.claimedAt <= until + slackMs)) return true;
  }
  // It may have been handed out to somebody who never saw it.
  return context.journals.unseen(declared.subscription, null).some(({ from, to }) => from <= until && to >= claimedAt);
}
