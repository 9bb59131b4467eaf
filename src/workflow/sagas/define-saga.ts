// Defines sagas.
import type { TObject, TSchema } from "@sinclair/typebox";
import type { EventType } from "../events/event-type.ts";
import { compensationRetry, retryPolicy, stepRetry } from "../handlers/retry-policy.ts";
import { requireDuration, requireName } from "../module/definition.ts";
import type { CompensationOptions, MatchOptions, SagaDefinition, SagaOptions, SagaStep } from "./saga.ts";

const dayMs = 86_400_000;
const maxTimerMs = 3_650 * dayMs;
const maxStepMs = 600_000;
const maxSteps = 100;

/** A saga without steps yet, which is started by `POST /api/sagas/{name}/start`. Throws a plain sentence on what makes no sense. */
export function defineSaga<Data extends TObject, Input extends TSchema = Data>(
  name: string,
  options: SagaOptions<Data, Input>,
): SagaDefinition<Data, Input> {
  const { description, data, deadline, version = 1 } = options;
  requireName("saga", name);
  if (!Number.isInteger(version) || version < 1 || version > 1_000_000)
    throw new Error(`saga ${name}: version must be a whole number from 1 to 1000000, not ${version}`);
  const base = {
    kind: "saga" as const,
    name,
    description: description ?? null,
    data,
    input: (options.input ?? data) as Input,
    start: (options.start ?? ((input: unknown) => input)) as (input: unknown) => unknown,
    deadlineMs: deadline === undefined ? null : requireDuration(`saga ${name}: deadline`, deadline, 1, maxTimerMs),
    version,
  };
  const build = (steps: readonly SagaStep[]): SagaDefinition<Data, Input> => {
    const add = (step: SagaStep) => {
      requireName(`step of the saga ${name}`, step.name);
      if (steps.some((other) => other.name === step.name)) throw new Error(`saga ${name} has two steps ${step.name}`);
      if (steps.length === maxSteps) throw new Error(`saga ${name} has more than ${maxSteps} steps`);
      return build([...steps, step]);
    };
    return {
      ...base,
      steps,
      step(step, { description: about, execute, retry, timeout = "10s", ...undo }) {
        const timeoutMs = requireDuration(`saga ${name}, step ${step}: timeout`, timeout, 1, maxStepMs);
        return add({
          kind: "execute",
          name: step,
          description: about ?? null,
          execute: execute as Extract<SagaStep, { kind: "execute" }>["execute"],
          retry: retryPolicy(`saga ${name}, step ${step}: retry`, retry, stepRetry),
          ...compensationOf(name, step, undo, timeoutMs),
        });
      },
      waitFor(step, type, { description: about, timeout, onTimeout, when, take, match, ...undo } = {}) {
        return add({
          kind: "wait",
          name: step,
          description: about ?? null,
          event: type as unknown as EventType,
          waitMs:
            timeout === undefined
              ? null
              : requireDuration(`saga ${name}, step ${step}: timeout`, timeout, 1, maxTimerMs),
          when: (when ?? (() => true)) as Wait["when"],
          take: (take ?? (() => undefined)) as Wait["take"],
          match: matchOf(`saga ${name}, step ${step}: match`, match),
          onTimeout: timedOut(`saga ${name}, step ${step}: onTimeout`, timeout, onTimeout),
          retry: stepRetry,
          ...compensationOf(name, step, undo, 10_000),
        });
      },
      sleep(step, { description: about, for: length, until }) {
        const sleepMs =
          length === undefined ? 0 : requireDuration(`saga ${name}, step ${step}: for`, length, 0, maxTimerMs);
        return add({
          kind: "sleep",
          name: step,
          description: about ?? null,
          until:
            until === undefined
              ? (_, now) => now + sleepMs
              : (data) => timeOf((until as (data: unknown) => unknown)(data)),
          retry: stepRetry,
          compensation: null,
          compensate: null,
          timeoutMs: 10_000,
        });
      },
    };
  };
  return build([]);
}

type Wait = Extract<SagaStep, { kind: "wait" }>;

function matchOf<Data>(what: string, match: MatchOptions<Data> | undefined): Wait["match"] {
  if (match === undefined) return null;
  const given = Object.entries({ stream: match.stream, subject: match.subject, "partition-key": match.partitionKey });
  const [only, ...more] = given.filter(([, key]) => key !== undefined);
  if (only === undefined || more.length > 0) throw new Error(`${what} is by one of stream, partitionKey and subject`);
  return { by: only[0], key: only[1] } as unknown as Wait["match"];
}

function timedOut(what: string, timeout: string | undefined, given: unknown): Wait["onTimeout"] {
  if (given === undefined || given === "fail") return null;
  if (timeout === undefined) throw new Error(`${what} stands without timeout`);
  return given === "continue" ? () => undefined : (given as Wait["onTimeout"]);
}

function timeOf(text: unknown): number {
  const at = typeof text === "string" ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new Error(`it sleeps until ${JSON.stringify(text)}, which is no time of RFC 3339`);
  return at;
}

function compensationOf<Data>(saga: string, step: string, undo: CompensationOptions<Data>, timeoutMs: number) {
  const { compensate, compensateRetry } = undo;
  if (compensate === undefined && compensateRetry !== undefined)
    throw new Error(`saga ${saga}, step ${step}: compensateRetry stands without compensate`);
  return {
    compensate: (compensate ?? null) as SagaStep["compensate"],
    compensation:
      compensate === undefined
        ? null
        : retryPolicy(`saga ${saga}, step ${step}: compensateRetry`, compensateRetry, compensationRetry),
    timeoutMs,
  };
}
