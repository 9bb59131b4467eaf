// Defines projections that write SQL: handlers change tables of their own, in the transaction of the checkpoint.
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { EventType } from "../events/event-type.ts";
import type { EventContext } from "../events/recorded-event.ts";
import {
  commonOf,
  type ProjectionOptions,
  type ProjectionSql,
  type ReadDefinition,
  type SqlHandler,
  type SqlProjection,
  timeoutOf,
  typesOfHandler,
} from "./definition.ts";
import type { SqlModel } from "./model.ts";

export type SqlProjectionOptions = ProjectionOptions & {
  /** Makes the tables, empty, in a schema of their own: names bear none. */
  tables: (sql: ProjectionSql) => unknown;
  /** How long a handler may take, such as `5s` (the default), at most `1m`. */
  timeout?: string;
};

/** An event of one of several types; its type tells what its data are. */
export type EventOf<Types extends readonly EventType[]> = {
  [N in keyof Types]: Types[N] extends EventType<infer Name, infer Latest>
    ? { readonly type: Name; readonly data: Static<Latest>; readonly event: EventContext }
    : never;
}[number];

/** A projection of this kind; each method returns it with one more. */
export type SqlProjectionOf = SqlProjection & {
  /** Handles the events of a type, one after the other; their data are those of the newest version. */
  on<Name extends string, Latest extends TSchema>(
    type: EventType<Name, Latest>,
    handle: (sql: ProjectionSql, data: Static<Latest>, event: EventContext) => unknown,
  ): SqlProjectionOf;
  /** Handles events of several types, as many at once as follow one another. */
  onBatch<const Types extends readonly [EventType, ...EventType[]]>(
    types: Types,
    handle: (sql: ProjectionSql, events: readonly EventOf<Types>[]) => unknown,
  ): SqlProjectionOf;
  /** Handles the events of all other types. */
  onAny(handle: (sql: ProjectionSql, data: unknown, event: EventContext) => unknown): SqlProjectionOf;
  /** What `GET /api/projections/{name}` answers. */
  read<Query extends TObject>(
    query: Query,
    answer: (model: SqlModel, query: Static<Query>) => unknown,
  ): SqlProjectionOf;
};

/** A projection that handles nothing yet. Throws a plain sentence where a name or an option is none. */
export function defineSqlProjection(name: string, options: SqlProjectionOptions): SqlProjectionOf {
  const { tables, timeout = "5s" } = options;
  const base = { ...commonOf(name, options), form: "sql" as const, tables, timeoutMs: timeoutOf(name, timeout) };
  const build = (handlers: readonly SqlHandler[], reading: ReadDefinition | null): SqlProjectionOf => {
    const add = (handler: SqlHandler, types: readonly (string | null)[]) => {
      const known = handlers.flatMap(typesOfHandler).map((other) => other?.name ?? null);
      const twice = types.find((type, n) => known.includes(type) || types.indexOf(type) !== n);
      if (twice !== undefined) throw new Error(`projection ${name} says twice what ${twice ?? "other events"} does`);
      return build([...handlers, handler], reading);
    };
    return {
      ...base,
      handlers,
      reading,
      on: (type, handle) => add({ type, handle } as unknown as SqlHandler, [type.name]),
      onBatch: (types, handleAll) =>
        add(
          { types, handleAll } as unknown as SqlHandler,
          types.map((type) => type.name),
        ),
      onAny: (handle) => add({ type: null, handle }, [null]),
      read: (query, answer) => build(handlers, { query, answer: answer as ReadDefinition["answer"] }),
    };
  };
  return build([], null);
}
