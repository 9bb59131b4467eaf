// Invariant 9: what was given up is among the dead letters, with its content, reason and attempts, and nothing else is.
import type { DeadLetter } from "../ledger-snapshot.ts";
import { didEnd, type Handout, mayEnd, nameOf } from "./handouts.ts";
import type { LedgerContext } from "./ledger-context.ts";

/** What the service itself says of an event that nobody has given back. */
const ownErrors = new Set([
  "not settled in time",
  "not settled before its slot moved",
  "the consumer was removed",
  "the consumer fell silent",
  "the consumer's connection closed",
]);

export function deadLettersAreWhole(context: LedgerContext): string[] {
  const declared = new Map(context.journals.declared.map((d) => [d.subscription, d]));
  const events = new Map(context.ledger.events.map((event) => [event.position, event]));
  const violations: string[] = [];
  for (const dead of context.ledger.deadLetters) {
    const name = `the dead letter ${dead.subscription} ${dead.consumer} position ${dead.position}`;
    const wrong = (what: string) => violations.push(`${name} ${what}`);
    const of = declared.get(dead.subscription);
    if (of === undefined) continue;
    const handouts = context.handoutsOf(dead.subscription, dead.consumer, dead.position);
    if (events.get(dead.position)?.hash !== dead.hash) wrong("has another content than its event");
    if (dead.firstAt > dead.lastAt || dead.lastAt > dead.deadAt + 1) wrong("has times that run back");
    for (const what of attemptsWrong(dead, handouts, of.maxAttempts)) wrong(what);
    for (const what of reasonWrong(dead, handouts)) wrong(what);
    if (handouts.some(({ settlements }) => settlements.some((s) => didEnd(s) && s.action !== "dead-letter")))
      wrong("was settled");
  }
  return [...violations, ...missing(context)];
}

function attemptsWrong(dead: DeadLetter, handouts: readonly Handout[], maxAttempts: number): string[] {
  const wrong: string[] = [];
  const seen = Math.max(0, ...handouts.map(({ attempt }) => attempt));
  if (dead.attempts < seen) wrong.push(`counts ${dead.attempts} attempts, and its attempt ${seen} was handed out`);
  if (dead.reason === "max-attempts" && dead.attempts !== maxAttempts)
    wrong.push(`was given up after ${dead.attempts} of ${maxAttempts} attempts`);
  if (dead.attempts > maxAttempts) wrong.push(`counts ${dead.attempts} of ${maxAttempts} attempts`);
  return wrong;
}

function reasonWrong(dead: DeadLetter, handouts: readonly Handout[]): string[] {
  const wrong: string[] = [];
  const all = handouts.flatMap(({ settlements }) => settlements);
  const reasons = new Set(all.map(({ reason }) => reason));
  for (const error of [dead.firstError, dead.lastError])
    if (!ownErrors.has(error) && !reasons.has(error)) wrong.push(`has the error "${error}", which nobody gave`);
  const rejected = all.filter((settlement) => settlement.action === "dead-letter" && mayEnd(settlement));
  if (dead.reason === "rejected" && !rejected.some(({ reason }) => reason === dead.lastError))
    wrong.push("was rejected by nobody");
  if (dead.reason !== "rejected" && dead.reason !== "max-attempts") wrong.push(`has the reason ${dead.reason}`);
  return wrong;
}

/** What was rejected, or given back after the last attempt, is there; nothing is handed out more often than allowed. */
function missing({ journals, deadLetterOf, overriddenAt }: LedgerContext): string[] {
  const violations: string[] = [];
  for (const { events, declared, cursor } of journals.cursors) {
    for (const [position, handouts] of events) {
      const dead = deadLetterOf(declared.subscription, cursor, position);
      for (const handout of handouts) {
        // One that is marked is settled when it is given back.
        const isOver = overriddenAt(declared.subscription, cursor, position) < Number.POSITIVE_INFINITY;
        if (handout.attempt > declared.maxAttempts) violations.push(`${nameOf(handout)} is beyond the last attempt`);
        const givenUp = handout.settlements.some(
          ({ action, result }) =>
            result === "settled" &&
            (action === "dead-letter" || (action === "requeue" && handout.attempt >= declared.maxAttempts && !isOver)),
        );
        if (givenUp && dead === null) violations.push(`${nameOf(handout)} was given up, and is no dead letter`);
      }
    }
  }
  return violations;
}
