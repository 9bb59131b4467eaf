// How far a saga has come: what is kept of it besides its data, and what its steps are made of as far as that matters.
import type { RetryPolicy } from "../handlers/retry-policy.ts";

/**
 *     NotStarted → Running → Completed
 *                     ↓
 *                Compensating → Compensated
 *                     ↓   ↑ retry
 *                   Failed
 */
export const sagaStates = ["NotStarted", "Running", "Completed", "Compensating", "Compensated", "Failed"] as const;

export type SagaState = (typeof sagaStates)[number];

/** What the machine knows of a step. */
export type StepShape = {
  name: string;
  kind: "execute" | "wait" | "sleep";
  retry: RetryPolicy;
  /** How its compensation is tried; null when nothing is to be undone. */
  compensation: RetryPolicy | null;
};

/** Times are milliseconds since the epoch, by the clock of the database. */
export type Progress = {
  state: SagaState;
  /** Nothing is begun while it is so. */
  paused: boolean;
  /** It is to be compensated as soon as nothing is under way. */
  cancelRequested: boolean;
  /** Names of the steps that were completed: the first ones, in order. */
  completed: readonly string[];
  /** Names of the steps that were compensated, in that order. */
  compensated: readonly string[];
  /** Compensating: so many of the completed steps are still to be looked at, from the last one on. */
  remaining: number;
  /** Attempts at the current step or compensation that have failed. */
  failures: number;
  /** A wait or a sleep has begun. */
  begun: boolean;
  /** When a rest, a wait or a sleep is over; null for never. */
  timerAt: number | null;
  /** When the whole has to be done; null for never. */
  deadlineAt: number | null;
  /** Why the last attempt failed, or why it is compensated. */
  error: string | null;
  /** The step that made the saga fail. */
  failedStep: string | null;
  /** Why the last attempt at a compensation failed. */
  compensationError: string | null;
  /** Failed: what is left to be compensated, in that order. */
  undone: readonly string[];
};

/** Before the start. */
export function notStarted(deadlineAt: number | null): Progress {
  return {
    state: "NotStarted",
    paused: false,
    cancelRequested: false,
    completed: [],
    compensated: [],
    remaining: 0,
    failures: 0,
    begun: false,
    timerAt: null,
    deadlineAt,
    error: null,
    failedStep: null,
    compensationError: null,
    undone: [],
  };
}

/** Whether nothing happens any more, unless somebody asks for another try. */
export function isEnded({ state }: Pick<Progress, "state">): boolean {
  return state === "Completed" || state === "Compensated" || state === "Failed";
}
