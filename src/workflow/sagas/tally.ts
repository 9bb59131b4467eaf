// Counts what this process has done with sagas.
import type { TransitionType } from "./machine.ts";
import type { Plan } from "./plan.ts";

export type SagaCounters = {
  started: number;
  completed: number;
  compensated: number;
  failed: number;
  /** Attempts at steps, and at compensations, that have failed. */
  stepFailures: number;
  compensationFailures: number;
  stepsCompleted: number;
  /** Sagas whose processes had died. */
  takenOver: number;
  /** Carried out now. */
  running: number;
};

type Counted = Omit<SagaCounters, "takenOver" | "running">;

const counted: Partial<Record<TransitionType, keyof Counted>> = {
  completed: "completed",
  compensated: "compensated",
  failed: "failed",
  "step-completed": "stepsCompleted",
  "step-failed": "stepFailures",
  "compensation-failed": "compensationFailures",
};

export function createSagaTally() {
  const counters: Counted = {
    started: 0,
    completed: 0,
    compensated: 0,
    failed: 0,
    stepFailures: 0,
    compensationFailures: 0,
    stepsCompleted: 0,
  };
  return {
    started: () => {
      counters.started++;
    },
    recorded({ transitions }: Plan) {
      for (const { type } of transitions) {
        const counter = counted[type];
        if (counter !== undefined) counters[counter]++;
      }
    },
    counters: (): Counted => counters,
  };
}
