// A projection as the service runs it: which events it handles, what its tables are, and how it is kept up to date.
import type { TObject, TSchema } from "@sinclair/typebox";
import type postgres from "postgres";
import type { EventType } from "../events/event-type.ts";
import type { EventContext } from "../events/recorded-event.ts";
import { eventRetry, type RetryOptions, type RetryPolicy, retryPolicy } from "../handlers/retry-policy.ts";
import { requireDuration, requireName } from "../module/definition.ts";
import { nameOf, type StreamDefinition } from "../module/stream-definition.ts";
import type { Column } from "./columns.ts";

/** SQL in a transaction of the service, whose search path is the schema of the projection's tables: a `sql` of postgres.js. */
export type ProjectionSql = postgres.TransactionSql;

/** What all projections can be given. */
export type ProjectionOptions = {
  /** For people. */
  description?: string;
  /** Whose events it gets. Default: those of all persistent streams. */
  streams?: readonly (string | StreamDefinition)[];
  /** Raised when the handlers mean something else than before: the tables are built anew then. Default: 1. */
  version?: number;
  /** Events in one transaction, from 1 to 10,000. Default: 1,000. */
  batchSize?: number;
  /** `event`: each event in a transaction of its own. Default: `batch`. */
  checkpoint?: "batch" | "event";
  /** How often an event that fails is tried, before the projection stops at it. */
  retry?: RetryOptions;
  /** False: it begins paused, and waits to be resumed. Default: true. */
  autoStart?: boolean;
  /** A snapshot of its tables is taken after so many events; 0 for none. Default: 0. */
  snapshotEvery?: number;
};

/** What a read model is made of when somebody asks over HTTP. */
export type ReadDefinition = {
  /** Of the query; null where it takes none. */
  readonly query: TObject | null;
  readonly answer: (model: never, query: never) => unknown;
};

type Common = {
  readonly kind: "projection";
  readonly name: string;
  readonly description: string | null;
  /** Null: all persistent ones. */
  readonly streams: readonly string[] | null;
  readonly version: number;
  readonly batchSize: number;
  readonly retry: RetryPolicy;
  readonly autoStart: boolean;
  readonly snapshotEvery: number;
  /** Null: rows by pages. */
  readonly reading: ReadDefinition | null;
};

/** The key of a row: values of its key columns, in their order. */
export type RowKey = readonly (string | number | boolean)[];

/** A row, by its columns. */
export type Row = Readonly<Record<string, unknown>>;

export type Fold = {
  /** Null: whatever type no other fold handles. */
  readonly type: EventType | null;
  readonly key: (data: unknown, event: EventContext) => unknown;
  readonly apply: (row: Row | null, data: unknown, event: EventContext, key: unknown) => unknown;
};

export type FoldProjection = Common & {
  readonly form: "fold";
  readonly row: TSchema;
  readonly columns: readonly Column[];
  readonly keys: readonly string[];
  /** Of a row that is not there yet, without its key; null: handlers are told that there is none. */
  readonly initial: Row | null;
  readonly folds: readonly Fold[];
};

/** An event that a handler of several gets. */
export type HandledEvent = { readonly type: string; readonly data: unknown; readonly event: EventContext };

export type SqlHandler =
  | {
      readonly type: EventType | null;
      readonly handle: (sql: ProjectionSql, data: unknown, event: EventContext) => unknown;
    }
  | {
      readonly types: readonly EventType[];
      readonly handleAll: (sql: ProjectionSql, events: readonly HandledEvent[]) => unknown;
    };

export type SqlProjection = Common & {
  readonly form: "sql";
  readonly tables: (sql: ProjectionSql) => unknown;
  readonly handlers: readonly SqlHandler[];
  /** How long a handler may take. */
  readonly timeoutMs: number;
};

export type ProjectionDefinition = FoldProjection | SqlProjection;

const maxBatchSize = 10_000;
/** Longest time of a handler, in milliseconds. */
const maxTimeoutMs = 60_000;

/** Throws a plain sentence where an option is none. */
export function commonOf(name: string, options: ProjectionOptions): Omit<Common, "reading"> {
  const {
    streams,
    version = 1,
    batchSize = 1_000,
    checkpoint = "batch",
    autoStart = true,
    snapshotEvery = 0,
  } = options;
  const what = `projection ${requireName("projection", name)}`;
  requireWhole(`${what}: version`, version, 1, 999_999_999);
  requireWhole(`${what}: batchSize`, batchSize, 1, maxBatchSize);
  requireWhole(`${what}: snapshotEvery`, snapshotEvery, 0, Number.MAX_SAFE_INTEGER);
  if (streams?.length === 0) throw new Error(`${what}: streams is empty; leave it out for all persistent streams`);
  return {
    kind: "projection",
    name,
    description: options.description ?? null,
    streams: streams === undefined ? null : [...new Set(streams.map(nameOf))].sort(),
    version,
    batchSize: checkpoint === "event" ? 1 : batchSize,
    retry: retryPolicy(`${what}: retry`, options.retry, eventRetry),
    autoStart,
    snapshotEvery,
  };
}

export function timeoutOf(name: string, timeout: string): number {
  return requireDuration(`projection ${name}: timeout`, timeout, 1, maxTimeoutMs);
}

function requireWhole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new Error(`${what} must be a whole number from ${min} to ${max}, not ${value}`);
}

/** The types that a handler gets; null stands for those that no other handler gets. */
export function typesOfHandler(handler: SqlHandler): readonly (EventType | null)[] {
  return "types" in handler ? handler.types : [handler.type];
}

/** The newest version of each type that a projection names. */
export function knownTypes(definition: ProjectionDefinition): Map<string, number> {
  return new Map(
    handledTypes(definition).flatMap((type) => (type === null ? [] : [[type.name, type.versions.length]])),
  );
}

function handledTypes(definition: ProjectionDefinition): readonly (EventType | null)[] {
  return definition.form === "fold"
    ? definition.folds.map(({ type }) => type)
    : definition.handlers.flatMap(typesOfHandler);
}

/** The types that a projection handles; null: all. */
export function typesOf(definition: ProjectionDefinition): string[] | null {
  const names = new Set<string>();
  for (const type of handledTypes(definition)) {
    if (type === null) return null;
    names.add(type.name);
  }
  return [...names].sort();
}
