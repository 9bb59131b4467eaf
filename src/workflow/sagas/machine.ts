// The state machine of a saga, pure: what has happened makes the next state and the events that tell of it.
import { pauseAfter, type RetryPolicy } from "../handlers/retry-policy.ts";
import { isEnded, type Progress, type StepShape } from "./progress.ts";

export type Input =
  | { kind: "start" }
  /** Time has passed. */
  | { kind: "tick" }
  /** The current step was executed, or what it waited for has come, or has not and may do without. */
  | { kind: "done"; isTimedOut?: boolean }
  /** A wait or a sleep begins, and is over at a time; null for never. */
  | { kind: "begun"; until: number | null }
  /** What a step waits for has not come yet; the message is for when its time is over. */
  | { kind: "not-there"; message: string }
  | { kind: "failed"; message: string; isFinal: boolean }
  | { kind: "compensated" }
  | { kind: "compensation-failed"; message: string; isFinal: boolean }
  | { kind: "pause" }
  | { kind: "resume" }
  | { kind: "cancel" }
  /** Tries to compensate once more what has failed. */
  | { kind: "retry" };

/** What a transition event tells besides the saga and its state. */
export type Transition = {
  type: TransitionType;
  step?: string;
  attempt?: number;
  error?: string;
  undone?: string[];
  until?: number;
  /** What it waited for has not come. */
  timedOut?: true;
  /** Steps that are completed, of all: `2/3`. */
  progress?: string;
};

export type TransitionType =
  | "started"
  | "step-waiting"
  | "step-completed"
  | "step-failed"
  | "compensating"
  | "step-compensated"
  | "compensation-failed"
  | "completed"
  | "compensated"
  | "failed"
  | "paused"
  | "resumed"
  | "cancel-requested"
  | "retried";

/** What is to be done next. */
export type Action =
  | { do: "start" }
  | { do: "execute"; step: number; attempt: number }
  | { do: "compensate"; step: number; attempt: number }
  /** To say until when a wait or a sleep goes. */
  | { do: "begin"; step: number }
  /** To see whether what a step waits for is there. */
  | { do: "look"; step: number }
  /** Something has run out: a tick is due. */
  | { do: "tick" }
  /** Nothing until then; null for nothing until somebody asks. */
  | { do: "rest"; until: number | null };

export type Step = { progress: Progress; transitions: Transition[] };

/** The next state. An input that does not fit the state changes nothing. */
export function advance(steps: readonly StepShape[], progress: Progress, input: Input, now: number): Step {
  const { next, transitions } = take(steps, progress, input, now);
  return settle(steps, next, transitions, now);
}

function take(
  steps: readonly StepShape[],
  before: Progress,
  input: Input,
  now: number,
): { next: Progress; transitions: Transition[] } {
  const unchanged = { next: before, transitions: [] };
  const running = before.state === "Running" ? steps[before.completed.length] : undefined;
  const undoing = before.state === "Compensating" ? steps[before.remaining - 1] : undefined;
  switch (input.kind) {
    case "start":
      if (before.state !== "NotStarted") return unchanged;
      return { next: { ...before, state: "Running" }, transitions: [{ type: "started" }] };
    case "tick":
      if (before.paused || running?.kind !== "sleep" || !before.begun) return unchanged;
      return before.timerAt !== null && before.timerAt <= now ? completed(steps, before, running) : unchanged;
    case "done":
      return running === undefined ? unchanged : completed(steps, before, running, input.isTimedOut);
    case "begun":
      if (running === undefined || running.kind === "execute" || before.begun || before.paused) return unchanged;
      return {
        next: { ...before, begun: true, timerAt: input.until },
        transitions: [
          { type: "step-waiting", step: running.name, ...(input.until === null ? {} : { until: input.until }) },
        ],
      };
    case "not-there":
      if (running?.kind !== "wait" || before.timerAt === null || before.timerAt > now) return unchanged;
      return failed(before, running, input.message, true, now);
    case "failed":
      return running === undefined ? unchanged : failed(before, running, input.message, input.isFinal, now);
    case "compensated": {
      if (undoing === undefined) return unchanged;
      const next = {
        ...before,
        ...fresh,
        compensationError: null,
        remaining: before.remaining - 1,
        compensated: [...before.compensated, undoing.name],
      };
      return { next, transitions: [{ type: "step-compensated", step: undoing.name }] };
    }
    case "compensation-failed":
      return undoing === undefined ? unchanged : notCompensated(steps, before, undoing, input, now);
    case "pause":
      if (before.paused || isEnded(before)) return unchanged;
      return { next: { ...before, paused: true }, transitions: [{ type: "paused" }] };
    case "resume":
      if (!before.paused) return unchanged;
      return { next: { ...before, paused: false }, transitions: [{ type: "resumed" }] };
    case "cancel":
      if (before.cancelRequested || before.state === "Compensating" || isEnded(before)) return unchanged;
      return { next: { ...before, cancelRequested: true }, transitions: [{ type: "cancel-requested" }] };
    case "retry":
      if (before.state !== "Failed") return unchanged;
      return { next: { ...before, ...fresh, state: "Compensating", undone: [] }, transitions: [{ type: "retried" }] };
    default:
      return input satisfies never;
  }
}

