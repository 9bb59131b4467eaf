// Asks a decider for a decision, and checks what it answers.
import { maxEventsPerAppend } from "../../stream/event-input.ts";
import { resultOf } from "../commands/result.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import { isFrozenWrite } from "../handlers/deep-freeze.ts";
import { Defect } from "../handlers/defect.ts";
import type { DeciderCommand, Decision } from "./decider.ts";

/**
 * What a command comes to on a state. Throws what the handler throws (`Rejection` when it refuses the command), and `Defect`
 * where its answer is no decision.
 */
export function decide(command: DeciderCommand, state: unknown, body: unknown): Decision<unknown> {
  let answer: unknown;
  try {
    answer = command.decide(state, body);
  } catch (error) {
    if (isFrozenWrite(error)) throw new Defect("it changed the state or the body it was given");
    throw error;
  }
  if (answer instanceof Promise) {
    // Nobody waits for it: it must not end the process either.
    answer.catch(() => {});
    throw new Defect("it returned a promise: a decision follows from the state and the body alone");
  }
  const { events, result } = command.result === null ? { events: answer, result: undefined } : parts(answer);
  const list = Array.isArray(events) ? events : [events];
  if (!list.every(isDraft)) throw new Defect("it returned what is no event: events are made by event of their types");
  if (list.length > maxEventsPerAppend)
    throw new Defect(`it returned ${list.length} events; there are at most ${maxEventsPerAppend}`);
  return { events: list, result: resultOf(command.result, result) };
}

function parts(answer: unknown): { events: unknown; result: unknown } {
  if (typeof answer !== "object" || answer === null || !("events" in answer))
    throw new Defect("it has a result, so it returns { events, result }");
  return { events: answer.events, result: "result" in answer ? answer.result : undefined };
}

function isDraft(value: unknown): value is DraftEvent {
  if (typeof value !== "object" || value === null) return false;
  const { type, version, schema, attributes } = value as Partial<DraftEvent>;
  return typeof type === "string" && typeof version === "number" && typeof schema === "object" && !!attributes;
}
