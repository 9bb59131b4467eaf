// Invariant 8: a consumer group hands out the events of one key in order, to one member at a time.
import type { SubscriptionDeclared } from "../consumer-history.ts";
import type { JobEvent } from "../ledger-snapshot.ts";
import { type Handout, nameOf, wasValid } from "./handouts.ts";
import { type LedgerContext, slackMs } from "./ledger-context.ts";

/** An overdue event is its holder's until somebody looks. */
const overdueMs = 4_000;

export function keysStayInOrder(context: LedgerContext): string[] {
  const violations: string[] = [];
  for (const declared of context.journals.declared) {
    if (declared.mode !== "consumer-group") continue;
    const keys = Map.groupBy(context.eventsOf(declared), ({ key }) => key);
    for (const [key, events] of keys) {
      if (key === null) continue;
      const handouts = events.map(({ position }) => context.handoutsOf(declared.subscription, "", position));
      violations.push(
        ...handedOutTooEarly(context, declared, events, handouts),
        ...heldBehindARepetition(context, handouts),
        ...mixedUp(handouts),
      );
    }
  }
  return violations;
}

/** What is handed out comes behind everything earlier of its key: that is settled, dead, or with the same member. */
function handedOutTooEarly(
  context: LedgerContext,
  declared: SubscriptionDeclared,
  events: readonly JobEvent[],
  handouts: readonly (readonly Handout[])[],
): string[] {
  const violations: string[] = [];
  const { subscription } = declared;
  const done = events.map(({ position }) => context.doneAt(subscription, "", position));
  const latest: number[] = [];
  for (const at of done) latest.push(Math.max(at, latest.at(-1) ?? Number.NEGATIVE_INFINITY));
  for (const [i, list] of handouts.entries()) {
    for (const handout of list) {
      const at = handout.claimedAt + slackMs;
      if (context.isForgotten(handout)) continue;
      for (let before = i - 1; before >= 0 && (latest[before] as number) > at; before--) {
        if ((done[before] as number) <= at || isWith(context, handout, handouts[before] ?? [])) continue;
        violations.push(
          `${nameOf(handout)} was handed out though position ${events[before]?.position} of its key was open`,
        );
        break;
      }
      if (declared.onFailure !== "pause") continue;
      const dead = events.slice(0, i).find(({ position }) => {
        const deadAt = context.deadLetterOf(subscription, "", position)?.deadAt ?? Number.POSITIVE_INFINITY;
        return deadAt < handout.claimedAt - slackMs;
      });
      if (dead !== undefined)
        violations.push(`${nameOf(handout)} was handed out though its key was paused by position ${dead.position}`);
    }
  }
  return violations;
}

/** Whether the member who got this one held, or may have held, the earlier one at that time. */
function isWith(
  context: LedgerContext,
  { consumer, claimedAt, declared }: Handout,
  earlier: readonly Handout[],
): boolean {
  const unseen = context.journals.unseen(declared.subscription, consumer);
  if (unseen.some(({ from, to }) => from <= claimedAt && claimedAt <= to)) return true;
  const last = earlier.findLast((handout) => handout.claimedAt <= claimedAt + slackMs);
  if (last === undefined || last.consumer !== consumer) return false;
  const returned = last.settlements.some(
    ({ action, result, answeredAt }) => action === "requeue" && result === "settled" && answeredAt <= claimedAt,
  );
  const deadlines = last.settlements.flatMap(({ action, deadline, result, answeredAt, extensionMs }) =>
    action !== "extend" ? [] : result === null ? [answeredAt + (extensionMs ?? 0)] : [deadline ?? 0],
  );
  return !returned && claimedAt <= Math.max(last.deadline ?? 0, ...deadlines) + overdueMs;
}

/** When an event comes, nothing later of its key is out: what was has been taken back. */
function heldBehindARepetition(context: LedgerContext, handouts: readonly (readonly Handout[])[]): string[] {
  const violations: string[] = [];
  const valid = handouts.flatMap((list, i) =>
    list.flatMap((handout) => {
      const aliveAt = Math.max(...handout.settlements.filter(wasValid).map(({ invokedAt }) => invokedAt));
      return aliveAt > handout.claimedAt ? [{ handout, aliveAt, i }] : [];
    }),
  );
  for (const [i, list] of handouts.entries()) {
    for (const handout of list) {
      if (context.isForgotten(handout)) continue;
      const late = valid.find(
        (other) =>
          other.i > i &&
          other.handout.claimedAt < handout.claimedAt - slackMs &&
          other.aliveAt > handout.claimedAt + slackMs,
      );
      if (late !== undefined)
        violations.push(`${nameOf(late.handout)} was valid at ${late.aliveAt} ms, behind ${nameOf(handout)}`);
    }
  }
  return violations;
}

/** In one answer the events of a key stand in their order. */
function mixedUp(handouts: readonly (readonly Handout[])[]): string[] {
  const violations: string[] = [];
  const reached = new Map<string, Handout>();
  for (const handout of handouts.flat()) {
    const answer = `${handout.op} ${handout.receivedAt} ${handout.claimedAt}`;
    const before = reached.get(answer);
    if (before !== undefined && before.order > handout.order)
      violations.push(`${nameOf(before)} stood behind ${nameOf(handout)} in one answer`);
    reached.set(answer, handout);
  }
  return violations;
}
