// Carries a saga on, from record to record, until it rests or has ended.
import type { Log } from "../../base/log.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import { withstand } from "../../storage/withstand.ts";
import { type AttemptOptions, attempt } from "./attempt.ts";
import { type AwaitedEventOptions, findAwaited, NotHere } from "./awaited-event.ts";
import type { Instance } from "./instance.ts";
import type { Action } from "./machine.ts";
import { misfit, type Outcome, type Plan, planOf } from "./plan.ts";
import type { Recorder } from "./recorder.ts";
import type { SagaDefinition, SagaStep } from "./saga.ts";

export type CarrierOptions = AttemptOptions &
  AwaitedEventOptions & {
    recorder: Pick<Recorder, "record">;
    /** By the clock of the database. */
    now: () => number;
    /** Something was recorded. */
    onRecorded: (plan: Plan) => void;
    log: Log;
  };

export type Carried = {
  definition: SagaDefinition;
  instance: Instance;
  /** It is given up after what is under way. */
  isStopping: () => boolean;
  /** Fires when it is not this process's any more, or when what is under way takes too long to stop. */
  signal: AbortSignal;
  /** It is not this process's any more. */
  isLost: () => boolean;
};

/** How long a saga waits that nothing can be done with here. */
const putOffMs = 10_000;
/** A step in which so many processes have died is the reason. */
const maxLost = 10;

/** Returns the way to carry a saga on, which never rejects. */
export function createCarrier(options: CarrierOptions): (carried: Carried) => Promise<void> {
  const { recorder, now, onRecorded, log } = options;

  async function perform(action: Action, instance: Instance, { definition, signal }: Carried): Promise<Outcome> {
    if (action.do === "rest" || action.do === "start" || action.do === "tick" || action.do === "begin")
      throw new Error(`there is nothing to perform: ${action.do}`);
    const step = definition.steps[action.step] as SagaStep;
    if (action.do === "look") {
      if (step.kind !== "wait") throw new Error(`step ${step.name} waits for no event`);
      return withstand(() => findAwaited(options, definition, instance, step, signal), signal);
    }
    // The attempts that ended with their processes count too.
    const made = { definition, instance, step, kind: action.do, attempt: action.attempt + instance.lost, signal };
    const outcome = await attempt(options, made);
    if (outcome.input.kind === "failed" || outcome.input.kind === "compensation-failed")
      log.warn(
        { saga: instance.saga, sagaId: instance.id, step: step.name, reason: outcome.input.message },
        `a saga's ${action.do === "execute" ? "step" : "compensation"} failed`,
      );
    return outcome;
  }

  /** `hand`: the saga as it was recorded last, also when this fails. */
  async function carry(carried: Carried, hand: { instance: Instance }): Promise<void> {
    const { definition, signal } = carried;
    let outcome = deadlyOutcome(hand.instance);
    for (;;) {
      const { instance } = hand;
      const plan = planOf({ definition, instance, outcome, now: now(), isGivenUp: carried.isStopping() });
      if (plan.isNews || plan.record.restMs !== null) {
        const recorded = await withstand(() => recorder.record(plan.record), signal);
        if (recorded === "stale") {
          log.warn({ saga: instance.saga, sagaId: instance.id }, "a saga was taken over by another process");
          return;
        }
        if (recorded !== "recorded") {
          // Somebody paused or cancelled it meanwhile: what has happened means something else now.
          hand.instance = { ...instance, progress: { ...instance.progress, ...recorded } };
          continue;
        }
        const { progress, places, version, steps, waitingFor } = plan.record;
        const turn = instance.turn + 1;
        hand.instance = { ...instance, progress, places, version, steps, waitingFor, data: plan.data, turn, lost: 0 };
        onRecorded(plan);
        if (plan.record.restMs !== null) return;
      }
      try {
        outcome = await perform(plan.action, hand.instance, carried);
      } catch (error) {
        if (!signal.aborted) throw error;
        if (!carried.isLost()) await giveUp(hand.instance, 0);
        return;
      }
    }
  }

  /** Leaves it to whoever comes next, as it was recorded last. */
  async function giveUp(given: Instance, restMs: number): Promise<void> {
    let instance = given;
    for (;;) {
      const { version, steps, progress, places, waitingFor } = instance;
      const call = { instance, version, steps, progress, places, waitingFor, data: null, restMs, events: [] };
      const recorded = await recorder.record(call);
      if (typeof recorded === "string") return;
      instance = { ...instance, progress: { ...progress, ...recorded } };
    }
  }

  return async (carried) => {
    const { definition, signal } = carried;
    const hand = { instance: carried.instance };
    const { saga, id: sagaId } = carried.instance;
    let unfit = misfit(definition, carried.instance);
    try {
      if (unfit === null) return await carry(carried, hand);
    } catch (error) {
      if (signal.aborted || carried.isLost()) return;
      if (error instanceof NotHere) unfit = error.message;
      else log.error({ err: error, saga, sagaId }, "a saga could not be carried on");
    }
    if (unfit !== null) {
      log.warn({ saga, sagaId, reason: unfit }, "a saga cannot be carried on by this process");
      // Whoever asks how it stands is told too.
      hand.instance = { ...hand.instance, progress: { ...hand.instance.progress, error: unfit } };
    }
    await giveUp(hand.instance, putOffMs).catch((error: unknown) => {
      log[isOutage(error) ? "debug" : "error"]({ err: error, saga, sagaId }, "a saga could not be given up");
    });
  };
}

/** What has ended so many processes is not tried for ever. */
function deadlyOutcome({ lost, progress }: Instance): Outcome | null {
  if (lost < maxLost) return null;
  const message = `${lost} processes have ended during it`;
  const kind = progress.state === "Compensating" ? "compensation-failed" : "failed";
  return { input: { kind, message, isFinal: true } };
}
