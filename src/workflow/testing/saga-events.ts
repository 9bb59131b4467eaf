// The events that come to a saga in its specification, and which of them a wait takes.

import { inWords } from "../../base/violations.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import type { EventContext } from "../events/recorded-event.ts";
import { checkerOf } from "../handlers/checker.ts";
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { messageOf } from "../handlers/message-of.ts";
import { withAdditions } from "../sagas/additions.ts";
import { type Awaited, awaitedKey, awaitedOf } from "../sagas/awaited.ts";
import type { Instance } from "../sagas/instance.ts";
import type { Outcome } from "../sagas/plan.ts";
import type { SagaDefinition, SagaStep } from "../sagas/saga.ts";
import { upcast } from "./plain.ts";

/** An event that came; its place in the list is its position. */
export type Came = { event: DraftEvent; data: unknown; about: EventContext };

/** The next event that the wait takes, as the service finds it in the log. */
export function findCame(
  definition: SagaDefinition,
  { places, data: text, correlationId }: Instance,
  step: SagaStep,
  came: readonly Came[],
): Outcome {
  if (step.kind !== "wait") throw new Error(`step ${step.name} waits for no event`);
  const data = deepFreeze(JSON.parse(text) as Record<string, unknown>);
  try {
    const awaited = awaitedOf(step, data);
    const key = awaitedKey(awaited);
    const upTo = (position: number) => ({ ...places, seen: { ...places.seen, [key]: position } });
    for (let at = (places.seen[key] ?? places.from) + 1; at < came.length; at++) {
      const { event, data: given, about } = came[at] as Came;
      if (event.type !== step.event.name || !isMatch(awaited, about, correlationId)) continue;
      const newest = deepFreeze(upcast(step.event, event.version, given));
      const violations = checkerOf(step.event.latest)(newest);
      if (violations !== null) throw new Error(`${event.type} does not match its type: ${inWords(violations)}`);
      if (!step.when(newest, data, about)) continue;
      const taken = withAdditions(definition, data, step.take(newest, data, about));
      return { input: { kind: "done" }, data: taken, places: upTo(at) };
    }
    const message = `no ${step.event.name} came in time`;
    return { input: { kind: "not-there", message }, places: upTo(came.length - 1) };
  } catch (error) {
    return { input: { kind: "failed", message: messageOf(error), isFinal: true } };
  }
}

function isMatch({ match }: Awaited, about: EventContext, correlationId: string): boolean {
  if (match === null) return about.correlationId === correlationId;
  switch (match.by) {
    case "stream":
      return about.stream === match.key;
    case "subject":
      return about.attributes.subject === match.key;
    case "partition-key":
      return about.partitionKey === match.key;
    default:
      return match.by satisfies never;
  }
}
