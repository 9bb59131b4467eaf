// Sagas end as they were planned: what was to fail fails, what was to stay undone stays so, what was awaited in time is taken.
import type { Entry } from "../history.ts";
import type { Plan } from "../process-history.ts";
import type { ProcessSnapshot } from "../process-snapshot.ts";
import { transitionOf, transitionsOf } from "./saga-stories.ts";

export function plansCameTrue(history: readonly Entry[], { sagas }: ProcessSnapshot): string[] {
  const plans = new Map<string, Plan>();
  for (const entry of history) if (entry.kind === "saga-starting") plans.set(entry.mark, entry.plan);
  return sagas.flatMap(({ sagaId, saga, state, completedSteps, data }) => {
    const plan = plans.get(data.mark);
    if (plan === undefined) return [];
    const told = `saga ${sagaId} (${data.mark})`;
    const { fails, how, staysUndone } = plan;
    const violations: string[] = [];
    if (fails !== "none" && how !== "once" && completedSteps.includes(fails))
      violations.push(`${told} has completed ${fails}, which was to fail`);
    // Nothing else makes a compensation fail for good.
    const staysSo = saga === "errand" && completedSteps.includes(staysUndone);
    if (state === "Failed" && !staysSo) violations.push(`${told} has Failed, and nothing was to stay undone`);
    if (state === "Compensated" && staysSo)
      violations.push(`${told} was Compensated, and ${staysUndone} was to stay undone`);
    return violations;
  });
}

/** Who waited in vain has missed no event that came before the time was over; who did not has taken the first. */
export function waitsEndRight(snapshot: ProcessSnapshot): string[] {
  const stories = transitionsOf(snapshot);
  const confirmations = Map.groupBy(
    snapshot.events.filter(({ type }) => type === "Confirmed"),
    ({ correlationId }) => correlationId,
  );
  return snapshot.sagas.flatMap(({ sagaId, correlationId, saga, completedSteps, data }) => {
    if (saga !== "parley") return [];
    const story = stories.get(sagaId) ?? [];
    const [confirmed] = confirmations.get(correlationId) ?? [];
    const told = `saga ${sagaId} (${data.mark})`;
    if (completedSteps.includes("confirmation") && (confirmed === undefined || confirmed.data.mark !== data.confirmed))
      return [`${told} has taken ${data.confirmed}, and ${confirmed?.data.mark ?? "nothing"} has come`];
    const waiting = story.find((event) => transitionOf(event) === "step-waiting");
    const inVain = story.some((event) => transitionOf(event) === "step-failed" && event.data.step === "confirmation");
    const until = Date.parse(String(waiting?.data.until));
    if (inVain && confirmed !== undefined && confirmed.recordedAt < until)
      return [`${told} waited in vain until ${waiting?.data.until}, and position ${confirmed.position} had come`];
    return [];
  });
}
