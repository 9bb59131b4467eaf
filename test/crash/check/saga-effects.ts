// What the steps of sagas have done: once each, only what was recorded, and undone in reverse.
import type { ProcessEvent, ProcessSnapshot, SagaSeen } from "../process-snapshot.ts";
import { transitionOf, transitionsOf } from "./saga-stories.ts";

/** Steps that tell of themselves in both ways. */
const telling = ["hold", "pack", "ship", "settle"];

/**
 * The effect of a command is there at most once, and before the record of its step; what a step emits is there exactly if the step is
 * recorded. What did not complete is not compensated, and effects of compensations come in reverse.
 */
export function effectsHappenOnce(snapshot: ProcessSnapshot): string[] {
  const of = (type: string) =>
    Map.groupBy(
      snapshot.events.filter((event) => event.type === type),
      ({ data }) => String(data.sagaId),
    );
  const [effects, records, stories] = [of("EffectMade"), of("StepRecorded"), transitionsOf(snapshot)];
  const known = new Set(snapshot.sagas.map(({ sagaId }) => sagaId));
  const strange = [...effects.keys(), ...records.keys()].filter((sagaId) => !known.has(sagaId));
  return [
    ...strange.map((sagaId) => `there are effects of saga ${sagaId}, and there is no such saga`),
    ...snapshot.sagas
      .filter(({ saga }) => saga === "errand")
      .flatMap((saga) => {
        const { sagaId } = saga;
        return effectsOf(saga, effects.get(sagaId) ?? [], records.get(sagaId) ?? [], stories.get(sagaId) ?? []);
      }),
  ];
}

function effectsOf(
  { sagaId, data, completedSteps, compensatedSteps }: SagaSeen,
  effects: readonly ProcessEvent[],
  records: readonly ProcessEvent[],
  story: readonly ProcessEvent[],
): string[] {
  const violations: string[] = [];
  const undone: number[] = [];
  for (const isUndone of [false, true])
    for (const step of telling) {
      const own = (event: ProcessEvent) => event.data.step === step && event.data.isUndone === isUndone;
      const [made, recorded] = [effects.filter(own), records.filter(own)];
      const isDone = (isUndone ? compensatedSteps : completedSteps).includes(step);
      const told = `${isUndone ? "the compensation of " : ""}${step} of saga ${sagaId} (${data.mark})`;
      if (made.length > 1) violations.push(`${told} has had its effect ${made.length} times`);
      if (isDone && made.length === 0) violations.push(`${told} is recorded, and has had no effect`);
      if (recorded.length !== (isDone ? 1 : 0))
        violations.push(
          `${told} is ${isDone ? "" : "not "}recorded, and what it emits is there ${recorded.length} times`,
        );
      if (isUndone && made.length > 0 && !completedSteps.includes(step))
        violations.push(`${told} has had its effect, and the step never completed`);
      const name = isUndone ? "step-compensated" : "step-completed";
      const record = story.find((event) => transitionOf(event) === name && event.data.step === step);
      if (record !== undefined && made[0] !== undefined && made[0].position > record.position)
        violations.push(
          `${told} was recorded at position ${record.position}, before its effect at ${made[0].position}`,
        );
      if (isUndone && made[0] !== undefined) undone.push(made[0].position);
    }
  // The first step is undone last.
  if (undone.some((position, i) => position > (undone[i - 1] ?? Number.POSITIVE_INFINITY)))
    violations.push(`saga ${sagaId} (${data.mark}) was not undone in reverse: at positions ${undone.join(", ")}`);
  return violations;
}

/** What a saga held is held as long as its steps say: settled when it has completed, given back when it was compensated. */
export function heldIsReturned({ events, sagas }: ProcessSnapshot): string[] {
  const ends = Map.groupBy(
    events.filter(({ type }) => ["Held", "GivenBack", "Settled"].includes(type)),
    ({ data }) => String(data.by),
  );
  return sagas.flatMap(({ sagaId, data, completedSteps, compensatedSteps }) => {
    const times = (of: string) => (ends.get(sagaId) ?? []).filter(({ type }) => type === of).length;
    const expected: [string, boolean][] = [
      ["Held", completedSteps.includes("hold")],
      // What was settled by a step that failed afterwards is gone, and nothing is left to be given back.
      ["GivenBack", compensatedSteps.includes("hold") && times("Settled") === 0],
      ["Settled", completedSteps.includes("settle")],
    ];
    return expected.flatMap(([type, isDone]) => {
      const found = times(type);
      // A step that never completed may have had its effect all the same, once.
      if (isDone ? found === 1 : found <= 1) return [];
      return [
        `saga ${sagaId} (${data.mark}) has ${found} times ${type}, ${isDone ? "and" : "though"} the step is ${isDone ? "" : "not "}recorded`,
      ];
    });
  });
}
