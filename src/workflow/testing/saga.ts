// Specifications of sagas: given what one is started with, when events come and time passes, then it has come to this.
import assert from "node:assert/strict";
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import { parseDuration } from "../../base/duration.ts";
import { commandRejected } from "../../base/errors.ts";
import { Rejection } from "../commands/rejection.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import { createEmission } from "../events/emission.ts";
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { attempt } from "../sagas/attempt.ts";
import type { Instance } from "../sagas/instance.ts";
import { actionOf, advance, type Input } from "../sagas/machine.ts";
import { type Outcome, planOf } from "../sagas/plan.ts";
import { isEnded, notStarted, type Progress, type SagaState } from "../sagas/progress.ts";
import type { SagaDefinition, SagaStep } from "../sagas/saga.ts";
import { contextOf, ofJson, same, shown } from "./plain.ts";
import { type Came, findCame } from "./saga-events.ts";

export type SagaSpecificationOptions = {
  /** What commands that steps run come to, by their names: their results; `reject` refuses. Without one, a command's result is null. */
  commands?: Readonly<Record<string, (body: unknown) => unknown>>;
  /** When it is started. Default: 2000-01-01T00:00:00.000Z. */
  at?: string;
  /** Default: `specified`. */
  correlationId?: string;
};

/** Where an event comes. */
export type ComingOptions = {
  /** Default: `specified`. */
  stream?: string;
  /** Default: the saga's. */
  correlationId?: string | null;
};

export type GivenSaga<Data> = {
  /** An event comes, with the saga's correlation id unless something else is said. */
  when: (event: DraftEvent, options?: ComingOptions) => GivenSaga<Data>;
  /** So much time passes, such as `2h`. */
  whenPassed: (duration: string) => GivenSaga<Data>;
  /** The time comes: RFC 3339. */
  whenTime: (at: string) => GivenSaga<Data>;
  /** It is cancelled. */
  whenCancelled: () => GivenSaga<Data>;
  /** Carries it out, and what was said happens, one after the other. */
  run: () => Promise<SagaOutcome<Data>>;
};

export type SagaOutcome<Data> = {
  /** It has come to this state, and, while it goes on, to this step. */
  thenState: (state: SagaState, step?: string) => SagaOutcome<Data>;
  thenData: (data: Data) => SagaOutcome<Data>;
  /** Its steps were completed, in order. */
  thenCompleted: (steps: readonly string[]) => SagaOutcome<Data>;
  /** Its steps were compensated, in order. */
  thenCompensated: (steps: readonly string[]) => SagaOutcome<Data>;
  /** What steps have emitted that were completed, with the streams. */
  thenEmitted: (events: readonly (readonly [stream: string, event: DraftEvent])[]) => SagaOutcome<Data>;
  /** The commands that steps have run, each try of a step anew. */
  thenRan: (commands: readonly (readonly [command: string, body: unknown])[]) => SagaOutcome<Data>;
  /** Why it failed, or is compensated. */
  thenError: (error: string | RegExp) => SagaOutcome<Data>;
};

type Happening = { event: DraftEvent; options: ComingOptions } | { untilMs: (nowMs: number) => number } | "cancel";

/** As the service names them, but always the same. */
const id = "00000000-0000-7000-8000-000000000000";
const maxEventBytes = 1_048_576;

/**
 * A saga that is started with this. Its state machine and its steps are the real ones; time is told, and commands answer what is
 * said. A step that fails is tried again by its policy at once: only waits and sleeps take time that has to pass.
 */
export function givenSaga<Data extends TObject, Input extends TSchema>(
  saga: SagaDefinition<Data, Input>,
  input: Static<Input>,
  options: SagaSpecificationOptions = {},
): GivenSaga<Static<Data>> {
  const build = (happenings: readonly Happening[]): GivenSaga<Static<Data>> => {
    const and = (happening: Happening) => build([...happenings, happening]);
    return {
      when: (event, coming = {}) => and({ event, options: coming }),
      whenPassed(duration) {
        const ms = parseDuration(duration);
        if (ms === null) throw new Error(`${JSON.stringify(duration)} is no duration such as 2h`);
        return and({ untilMs: (nowMs) => nowMs + ms });
      },
      whenTime: (at) => and({ untilMs: () => timeOf(at) }),
      whenCancelled: () => and("cancel"),
      run: () => carry<Static<Data>>(saga as unknown as SagaDefinition, input, options, happenings),
    };
  };
  return build([]);
}

