// Invariant 6 and what goes with it: first deliveries ascend, events are whole, and nobody holds more than its credit.
import { isPerConsumer } from "../subscribed.ts";
import { type CursorJournal, type Handout, nameOf } from "./handouts.ts";
import { endOf } from "./holders.ts";
import { type LedgerContext, puttingBackMs, slackMs } from "./ledger-context.ts";

/** What is handed out is the event as it is stored, of the subscription's stream and types. */
export function handedOutAsStored(context: LedgerContext): string[] {
  const stored = new Map(context.ledger.events.map((event) => [event.position, event]));
  const violations: string[] = [];
  for (const { events, declared } of context.journals.cursors) {
    for (const handout of [...events.values()].flat()) {
      const event = stored.get(handout.position);
      if (event === undefined || event.hash !== handout.hash)
        violations.push(`${nameOf(handout)} is not the event as it is stored`);
      else if (event.stream !== declared.stream || !(declared.types?.includes(event.type) ?? true))
        violations.push(`${nameOf(handout)} does not belong to the subscription`);
    }
  }
  return violations;
}

/** Under one cursor, what comes for the first time ascends; a group keeps the order of its keys only. */
export function firstDeliveriesAscend(context: LedgerContext): string[] {
  const violations: string[] = [];
  for (const { events, declared, cursor } of context.journals.cursors) {
    if (declared.mode === "consumer-group" || declared.delivery === "at-most-once") continue;
    const firsts = [...events.values()].map(([first]) => first as Handout).filter(({ attempt }) => attempt === 1);
    firsts.sort((a, b) => a.claimedAt - b.claimedAt);
    let highest: Handout | null = null;
    for (const handout of firsts) {
      if (highest === null || handout.position > highest.position) {
        highest = handout;
        continue;
      }
      if (handout.claimedAt <= highest.claimedAt + slackMs) continue;
      const [from, to] = [highest.claimedAt, handout.claimedAt];
      const unseen = context.journals.unseen(declared.subscription, isPerConsumer(declared) ? cursor : null);
      const putBack = unseen.some((time) => time.from <= to && time.to + puttingBackMs >= from);
      if (
        !putBack &&
        !context.isForgotten(highest) &&
        !context.forgotten.crashes.some(({ at }) => at >= from && at <= to)
      )
        violations.push(`${nameOf(handout)} came for the first time after ${nameOf(highest)}`);
    }
  }
  return violations;
}

/** Nothing is handed out between the answer to a pause and the request to resume. */
export function pausesHold(context: LedgerContext): string[] {
  const violations: string[] = [];
  const pausedAt = new Map<string, number>();
  for (const entry of context.history) {
    if (entry.kind !== "operated") continue;
    const { subscription, action, status, invokedAt, at } = entry;
    if (action === "pause" && status !== null && status < 300) pausedAt.set(subscription, at);
    const since = pausedAt.get(subscription);
    if (action !== "resume" || since === undefined) continue;
    pausedAt.delete(subscription);
    for (const { declared, events } of context.journals.cursors) {
      if (declared.subscription !== subscription) continue;
      const handouts = [...events.values()].flat();
      // Of what is given away only the time of its arrival is known.
      const late = handouts.find(
        ({ claimedAt, deadline }) =>
          deadline !== null && claimedAt > since + slackMs && claimedAt < invokedAt - slackMs,
      );
      if (late !== undefined) violations.push(`${nameOf(late)} was handed out though it was paused at ${since} ms`);
    }
  }
  return violations;
}

/** When a consumer is handed something, what it surely holds by then is within its credit. */
export function creditIsKept(context: LedgerContext): string[] {
  return context.journals.cursors.flatMap((journal) => {
    const { declared } = journal;
    // Of a group, failures of others take back what nobody is told of; what is given away is not held.
    if (declared.mode === "consumer-group" || declared.delivery === "at-most-once") return [];
    return [...Map.groupBy([...journal.events.values()].flat(), ({ consumer }) => consumer).values()].flatMap((list) =>
      overdrawn(context, journal, list),
    );
  });
}

function overdrawn(context: LedgerContext, { declared }: CursorJournal, handouts: Handout[]): string[] {
  const sorted = handouts.toSorted((a, b) => a.claimedAt - b.claimedAt);
  let held: Handout[] = [];
  for (const handout of sorted) {
    const at = handout.claimedAt + slackMs;
    held = held.filter((other) => surelyHeldUntil(context, other) > at);
    if (context.isForgotten(handout)) continue;
    held.push(handout);
    if (held.length > declared.maxInFlight)
      return [`${nameOf(handout)} is the ${held.length}th that its consumer holds, of ${declared.maxInFlight}`];
  }
  return [];
}

/** Nobody else could have it before, and no request can have ended it. */
function surelyHeldUntil(context: LedgerContext, handout: Handout): number {
  // What is read leaves the ledger; what is marked stays out.
  const readAt =
    handout.declared.mode === "read-receipt"
      ? context.overriddenAt(handout.declared.subscription, handout.cursor, handout.position)
      : Number.POSITIVE_INFINITY;
  return Math.min(endOf(context, handout), readAt, ...handout.settlements.map(({ invokedAt }) => invokedAt));
}
