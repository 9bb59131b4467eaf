// The events of sagas: what tells of their transitions, and what their steps emit, on their way through the outbox.

import { arrayLiteral, textList } from "../../storage/lists.ts";
import type { NewEvent } from "../../stream/event.ts";
import type { Transition, TransitionType } from "./machine.ts";
import type { SagaState } from "./progress.ts";

/** A row of the outbox. */
export type OutgoingEvent = {
  stream: string;
  type: string;
  data: string | null;
  /** Null where the relay names it. */
  id: string | null;
  version: number;
  correlationId: string | null;
  partitionKey: string | null;
  /** A JSON object. */
  attributes: string;
  /** The service's own: its type may begin with `sluice.`. */
  own: boolean;
};

const stateAfter: Record<TransitionType, SagaState | null> = {
  started: "Running",
  "step-waiting": "Running",
  "step-completed": "Running",
  "step-failed": "Running",
  completed: "Completed",
  compensating: "Compensating",
  "step-compensated": "Compensating",
  "compensation-failed": "Compensating",
  retried: "Compensating",
  compensated: "Compensated",
  failed: "Failed",
  paused: null,
  resumed: null,
  "cancel-requested": null,
};

/** The stream of the transitions of all sagas of a name. */
export const streamOf = (saga: string) => `saga-${saga}`;

/** The type of the events that tell of a transition. */
export const eventTypeOf = (transition: TransitionType) => `sluice.saga-${transition}`;

type Subject = { id: string; saga: string; correlationId: string };

/** The data of the event that tells of a transition, as JSON. */
export function transitionData({ id, saga }: Omit<Subject, "correlationId">, { type, ...told }: Transition): string {
  const state = stateAfter[type];
  const until = told.until === undefined ? {} : { until: new Date(told.until).toISOString() };
  return JSON.stringify({ sagaId: id, saga, ...(state === null ? {} : { state }), ...told, ...until });
}

export function transitionEvent(subject: Subject, transition: Transition): OutgoingEvent {
  return {
    stream: streamOf(subject.saga),
    type: eventTypeOf(transition.type),
    data: transitionData(subject, transition),
    id: null,
    version: 1,
    correlationId: subject.correlationId,
    partitionKey: subject.id,
    attributes: JSON.stringify({ subject: subject.id }),
    own: true,
  };
}

/** An event that a step has emitted, which is checked already. */
export function emittedEvent(stream: string, event: NewEvent): OutgoingEvent {
  return {
    stream,
    type: event.type,
    data: event.data,
    id: event.known ? event.id : null,
    version: event.schemaVersion,
    correlationId: event.correlationId,
    partitionKey: event.partitionKey,
    attributes: event.attributes,
    own: false,
  };
}

/** The parameters of saga_emit, but for the first: the events of each saga of a batch. */
export function eventLists(batch: readonly { events: readonly OutgoingEvent[] }[]) {
  const all = batch.flatMap(({ events }, n) => events.map((event) => ({ ...event, saga: n + 1 })));
  return {
    saga: arrayLiteral(all.map(({ saga }) => saga)),
    own: arrayLiteral(all.map(({ own }) => String(own))),
    version: arrayLiteral(all.map(({ version }) => version)),
    stream: textList(all.map(({ stream }) => stream)),
    type: textList(all.map(({ type }) => type)),
    data: textList(all.map(({ data }) => data)),
    id: textList(all.map(({ id }) => id)),
    correlation: textList(all.map(({ correlationId }) => correlationId)),
    partitionKey: textList(all.map(({ partitionKey }) => partitionKey)),
    attributes: textList(all.map(({ attributes }) => attributes)),
  };
}
