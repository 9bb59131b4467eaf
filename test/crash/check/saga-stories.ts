// Invariant 10, of sagas: the transitions on a saga's stream are a story that can be, each once and in order, with an end.
import { errand, parley } from "../process-module.ts";
import type { ProcessEvent, ProcessSnapshot, SagaSeen } from "../process-snapshot.ts";

const definitions = [errand, parley];
const prefix = "sluice.saga-";

/** Of each saga the events of its transitions, in the order of their stream. */
export function transitionsOf({ events }: ProcessSnapshot): Map<string, ProcessEvent[]> {
  return Map.groupBy(
    events.filter(({ type }) => type.startsWith(prefix)),
    ({ data }) => String(data.sagaId),
  );
}

export const transitionOf = ({ type }: ProcessEvent) => type.slice(prefix.length);

export function storiesAreRight(snapshot: ProcessSnapshot): string[] {
  const stories = transitionsOf(snapshot);
  const violations = snapshot.sagas.flatMap((saga) => storyIsRight(saga, stories.get(saga.sagaId) ?? []));
  const known = new Set(snapshot.sagas.map(({ sagaId }) => sagaId));
  for (const sagaId of stories.keys())
    if (!known.has(sagaId)) violations.push(`there are transitions of saga ${sagaId}, and there is no such saga`);
  return violations;
}

/** Tells the story again, by the rules of the documentation alone. */
function storyIsRight(saga: SagaSeen, story: readonly ProcessEvent[]): string[] {
  const steps = definitions.find(({ name }) => name === saga.saga)?.steps ?? [];
  const violations: string[] = [];
  const completed: string[] = [];
  const compensated: string[] = [];
  let state = "NotStarted";
  let failures = 0;
  let isWaiting = false;
  let mayFail = false;
  let isPaused = false;
  const canUndo = (name: string) => steps.some((step) => step.name === name && step.compensate !== null);
  const left = () => completed.filter((name) => canUndo(name) && !compensated.includes(name)).reverse();
  const next = () => steps[completed.length];

  for (const event of story) {
    const what = transitionOf(event);
    const step = event.data.step as string | undefined;
    const wrong = () =>
      violations.push(
        `saga ${saga.sagaId} (${saga.data.mark}) cannot be told of ${what}${step === undefined ? "" : ` of ${step}`} at ${event.stream} ${event.offset}: ` +
          `it is ${state}, completed ${completed.join(", ") || "nothing"}, compensated ${compensated.join(", ") || "nothing"}`,
      );
    const require = (holds: boolean) => void (holds || wrong());
    if (event.stream !== `saga-${saga.saga}` || event.partitionKey !== saga.sagaId) wrong();
    if (event.correlationId !== saga.correlationId) wrong();
    switch (what) {
      case "started":
        require(state === "NotStarted");
        state = "Running";
        break;
      case "step-waiting":
        require(state === "Running" && next()?.name === step && next()?.kind !== "execute" && !isWaiting);
        isWaiting = true;
        break;
      case "step-completed":
        require(state === "Running" && next()?.name === step && (next()?.kind === "execute" || isWaiting));
        require(event.data.progress === `${completed.length + 1}/${steps.length}`);
        completed.push(String(step));
        failures = 0;
        isWaiting = false;
        break;
      case "step-failed":
        require(state === "Running" && next()?.name === step && event.data.attempt === failures + 1);
        failures++;
        break;
      case "compensating":
        require(state === "Running");
        state = "Compensating";
        failures = 0;
        break;
      case "step-compensated":
        require(state === "Compensating" && left()[0] === step);
        compensated.push(String(step));
        failures = 0;
        break;
      case "compensation-failed":
        require(state === "Compensating" && left()[0] === step && event.data.attempt === failures + 1);
        failures++;
        mayFail = true;
        break;
      case "completed":
        require(state === "Running" && completed.length === steps.length);
        state = "Completed";
        break;
      case "compensated":
        require(state === "Compensating" && left().length === 0);
        state = "Compensated";
        break;
      case "failed":
        require(state === "Compensating" && mayFail && JSON.stringify(event.data.undone) === JSON.stringify(left()));
        state = "Failed";
        break;
      case "paused":
        require(!isPaused && !["Completed", "Compensated", "Failed"].includes(state));
        isPaused = true;
        break;
      case "resumed":
        require(isPaused);
        isPaused = false;
        break;
      case "cancel-requested":
        require(state === "NotStarted" || state === "Running");
        break;
      default:
        wrong();
    }
  }
  const told = `saga ${saga.sagaId} (${saga.data.mark})`;
  if (!["Completed", "Compensated", "Failed"].includes(state)) violations.push(`${told} does not end: it is ${state}`);
  if (state !== saga.state) violations.push(`${told} is ${saga.state}, and its stream says ${state}`);
  if (saga.completedSteps.join() !== completed.join())
    violations.push(`${told} has completed ${saga.completedSteps.join()}, and its stream says ${completed.join()}`);
  if (saga.compensatedSteps.join() !== compensated.join())
    violations.push(
      `${told} has compensated ${saga.compensatedSteps.join()}, and its stream says ${compensated.join()}`,
    );
  return violations;
}
