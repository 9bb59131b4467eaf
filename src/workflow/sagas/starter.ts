// Starts sagas: checks what they are started with, and makes the record from which they are carried on.
import { idempotencyKeyInUse, idempotencyKeyReused, invalidRequest, sagaUnknown } from "../../base/errors.ts";
import { contentHash, uuidv7 } from "../../base/ids.ts";
import { Rejection } from "../commands/rejection.ts";
import { checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import { advance } from "./machine.ts";
import { notStarted } from "./progress.ts";
import type { Recorder } from "./recorder.ts";
import type { Runner } from "./runner.ts";
import type { SagaDefinition } from "./saga.ts";
import { keptData } from "./saga-data.ts";
import { transitionEvent } from "./saga-events.ts";

export type StartRequest = {
  saga: string;
  input: unknown;
  /** Default: the saga's id. */
  correlationId: string | null;
  /** A request with the same key, and the same hash of what it asks for, starts nothing again. */
  idempotency: { key: string; requestHash: string } | null;
  /** Who asks: keys are theirs. */
  principal: string;
};

export type Started = { sagaId: string; correlationId: string };

export type StarterOptions = {
  definitions: ReadonlyMap<string, SagaDefinition>;
  recorder: Pick<Recorder, "start">;
  runner: Pick<Runner, "reserve" | "release" | "run" | "wake">;
  /** By the clock of the database, in milliseconds. */
  now: () => number;
  /** Resolves when that clock is known. */
  clockKnown: () => Promise<void>;
  /** The last position of the log that this process knows. */
  head: () => number;
  onStarted: () => void;
};

/**
 * Returns the way to start a saga, which resolves when it is kept. It throws `saga-not-found`, `invalid-request`,
 * `idempotency-key-in-use`, `idempotency-key-reused`, and what the database says.
 */
export function createStarter(options: StarterOptions): (request: StartRequest) => Promise<Started> {
  const { definitions, recorder, runner, now, clockKnown, head, onStarted } = options;
  const starting = new Set<string>();

  return async ({ saga, input, correlationId: given, idempotency, principal }) => {
    const definition = definitions.get(saga);
    if (definition === undefined) throw sagaUnknown(saga);
    const data = firstData(definition, input);
    await clockKnown();
    const id = idempotency === null ? uuidv7() : contentHash([principal, saga, idempotency.key]);
    if (starting.has(id)) throw idempotencyKeyInUse(idempotency?.key ?? id);
    const correlationId = given ?? id;
    const { version, deadlineMs, steps } = definition;
    const subject = { id, saga, correlationId };
    // What has happened before it was started is none of its events.
    const places = { from: head(), seen: {} };
    const before = notStarted(deadlineMs === null ? null : now() + deadlineMs);
    const run = runner.reserve(id);
    const { progress, transitions } = run
      ? advance(steps, before, { kind: "start" }, now())
      : { progress: before, transitions: [] };
    const names = steps.map((step) => step.name);
    const requestHash = idempotency?.requestHash ?? null;
    const events = transitions.map((transition) => transitionEvent(subject, transition));
    starting.add(id);
    const outcome = await recorder
      .start({ ...subject, version, steps: names, progress, places, data, requestHash, run, events })
      .catch((error: unknown) => {
        runner.release(id, false);
        throw error;
      })
      .finally(() => starting.delete(id));
    if (outcome !== "started") {
      runner.release(id, true);
      if (outcome === "conflict") throw idempotencyKeyReused(idempotency?.key ?? id);
    } else {
      onStarted();
      if (run)
        runner.run({
          ...subject,
          version,
          epoch: 1,
          turn: 0,
          lost: 0,
          steps: names,
          progress,
          places,
          waitingFor: null,
          data,
        });
      else runner.wake();
    }
    return { sagaId: id, correlationId };
  };
}

/** The data that a saga begins with, as JSON. */
function firstData(definition: SagaDefinition, input: unknown): string {
  const violations = checkerOf(definition.input)(input);
  if (violations !== null) throw invalidRequest(violations);
  try {
    return keptData(definition, definition.start(input));
  } catch (error) {
    if (error instanceof Rejection) throw invalidRequest([{ path: "", message: error.message }]);
    if (error instanceof Defect) throw invalidRequest([...error.violations]);
    throw error;
  }
}
