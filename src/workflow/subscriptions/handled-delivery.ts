// What a handler knows of a delivery besides its event, and what it can bring about.
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { StoredEvent } from "../../stream/event.ts";
import { type CallCommand, type RunCommand, runCommandBy } from "../commands/run-command.ts";
import type { SagaDefinition } from "../sagas/saga.ts";

export type HandledDelivery = {
  /** The first is 1. */
  readonly attempt: number;
  /** Fires when the time is over. */
  readonly signal: AbortSignal;
  /** In the workflow of the event; once for the event within IDEMPOTENCY_WINDOW, whichever attempt it is. */
  readonly run: RunCommand;
  /** Starts a saga with the event's correlation; once for the event, whichever attempt it is. */
  start<Data extends TObject, Input extends TSchema>(
    saga: SagaDefinition<Data, Input>,
    input: Static<Input>,
  ): Promise<{ sagaId: string; correlationId: string }>;
};

/** Starts a saga by its name; throws problems. */
export type CallStart = (
  saga: string,
  input: unknown,
  cause: { idempotencyKey: string; correlationId: string },
) => Promise<{ sagaId: string; correlationId: string }>;

/** What handlers can bring about. */
export type Reach = { runCommand: CallCommand; startSaga: CallStart };

export function handledDelivery(
  { runCommand, startSaga }: Reach,
  subscription: string,
  event: StoredEvent,
  attempt: number,
  signal: AbortSignal,
): HandledDelivery {
  const correlationId = event.correlationId ?? event.id;
  const counts = new Map<string, number>();
  /** The same at each attempt, as long as the handler asks for the same in the same order. */
  const keyOf = (name: string) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return `${subscription}:${event.position}:${name}:${count}`;
  };
  return {
    attempt,
    signal,
    run: runCommandBy((name, body) =>
      runCommand(name, body, { idempotencyKey: keyOf(`run ${name}`), correlationId, signal }),
    ),
    start: (saga, input) => startSaga(saga.name, input, { idempotencyKey: keyOf(`start ${saga.name}`), correlationId }),
  };
}
