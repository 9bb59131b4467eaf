// Starts of sagas: an acknowledged one is one saga, a refused one is none, however often it was asked under one key.
import type { Entry } from "../history.ts";
import type { SagaStarted, SagaStarting } from "../process-history.ts";
import type { ProcessSnapshot } from "../process-snapshot.ts";

export function startsAreOneSaga(history: readonly Entry[], { sagas }: ProcessSnapshot): string[] {
  const violations: string[] = [];
  const answers = new Map<number, SagaStarted>();
  for (const entry of history) if (entry.kind === "saga-started") answers.set(entry.op, entry);
  const starts = history.filter((entry): entry is SagaStarting => entry.kind === "saga-starting");
  const byMark = Map.groupBy(sagas, ({ data }) => data.mark);
  for (const [mark, attempts] of Map.groupBy(starts, (start) => start.mark)) {
    const found = byMark.get(mark) ?? [];
    if (found.length > 1) violations.push(`${mark} was started ${found.length} times`);
    for (const { saga } of attempts.slice(0, 1))
      if (found.some((one) => one.saga !== saga || one.correlationId !== mark))
        violations.push(`${mark} is not the ${saga} that was asked for`);
    const answered = attempts.flatMap(({ op }) => answers.get(op) ?? []);
    for (const { outcome, sagaId } of answered) {
      if (outcome === "acknowledged" && sagaId !== found[0]?.sagaId)
        violations.push(`${mark} was told saga ${sagaId}, and it is ${found[0]?.sagaId ?? "not there"}`);
    }
    const isRefused = attempts.length === answered.length && answered.every(({ outcome }) => outcome === "refused");
    if (isRefused && found.length > 0) violations.push(`${mark} was refused, and is saga ${found[0]?.sagaId}`);
  }
  const asked = new Set(starts.map(({ mark }) => mark));
  for (const { sagaId, data } of sagas)
    if (!asked.has(data.mark)) violations.push(`nobody started saga ${sagaId} (${data.mark})`);
  return violations;
}
