// A decider: a state that events evolve, and commands that are decided on it (decide, evolve, initial state).
import type { Static, TSchema, TVoid } from "@sinclair/typebox";
import { inWords } from "../../base/violations.ts";
import type { DraftEvent } from "../events/draft-event.ts";
import type { EventType } from "../events/event-type.ts";
import type { EventContext } from "../events/recorded-event.ts";
import { checkerOf } from "../handlers/checker.ts";
import { notJson } from "../handlers/json-value.ts";
import { requireName } from "../module/definition.ts";

/** What a decision is besides its events. */
export type Decision<Result> = { readonly events: readonly DraftEvent[]; readonly result: Result };

export type DeciderCommandOptions<State, Body extends TSchema, Result extends TSchema> = {
  /** For people. */
  description?: string;
  body: Body;
  result?: Result;
  /** The entity that the command is about. */
  id: (body: Static<Body>) => string;
  /**
   * The events that the command comes to on this state; none is an answer too. A pure function: it may be asked again on a newer
   * state when somebody else was first. `reject` refuses the command. With a result schema it returns `{ events, result }`.
   */
  decide: (
    state: State,
    body: Static<Body>,
  ) => Result extends TVoid ? DraftEvent | readonly DraftEvent[] : Decision<Static<Result>>;
};

export type DeciderCommand = {
  readonly name: string;
  readonly description: string | null;
  readonly body: TSchema;
  readonly result: TSchema | null;
  readonly id: (body: unknown) => string;
  readonly decide: (state: unknown, body: unknown) => DraftEvent | readonly DraftEvent[] | Decision<unknown>;
};

export type Evolve = {
  readonly type: EventType;
  readonly evolve: (state: unknown, data: unknown, event: EventContext) => unknown;
};

export type DeciderOptions<State extends TSchema> = {
  /** For people. */
  description?: string;
  /** Of the state, which is kept in snapshots: it has to survive JSON. */
  state: State;
  /** Before the first event. */
  initialState: NoInfer<Static<State>>;
  /** The stream of an entity. Default: `{name}-{id}`. */
  stream?: (id: string) => string;
  /** A snapshot is saved after so many events; 0 for none. Default: 100. */
  snapshotEvery?: number;
  /** Raised when `on` means something else than before: snapshots of other versions are not used. Default: 1. */
  version?: number;
};

/** A decider; `on` and `command` return it with one more event type or command. `Bodies`: of its commands, by their names. */
export type DeciderDefinition<State extends TSchema = TSchema, Bodies extends object = object> = {
  readonly kind: "decider";
  readonly name: string;
  readonly description: string | null;
  readonly state: State;
  readonly initialState: Static<State>;
  readonly stream: (id: string) => string;
  readonly snapshotEvery: number;
  readonly version: number;
  readonly evolves: readonly Evolve[];
  readonly commands: readonly DeciderCommand[];
  /** How an event changes the state: a pure function, which leaves the state it is given as it is. */
  on<Name extends string, Latest extends TSchema>(
    type: EventType<Name, Latest>,
    evolve: (state: Static<State>, data: Static<Latest>, event: EventContext) => Static<State>,
  ): DeciderDefinition<State, Bodies>;
  /** A command, which is run by `POST /api/commands/{name}`. */
  command<const Name extends string, Body extends TSchema, Result extends TSchema = TVoid>(
    name: Name,
    options: DeciderCommandOptions<Static<State>, Body, Result>,
  ): DeciderDefinition<State, Bodies & { [Command in Name]: Static<Body> }>;
  /** Never there: it lets specifications know which body a command takes. */
  readonly bodies?: Bodies;
};

/** A decider without events and commands yet. Throws on a name that is none, and on an initial state that is not of its schema. */
export function defineDecider<State extends TSchema>(
  name: string,
  options: DeciderOptions<State>,
): DeciderDefinition<State> {
  const { description, state, initialState, snapshotEvery = 100, version = 1 } = options;
  if (!Number.isInteger(snapshotEvery) || snapshotEvery < 0)
    throw new Error(`decider ${name}: snapshotEvery must be a whole number, not ${snapshotEvery}`);
  const odd = notJson(initialState);
  const violations = odd === null ? checkerOf(state)(initialState) : [odd];
  if (violations !== null)
    throw new Error(`decider ${name}: its initial state is not of its schema: ${inWords(violations)}`);
  const base = {
    kind: "decider" as const,
    name: requireName("decider", name),
    description: description ?? null,
    state,
    initialState,
    stream: options.stream ?? ((id: string) => `${name}-${id}`),
    snapshotEvery,
    version,
  };
  const build = <Bodies extends object>(
    evolves: readonly Evolve[],
    commands: readonly DeciderCommand[],
  ): DeciderDefinition<State, Bodies> => ({
    ...base,
    evolves,
    commands,
    on(type, evolve) {
      if (evolves.some((other) => other.type.name === type.name))
        throw new Error(`decider ${name} says twice what ${type.name} does`);
      return build([...evolves, { type: type as unknown as EventType, evolve: evolve as Evolve["evolve"] }], commands);
    },
    command(command, { description: about, body, result, id, decide }) {
      const added: DeciderCommand = {
        name: requireName("command", command),
        description: about ?? null,
        body,
        result: result ?? null,
        id: id as DeciderCommand["id"],
        decide: decide as DeciderCommand["decide"],
      };
      return build(evolves, [...commands, added]);
    },
  });
  return build([], []);
}
