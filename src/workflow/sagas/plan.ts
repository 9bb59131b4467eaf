// What is to be recorded of a saga, and done next: the state machine, driven on as far as nothing has to be waited for.
import { messageOf } from "../handlers/message-of.ts";
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
  const data = outcome?.data ?? instance.data;
  const transitions: Transition[] = [];
  let progress = instance.progress;
  const feed = (input: Input) => {
    const next = advance(steps, progress, input, now);
    progress = next.progress;
    transitions.push(...next.transitions);
  };
  if (outcome !== null) feed(outcome.input);
  const looked = outcome?.input.kind === "not-there";
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
      waitingFor: current?.kind === "wait" ? current.event.name : null,
      restMs: restMs(action, now) ?? (isGivenUp ? 0 : null),
      events,
    },
    isNews: progress !== instance.progress || data !== instance.data || events.length > 0,
    transitions,
    action,
    data,
  };
}

function begin(step: SagaStep, data: string, now: number): Input {
  if (step.kind === "wait") return { kind: "begun", until: step.waitMs === null ? null : now + step.waitMs };
  if (step.kind !== "sleep") throw new Error(`step ${step.name} is neither a wait nor a sleep`);
  try {
    return { kind: "begun", until: step.until(JSON.parse(data), now) };
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
