// Exactly-once: each event is marked as processed once, by whoever holds it, and never comes again afterwards.
import { type Handout, mayEnd, mayReturn, nameOf } from "./handouts.ts";
import { endOf, latestDeadline, mayBeRevoked } from "./holders.ts";
import { type LedgerContext, slackMs } from "./ledger-context.ts";
import { isMarked, type Mark, mayMark } from "./mark-journal.ts";

export function marksHold(context: LedgerContext): string[] {
  const violations = idsStoredTwice(context);
  for (const [place, marks] of Map.groupBy(context.marks, (mark) => `${mark.subscription} position ${mark.position}`)) {
    const [{ subscription, position }] = marks as [Mark];
    const handouts = context.handoutsOf(subscription, "", position);
    const won = marks.filter(({ outcome }) => outcome === "marked");
    if (won.length > 1) violations.push(`${place} was marked ${won.length} times`);
    for (const mark of marks) {
      const handout = handouts.find(({ token }) => token === mark.token);
      const wrong = (what: string) =>
        violations.push(`${handout === undefined ? place : nameOf(handout)}: the mark of op ${mark.op} ${what}`);
      if (handout === undefined) {
        if (isMarked(mark)) wrong("has a token that nobody was given");
      } else for (const what of markedWrongly(context, marks, handouts, handout, mark)) wrong(what);
    }
  }
  return violations;
}

function markedWrongly(
  context: LedgerContext,
  marks: readonly Mark[],
  handouts: readonly Handout[],
  handout: Handout,
  mark: Mark,
): string[] {
  const { consumer, outcome, invokedAt, answeredAt, token } = mark;
  if (isMarked(mark)) return succeededWrongly(context, handouts, handout, mark);
  if (consumer !== handout.consumer || outcome === "unknown") return [];
  const earlier = marks.filter((other) => other !== mark && mayMark(other) && other.invokedAt <= answeredAt);
  if (outcome === "already")
    return earlier.some((other) => other.token !== token) ? [] : ["was told of another one, and there was none"];
  const explained =
    endOf(context, handout) <= answeredAt + slackMs ||
    context.isForgotten(handout) ||
    context.deathOf(handout) <= answeredAt + slackMs ||
    handout.settlements.some((other) => (mayEnd(other) || mayReturn(other)) && other.invokedAt <= answeredAt) ||
    (handout.declared.mode === "consumer-group" &&
      mayBeRevoked(context, context.journalOf(handout), handout, Number.POSITIVE_INFINITY));
  return explained ? [] : [`was stale at ${invokedAt} ms, while the event was held`];
}

function succeededWrongly(
  context: LedgerContext,
  handouts: readonly Handout[],
  handout: Handout,
  { consumer, outcome, invokedAt, answeredAt }: Mark,
): string[] {
  const wrong: string[] = [];
  if (consumer !== handout.consumer) wrong.push(`was ${consumer}'s`);
  const latest = latestDeadline(handout);
  if (outcome === "marked" && invokedAt > latest + slackMs)
    wrong.push(`came at ${invokedAt} ms, after the deadline at ${latest} ms`);
  // Were it handed out before the mark, the mark would be stale.
  const again = handouts.find(
    (other) => other.claimedAt > handout.claimedAt + slackMs && !context.isForgotten(other) && other !== handout,
  );
  if (again !== undefined) wrong.push(`at ${answeredAt} ms stands, and ${nameOf(again)} was handed out`);
  const dead = context.deadLetterOf(handout.declared.subscription, handout.cursor, handout.position);
  if (dead !== null && dead.reason !== "rejected") wrong.push(`stands, and it was given up at ${dead.deadAt} ms`);
  return wrong;
}

function idsStoredTwice({ ledger }: LedgerContext): string[] {
  const found = Map.groupBy(ledger.events, ({ stream, id }) => `${stream} ${id}`);
  return [...found].flatMap(([event, list]) => (list.length > 1 ? [`${event} is stored ${list.length} times`] : []));
}
