// One attempt at a step or at its compensation: calls the code of the module, and says what has become of it.
import { Problem } from "../../base/errors.ts";
import { Rejection } from "../commands/rejection.ts";
import { type CallCommand, runCommandBy } from "../commands/run-command.ts";
import type { Emission } from "../events/emission.ts";
import { deepFreeze, isFrozenWrite } from "../handlers/deep-freeze.ts";
import { Defect } from "../handlers/defect.ts";
import { messageOf } from "../handlers/message-of.ts";
import { withTimeLimit } from "../handlers/time-limit.ts";
import { nameOf } from "../module/stream-definition.ts";
import { withAdditions } from "./additions.ts";
import type { Instance } from "./instance.ts";
import type { Outcome } from "./plan.ts";
import type { SagaContext, SagaDefinition, SagaStep } from "./saga.ts";
import { emittedEvent, type OutgoingEvent } from "./saga-events.ts";

export type AttemptOptions = { emission: Emission; runCommand: CallCommand };

export type Attempt = {
  definition: SagaDefinition;
  instance: Instance;
  step: SagaStep;
  kind: "execute" | "compensate";
  attempt: number;
  /** Fires when it is of no use any more. */
  signal: AbortSignal;
};

/** Makes the attempt. Rejects only when its signal fires: then nobody knows what it has done. */
export async function attempt({ emission, runCommand }: AttemptOptions, made: Attempt): Promise<Outcome> {
  const { definition, instance, step, kind, signal } = made;
  const idempotencyKey = kind === "execute" ? `${instance.id}:${step.name}` : `${instance.id}:${step.name}:compensate`;
  const handler = kind === "compensate" ? step.compensate : step.kind === "execute" ? step.execute : null;
  if (handler === null) throw new Error(`step ${step.name} has nothing to ${kind}`);
  const { correlationId } = instance;
  const events: OutgoingEvent[] = [];
  const runs = new Map<string, number>();
  let isOver = false;

  const context = (own: AbortSignal): SagaContext => ({
    sagaId: instance.id,
    correlationId,
    step: step.name,
    attempt: made.attempt,
    idempotencyKey,
    signal: own,
    emit(stream, ...drafts) {
      // What goes on after its time has no effect any more.
      if (isOver) throw new Error(`the attempt at ${step.name} is over`);
      const name = nameOf(stream);
      for (const draft of drafts)
        events.push(
          emittedEvent(name, emission(name, draft, { correlationId, causationId: idempotencyKey, traceparent: null })),
        );
    },
    run: runCommandBy(async (name, body) => {
      if (isOver) throw new Error(`the attempt at ${step.name} is over`);
      const count = (runs.get(name) ?? 0) + 1;
      runs.set(name, count);
      const key = `${idempotencyKey}:${name}${count === 1 ? "" : `:${count}`}`;
      return runCommand(name, body, { idempotencyKey: key, correlationId, signal: own });
    }),
  });

  try {
    const data = JSON.parse(instance.data) as Record<string, unknown>;
    const additions = await withTimeLimit(step.timeoutMs, (own) => handler(deepFreeze(data), context(own)), signal);
    isOver = true;
    const input = { kind: kind === "execute" ? "done" : "compensated" } as const;
    return { input, data: withAdditions(definition, data, additions), events };
  } catch (error) {
    isOver = true;
    if (signal.aborted) throw signal.reason;
    const kindOf = kind === "execute" ? "failed" : "compensation-failed";
    return { input: { kind: kindOf, message: messageOf(error), isFinal: isFinal(error) } };
  }
}

function isFinal(error: unknown): boolean {
  // A command whose handler failed may fare better another time; one that was refused will not.
  if (error instanceof Problem) return !error.retryable && error.status < 500;
  if (isFrozenWrite(error)) return true;
  return error instanceof Rejection || error instanceof Defect;
}
