// Specifications of deciders: given these events, when this command, then these events.
import assert from "node:assert/strict";
import type { Static, TSchema } from "@sinclair/typebox";
import { inWords } from "../../base/violations.ts";
import { streamName } from "../../stream/event.ts";
import { Rejection } from "../commands/rejection.ts";
import { decide } from "../deciders/decide.ts";
import type { DeciderDefinition, Decision } from "../deciders/decider.ts";
import { evolve, type Fold, foldOf } from "../deciders/fold.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { notJson } from "../handlers/json-value.ts";
import { contextOf, ofJson, same, shown, upcast } from "./plain.ts";

export type Given<State extends TSchema, Bodies extends object> = {
  /** Runs a command on the state after the events. */
  when: <Name extends keyof Bodies & string>(command: Name, body: Bodies[Name]) => Outcome<Static<State>>;
  /** The state after the events is this. */
  thenState: (state: Static<State>) => void;
};

export type Outcome<State> = Accepted<State> & {
  /** The command comes to these events: their types, data, versions and attributes. */
  then: (events: readonly DraftEvent[]) => Accepted<State>;
  /** The command is rejected for this reason. */
  thenRejects: (reason: string | RegExp, details?: Readonly<Record<string, unknown>>) => void;
};

export type Accepted<State> = {
  /** The state after the events that the command comes to is this. */
  thenState: (state: State) => Accepted<State>;
  /** The command's result is this. */
  thenResult: (result: unknown) => Accepted<State>;
};

/**
 * A decider whose stream has these events, oldest first; ones of an older version of their type are upcast. Whatever the decider
 * does that would fail in the service fails here too, with a plain sentence: a state that does not survive JSON, is not of its
 * schema or is changed in place, an event that is not of its schema, a body that the command does not take.
 */
export function givenDecider<State extends TSchema, Bodies extends object>(
  decider: DeciderDefinition<State, Bodies>,
  events: readonly DraftEvent[] = [],
): Given<State, Bodies> {
  const fold = foldOf(decider as unknown as DeciderDefinition);
  const before = foldAll(fold, fold.initialState, events, 0);

  return {
    when(name, body) {
      const command = decider.commands.find((one) => one.name === name);
      if (command === undefined) throw new Error(`${decider.name} has no command ${name}`);
      const asked = ofJson(body, `the body of ${name}`, command.body);
      const stream = decider.stream(command.id(asked));
      if (!streamName.test(stream)) throw new Error(`${JSON.stringify(stream)} is no name of a stream`);
      let decided: Decision<unknown> | Rejection;
      try {
        decided = decide(command, before, deepFreeze(asked));
      } catch (error) {
        if (!(error instanceof Rejection)) throw error;
        decided = error;
      }
      return outcomeOf(fold, before, decided, events.length);
    },
    thenState: (state) => same(before, state, "the state"),
  };
}

function outcomeOf<State>(
  fold: Fold,
  before: unknown,
  decided: Decision<unknown> | Rejection,
  count: number,
): Outcome<State> {
  const after = decided instanceof Rejection ? before : foldAll(fold, before, decided.events, count);
  const decision = () => {
    if (decided instanceof Rejection) assert.fail(`the command was rejected: ${decided.message}`);
    return decided;
  };
  const accepted: Accepted<State> = {
    thenState(state) {
      decision();
      same(after, state, "the state");
      return accepted;
    },
    thenResult(result) {
      same(decision().result, result, "the result");
      return accepted;
    },
  };
  return {
    ...accepted,
    // biome-ignore lint/suspicious/noThenProperty: given, when, then
    then(expected) {
      if (!Array.isArray(expected))
        throw new Error("a specification is nothing to wait for: it ends with then([…]), thenRejects or thenState");
      same(decision().events.map(shown), expected.map(shown), "the events");
      return accepted;
    },
    thenRejects(reason, details) {
      if (!(decided instanceof Rejection)) assert.fail("the command was not rejected");
      if (typeof reason === "string") assert.equal(decided.message, reason);
      else assert.match(decided.message, reason);
      if (details !== undefined) same(decided.details, details, "the details");
    },
  };
}

function foldAll(fold: Fold, from: unknown, events: readonly DraftEvent[], count: number): unknown {
  let state = ofState(fold, from, "the initial state");
  for (const [n, event] of events.entries()) {
    const given = ofJson(event.data, `the data of ${event.type}`, event.schema);
    const handler = fold.evolves.get(event.type);
    if (handler === undefined) continue;
    const data = upcast(handler.type, event.version, given);
    try {
      state = evolve(fold, state, data, contextOf(event, count + n));
    } catch (error) {
      throw new Error(`${fold.name}, ${event.type}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
    state = ofState(fold, state, `the state after ${event.type}`);
  }
  return state;
}

/** What the service would make of the state in a snapshot. */
function ofState(fold: Fold, state: unknown, what: string): unknown {
  const odd = notJson(state);
  const violations = odd === null ? fold.checkState(state) : [odd];
  if (violations !== null) throw new Error(`${what} is not what its schema says: ${inWords(violations)}`);
  return deepFreeze(JSON.parse(JSON.stringify(state)));
}
