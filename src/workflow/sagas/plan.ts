// What is to be recorded of a saga, and done next: the state machine, driven on as far as nothing has to be waited for.
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { messageOf } from "../handlers/message-of.ts";
import { withAdditions } from "./additions.ts";
import { type Awaited, awaitedOf } from "./awaited.ts";
import type { RecordCall } from "./calls.ts";
import type { Instance, Places } from "./instance.ts";
import { type Action, actionOf, advance, type Input, type Transition } from "./machine.ts";
import type { SagaDefinition, SagaStep } from "./saga.ts";
import { type OutgoingEvent, transitionEvent } from "./saga-events.ts";

/** What has become of an action. */
export type Outcome = {
  input: Input;
  /** The data, where they have changed. */
  data?: string;
  /** What was emitted. */
  events?: readonly OutgoingEvent[];
  /** How far the log was looked through. */
  places?: Places;
};

export type Plan = {
  record: RecordCall;
  /** Nothing of it is known yet to whoever looks at the saga. */
  isNews: boolean;
  transitions: readonly Transition[];
  action: Action;
  /** The data after it. */
  data: string;
};

export type PlanOptions = {
  definition: SagaDefinition;
  instance: Instance;
  outcome: Outcome | null;
  /** By the clock of the database, in milliseconds since the epoch. */
  now: number;
  /** It is given up now, to be carried on elsewhere. */
  isGivenUp?: boolean;
};

/** The same for the same: it can be made anew when somebody has paused or cancelled the saga meanwhile. */
export function planOf({ definition, instance, outcome, now, isGivenUp = false }: PlanOptions): Plan {
  const { steps } = definition;
  let data = outcome?.data ?? instance.data;
  const transitions: Transition[] = [];
  let progress = instance.progress;
  const feed = (input: Input) => {
    const next = advance(steps, progress, input, now);
    progress = next.progress;
    transitions.push(...next.transitions);
  };
  const looked = outcome?.input.kind === "not-there";
  const late = looked ? timedOut(definition, instance, now) : null;
  if (late !== null) {
    data = late.data ?? data;
    feed(late.input);
  } else if (outcome !== null) feed(outcome.input);
  let action = actionOf(steps, progress, now, looked);
  while (action.do === "start" || action.do === "tick" || action.do === "begin") {
    feed(action.do === "begin" ? begin(steps[action.step] as SagaStep, data, now) : { kind: action.do });
    action = actionOf(steps, progress, now, looked);
  }
  const events = (outcome?.events ?? []).concat(transitions.map((transition) => transitionEvent(instance, transition)));
  const current = progress.state === "Running" ? steps[progress.completed.length] : undefined;
  return {
    record: {
      instance,
      version: definition.version,
      steps: steps.map(({ name }) => name),
      progress,
      places: outcome?.places ?? instance.places,
      data: data === instance.data ? null : data,
      waitingFor: current?.kind === "wait" ? awaited(current, data) : null,
      restMs: restMs(action, now) ?? (isGivenUp ? 0 : null),
      events,
    },
    isNews: progress !== instance.progress || data !== instance.data || events.length > 0,
    transitions,
    action,
    data,
  };
}

/** What comes of a wait whose time is over without its event; null where that is not so, or it fails as any other. */
function timedOut(definition: SagaDefinition, { progress, data }: Instance, now: number): Outcome | null {
  const step = progress.state === "Running" ? definition.steps[progress.completed.length] : undefined;
  if (step?.kind !== "wait" || step.onTimeout === null) return null;
  if (progress.timerAt === null || progress.timerAt > now) return null;
  try {
    const before = JSON.parse(data) as Record<string, unknown>;
    const added = withAdditions(definition, before, step.onTimeout(deepFreeze(before)));
    return { input: { kind: "done", isTimedOut: true }, data: added };
  } catch (error) {
    return { input: { kind: "failed", message: messageOf(error), isFinal: true } };
  }
}

/** Null where a wait that has not begun yet names no key: it fails as it begins. */
function awaited(step: Extract<SagaStep, { kind: "wait" }>, data: string): Awaited | null {
  try {
    return awaitedOf(step, JSON.parse(data));
  } catch {
    return null;
  }
}

function begin(step: SagaStep, data: string, now: number): Input {
  if (step.kind === "execute") throw new Error(`step ${step.name} is neither a wait nor a sleep`);
  try {
    const before: unknown = JSON.parse(data);
    if (step.kind === "sleep") return { kind: "begun", until: step.until(before, now) };
    awaitedOf(step, before);
    return { kind: "begun", until: step.waitMs === null ? null : now + step.waitMs };
  } catch (error) {
    return { kind: "failed", message: messageOf(error), isFinal: true };
  }
}

function restMs(action: Action, now: number): number | null {
  if (action.do !== "rest") return null;
  return action.until === null ? Number.POSITIVE_INFINITY : Math.max(0, action.until - now);
}

/** Why a saga of this definition cannot carry on what another version, or another service, has begun; null when it can. */
export function misfit(definition: SagaDefinition, { version, steps, progress }: Instance): string | null {
  const { name } = definition;
  const known = definition.steps.map((step) => step.name);
  const isSame = known.length === steps.length && known.every((step, n) => step === steps[n]);
  if (version === definition.version)
    return isSame
      ? null
      : `it was started with the steps ${steps.join(", ")}, and the saga ${name} has others now: give it a higher version`;
  const begun = [...progress.completed];
  const isUnderWay = progress.state === "Running" && (progress.begun || progress.failures > 0);
  if (isUnderWay) begun.push(steps[begun.length] as string);
  const isPrefix = begun.every((step, n) => step === known[n]);
  return isPrefix
    ? null
    : `it has begun the steps ${begun.join(", ")}, which are not the first ones of version ${definition.version} of the saga ${name}`;
}
