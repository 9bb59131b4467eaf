// Runs handlers that write SQL: those of a batch one after the other, in one transaction with the checkpoint.
import { searchPath } from "../../storage/migrate.ts";
import { classify } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";
import type { StoredEvent } from "../../stream/event.ts";
import type { EventType } from "../events/event-type.ts";
import { contextOf } from "../events/recorded-event.ts";
import { withTimeLimit } from "../handlers/time-limit.ts";
import { type Apply, HandlerFailed, handledData, type Incoming, requireEvent } from "./applier.ts";
import { advance } from "./checkpoint.ts";
import {
  type HandledEvent,
  type ProjectionSql,
  type SqlHandler,
  type SqlProjection,
  typesOfHandler,
} from "./definition.ts";
import { guardTransaction } from "./transaction-guard.ts";

export type SqlHandlersOptions = {
  /** Of the generation. */
  schemaName: string;
  /** The service's own. */
  serviceSchema: string;
  pool: Pool;
  /** A transaction takes no further events after so many milliseconds: its locks would keep others waiting. */
  budgetMs: number;
};

/** Codes of a connection that cannot be made: in the middle of a transaction, it is another one than this. */
const otherConnections = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ENOENT"]);
/** The server ended a statement at the time limit of its handler. */
const statementTimeout = "57014";

export function createSqlHandlers(definition: SqlProjection, options: SqlHandlersOptions): Apply {
  const { timeoutMs } = definition;
  const byType = new Map<string | null, Handling>();
  for (const handler of definition.handlers)
    for (const type of typesOfHandler(handler)) byType.set(type?.name ?? null, { handler, type });
  const handlingOf = ({ type }: StoredEvent) => byType.get(type) ?? byType.get(null);

  return async (incoming, step, signal) => {
    const tasks = tasksOf(incoming, handlingOf);
    let fault: { at: number; among: number } | null = null;
    const work = options.pool.run((pooled) =>
      pooled.begin(async (transaction) => {
        await transaction`
          select set_config('search_path', ${searchPath(options.schemaName)}, true),
                 set_config('statement_timeout', ${String(timeoutMs)}, true),
                 set_config('lock_timeout', ${String(Math.ceil(timeoutMs * 0.8))}, true),
                 set_config('idle_in_transaction_session_timeout', ${String(timeoutMs + 1_000)}, true)`;
        const guard = guardTransaction(transaction);
        const endMs = performance.now() + options.budgetMs;
        let done = incoming.length;
        try {
          for (const { at, among, run } of tasks) {
            if (performance.now() > endMs) {
              done = at;
              break;
            }
            try {
              await withTimeLimit(timeoutMs, () => run(guard.sql), signal);
            } catch (error) {
              fault = { at, among: among.length };
              throw error;
            }
          }
        } finally {
          guard.close();
        }
        await transaction`select set_config('search_path', ${searchPath(options.serviceSchema)}, true)`;
        const reached =
          done === incoming.length ? step : { ...step, to: (incoming[done - 1] as Incoming).position, events: done };
        await transaction`select ${advance(transaction, reached)}`;
        return reached;
      }),
    );
    return work.catch((error: unknown) => {
      // Of an error that the handler swallowed, the driver tells behind it what it was.
      throw fault === null || signal.aborted || !isFault(error)
        ? error
        : new HandlerFailed(fault.at, error, { among: fault.among });
    });
  };
}

/** A handler, and the type by which it gets an event; null: whatever the type. */
type Handling = { handler: SqlHandler; type: EventType | null };

type Task = { at: number; among: readonly HandledEvent[]; run: (sql: ProjectionSql) => unknown };

/** The calls of handlers, in order; events that go to one handler of several, and follow one another, go together. */
function tasksOf(incoming: readonly Incoming[], handlingOf: (event: StoredEvent) => Handling | undefined): Task[] {
  const tasks: Task[] = [];
  let together: { handler: SqlHandler; events: HandledEvent[] } | null = null;
  for (const [at, one] of incoming.entries()) {
    const event = requireEvent(one, at);
    const handling = handlingOf(event);
    if (handling === undefined) continue;
    const { handler, type } = handling;
    const handled = { type: event.type, data: handledData(event, type, at), event: contextOf(event) };
    if (together !== null && together.handler === handler) {
      together.events.push(handled);
      continue;
    }
    const among = [handled];
    together = "types" in handler ? { handler, events: among } : null;
    tasks.push({
      at,
      among,
      run: (sql) =>
        "types" in handler ? handler.handleAll(sql, among) : handler.handle(sql, handled.data, handled.event),
    });
  }
  return tasks;
}

/** Whether it is the handler or its event that is at fault, and not the database that is away or busy. */
function isFault(error: unknown): boolean {
  const { kind, code } = classify(error);
  if (code === statementTimeout || otherConnections.has(code)) return true;
  return kind !== "retry" && kind !== "unavailable" && kind !== "unknown";
}