/** Of a step or a compensation that nobody has tried yet. */
const fresh = { failures: 0, begun: false, timerAt: null };

function completed(steps: readonly StepShape[], before: Progress, step: StepShape, isTimedOut = false) {
  const next = { ...before, ...fresh, error: null, completed: [...before.completed, step.name] };
  const progress = `${next.completed.length}/${steps.length}`;
  const told: Transition = { type: "step-completed", step: step.name, progress };
  return { next, transitions: [isTimedOut ? { ...told, timedOut: true as const } : told] };
}

function failed(before: Progress, step: StepShape, message: string, isFinal: boolean, now: number) {
  const failures = before.failures + 1;
  const isOver = isFinal || failures >= step.retry.attempts || before.cancelRequested;
  const until = isOver ? {} : { until: now + pauseAfter(step.retry, failures) };
  const transitions: Transition[] = [
    { type: "step-failed", step: step.name, attempt: failures, error: message, ...until },
  ];
  const next = { ...before, error: message, failures, timerAt: until.until ?? null };
  if (!isOver) return { next, transitions };
  return compensating({ ...next, failedStep: step.name }, message, transitions);
}

function compensating(before: Progress, error: string, transitions: Transition[]) {
  transitions.push({ type: "compensating", error });
  const next = { ...before, ...fresh, state: "Compensating" as const, error, remaining: before.completed.length };
  return { next, transitions };
}

function notCompensated(
  steps: readonly StepShape[],
  before: Progress,
  step: StepShape,
  { message, isFinal }: { message: string; isFinal: boolean },
  now: number,
) {
  const failures = before.failures + 1;
  const retry = step.compensation as RetryPolicy;
  const isOver = isFinal || failures >= retry.attempts;
  const until = isOver ? {} : { until: now + pauseAfter(retry, failures) };
  const transitions: Transition[] = [
    { type: "compensation-failed", step: step.name, attempt: failures, error: message, ...until },
  ];
  const next = { ...before, failures, compensationError: message, timerAt: until.until ?? null };
  if (!isOver) return { next, transitions };
  const undone = steps
    .slice(0, before.remaining)
    .filter(({ compensation }) => compensation !== null)
    .map(({ name }) => name)
    .reverse();
  transitions.push({ type: "failed", step: step.name, error: message, undone });
  return { next: { ...next, state: "Failed" as const, undone }, transitions };
}

/** After so many failures, in milliseconds. */
/** What follows by itself. A paused saga does nothing. */
function settle(steps: readonly StepShape[], progress: Progress, transitions: Transition[], now: number): Step {
  let next = progress;
  if (next.paused) return { progress: next, transitions };
  if (next.state === "Running") {
    if (next.cancelRequested) next = compensating(next, "it was cancelled", transitions).next;
    else if (next.completed.length === steps.length) {
      next = { ...next, state: "Completed" };
      transitions.push({ type: "completed" });
    } else if (next.deadlineAt !== null && next.deadlineAt <= now)
      next = compensating(next, "its deadline has passed", transitions).next;
  }
  if (next.state === "Compensating") {
    let { remaining } = next;
    while (remaining > 0 && steps[remaining - 1]?.compensation === null) remaining--;
    if (remaining !== next.remaining) next = { ...next, remaining };
    if (remaining === 0) {
      next = { ...next, state: "Compensated" };
      transitions.push({ type: "compensated", ...(next.error === null ? {} : { error: next.error }) });
    }
  }
  return { progress: next, transitions };
}

/** What is to be done in a state. `looked`: it was seen a moment ago that what a step waits for is not there. */
export function actionOf(steps: readonly StepShape[], progress: Progress, now: number, looked = false): Action {
  const { state, paused, timerAt, failures, begun, deadlineAt } = progress;
  if (paused || isEnded(progress)) return { do: "rest", until: null };
  const isResting = timerAt !== null && timerAt > now;
  if (state === "Compensating") {
    if (isResting) return { do: "rest", until: timerAt };
    // It came to this while it was paused, and nobody has looked yet at what is to be undone.
    if (!steps[progress.remaining - 1]?.compensation) return { do: "tick" };
    return { do: "compensate", step: progress.remaining - 1, attempt: failures + 1 };
  }
  const at = progress.completed.length;
  const step = steps[at];
  const isOver = deadlineAt !== null && deadlineAt <= now;
  if (state === "NotStarted") return { do: "start" };
  if (step === undefined || isOver || progress.cancelRequested) return { do: "tick" };
  const until = earliest(timerAt, deadlineAt);
  switch (step.kind) {
    case "execute":
      return isResting ? { do: "rest", until } : { do: "execute", step: at, attempt: failures + 1 };
    case "sleep":
      if (!begun) return { do: "begin", step: at };
      return timerAt === null || isResting ? { do: "rest", until } : { do: "tick" };
    case "wait":
      if (!begun) return { do: "begin", step: at };
      return looked ? { do: "rest", until } : { do: "look", step: at };
    default:
      return step.kind satisfies never;
  }
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