async function carry<Data>(
  definition: SagaDefinition,
  input: unknown,
  { commands = {}, at = "2000-01-01T00:00:00.000Z", correlationId = "specified" }: SagaSpecificationOptions,
  happenings: readonly Happening[],
): Promise<SagaOutcome<Data>> {
  const { steps, deadlineMs } = definition;
  let nowMs = timeOf(at);
  const started = definition.start(ofJson(input, "what it is started with", definition.input));
  let instance: Instance = {
    id,
    saga: definition.name,
    version: definition.version,
    correlationId,
    epoch: 1,
    turn: 0,
    lost: 0,
    steps: steps.map(({ name }) => name),
    progress: notStarted(deadlineMs === null ? null : nowMs + deadlineMs),
    places: { from: -1, seen: {} },
    waitingFor: null,
    data: JSON.stringify(ofJson(started, "the data", definition.data)),
  };
  const came: Came[] = [];
  const emitted: [string, DraftEvent][] = [];
  const ran: [string, unknown][] = [];
  const emission = createEmission("specified", maxEventBytes);

  async function tried(kind: "execute" | "compensate", step: SagaStep, count: number): Promise<Outcome> {
    const drafts: [string, DraftEvent][] = [];
    const outcome = await attempt(
      {
        emission(stream, draft, cause) {
          const event = emission(stream, draft, cause);
          drafts.push([stream, draft]);
          return event;
        },
        async runCommand(name, body) {
          const given: unknown = JSON.parse(JSON.stringify(body) ?? "null");
          ran.push([name, given]);
          const nothing = { workflowId: correlationId, isNew: false, events: [], lastPosition: null };
          try {
            return { ...nothing, result: Object.hasOwn(commands, name) ? await commands[name]?.(given) : null };
          } catch (error) {
            if (error instanceof Rejection) throw commandRejected(name, error.message, error.details);
            throw error;
          }
        },
      },
      { definition, instance, step, kind, attempt: count, signal: new AbortController().signal },
    );
    if (outcome.input.kind === "done" || outcome.input.kind === "compensated") emitted.push(...drafts);
    return outcome;
  }

  /** Goes on until it rests, or has ended. */
  async function goOn(first: Outcome | null): Promise<void> {
    for (let outcome = first; ; ) {
      const { record, action, data } = planOf({ definition, instance, outcome, now: nowMs });
      const { progress, places, waitingFor } = record;
      instance = { ...instance, progress, places, waitingFor, data };
      switch (action.do) {
        case "execute":
        case "compensate":
          outcome = await tried(action.do, steps[action.step] as SagaStep, action.attempt);
          break;
        case "look":
          outcome = findCame(definition, instance, steps[action.step] as SagaStep, came);
          break;
        case "rest":
          if (!isRetrying(progress) || action.until === null) return;
          nowMs = action.until;
          outcome = null;
          break;
        default:
          throw new Error(`there is nothing to do: ${action.do}`);
      }
    }
  }

  /** It rests between two attempts, and not for what the specification tells. */
  const isRetrying = (progress: Progress) =>
    !isEnded(progress) && (progress.state === "Compensating" || steps[progress.completed.length]?.kind === "execute");

  async function pass(untilMs: number): Promise<void> {
    if (untilMs < nowMs) throw new Error("time does not run backwards");
    for (;;) {
      const action = actionOf(steps, instance.progress, nowMs, true);
      if (action.do !== "rest" || action.until === null || action.until > untilMs) break;
      nowMs = Math.max(nowMs, action.until);
      await goOn(null);
    }
    nowMs = Math.max(nowMs, untilMs);
    await goOn(null);
  }

  async function feed(given: Input): Promise<void> {
    instance = { ...instance, progress: advance(steps, instance.progress, given, nowMs).progress };
    await goOn(null);
  }

  await goOn(null);
  for (const happening of happenings) {
    if (happening === "cancel") await feed({ kind: "cancel" });
    else if ("untilMs" in happening) await pass(happening.untilMs(nowMs));
    else {
      const { event, options } = happening;
      const data = deepFreeze(ofJson(event.data, `the data of ${event.type}`, event.schema));
      const about = contextOf(event, came.length, {
        stream: options.stream ?? "specified",
        correlationId: options.correlationId === undefined ? correlationId : options.correlationId,
        recordedTime: new Date(nowMs).toISOString(),
      });
      came.push({ event, data, about });
      await goOn(null);
    }
  }
  return outcomeOf<Data>(instance, emitted, ran);
}

function outcomeOf<Data>(
  { progress, data, steps }: Instance,
  emitted: readonly (readonly [string, DraftEvent])[],
  ran: readonly (readonly [string, unknown])[],
): SagaOutcome<Data> {
  const { state, error, completed, compensated } = progress;
  const why = error === null ? "" : ` (${error})`;
  const outcome: SagaOutcome<Data> = {
    thenState(expected, step) {
      assert.equal(state, expected, `the state should be ${expected}, not ${state}${why}`);
      if (step !== undefined) same(steps[completed.length] ?? null, step, "the step");
      return outcome;
    },
    thenData(expected) {
      same(JSON.parse(data), expected, "the data");
      return outcome;
    },
    thenCompleted(expected) {
      same(completed, expected, "the completed steps");
      return outcome;
    },
    thenCompensated(expected) {
      same(compensated, expected, "the compensated steps");
      return outcome;
    },
    thenEmitted(expected) {
      const plain = (list: typeof expected) => list.map(([stream, event]) => [stream, shown(event)]);
      same(plain(emitted), plain(expected), "the emitted events");
      return outcome;
    },
    thenRan(expected) {
      same(ran, expected, "the commands");
      return outcome;
    },
    thenError(expected) {
      if (typeof expected === "string") same(error, expected, "the error");
      else assert.match(error ?? "", expected);
      return outcome;
    },
  };
  return outcome;
}

function timeOf(at: string): number {
  const ms = Date.parse(at);
  if (Number.isNaN(ms)) throw new Error(`${JSON.stringify(at)} is no time of RFC 3339`);
  return ms;
}
