// The connections to Postgres: separate pools for appends and reads, and one connection that listens.
import postgres from "postgres";
import type { Log } from "../base/log.ts";
import { columnTypes } from "./column-types.ts";
import { searchPath } from "./migrate.ts";
import { createPool, type Pool, type Sql } from "./pool.ts";

/** Where the database is: a URL, or what the embedded Postgres says of itself. */
export type Connection =
  | string
  | { host: string; port?: number; username: string; password?: string; database: string };

export type DatabaseOptions = {
  connection: Connection;
  schema: string;
  /** Connections for reads; appends have their own few. */
  poolSize: number;
  /** Time limit of one statement, in milliseconds. */
  commandTimeoutMs: number;
  appendsInFlight: number;
  claimsInFlight: number;
  /** A notice of a function of the ledger: its SQLSTATE, and its detail. */
  onNotice?: (code: string, detail: string) => void;
  log: Log;
};

export type Database = {
  appends: Pool;
  reads: Pool;
  /** For the ledger: handing out and settling. */
  claims: Pool;
  /** For projections that fold. */
  folds: Pool;
  /** For code of modules that writes by SQL: values come as postgres.js gives them. */
  handlers: Pool;
  /** The same for what it answers from: whoever asks waits for no handler, and no handler for whoever asks. */
  answers: Pool;
  /** A single connection of its own, for migrating; the caller ends it. */
  connect: (settings?: Record<string, string>) => Sql;
  /** A connection of its own for LISTEN and NOTIFY; the caller ends it. */
  listen: () => Sql;
  schema: string;
  stop: () => Promise<void>;
};

// Every statement of an append and of the ledger is a set of index probes. A plan made while the tables are empty must not become
// a sequential scan of millions of rows later, and planning anew for each batch costs more than the batch.
const probeSettings = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
};

/** Transactions of projections at once, of each kind. */
export const projectionsInFlight = 4;
/** Longest time of one transaction of `handlers`, in milliseconds: each handler in it has a limit of its own. */
const handlersLimitMs = 90_000;

export function createDatabase(options: DatabaseOptions): Database {
  const { connection, schema, commandTimeoutMs, log } = options;

  function connect(size: number, role: string, settings: Record<string, string> = {}, own = true): Sql {
    const shared: postgres.Options<Record<string, postgres.PostgresType>> = {
      max: size,
      // Code of modules finds what the driver's documentation says.
      fetch_types: !own,
      connect_timeout: 5,
      idle_timeout: 0,
      max_lifetime: null,
      keep_alive: 10,
      // First retry soon, then about every second: a restarted database is found again without a storm.
      backoff: (retries: number) => Math.min(1, 0.05 * 2 ** retries) * (0.5 + Math.random() / 2),
      types: own ? columnTypes : {},
      onnotice(notice) {
        if (notice.code?.startsWith("SL")) options.onNotice?.(notice.code, notice.detail ?? "");
        else log.debug({ notice: notice.message }, "notice of the database");
      },
      connection: {
        application_name: `sluice ${role}`,
        search_path: searchPath(schema),
        statement_timeout: commandTimeoutMs,
        idle_in_transaction_session_timeout: commandTimeoutMs,
        client_min_messages: "warning",
        // Disabled plan nodes cost so much before version 18 that compiling would start for statements of a millisecond.
        jit: "off",
        TimeZone: "UTC",
        ...settings,
      } as unknown as Record<string, string>,
    };
    return typeof connection === "string" ? postgres(connection, shared) : postgres({ ...connection, ...shared });
  }

  const timeLimitMs = commandTimeoutMs + 2_000;
  const appends = createPool({
    connect: (size) => connect(size, "appends", probeSettings),
    size: options.appendsInFlight,
    timeLimitMs,
  });
  const claims = createPool({
    connect: (size) => connect(size, "claims", { ...probeSettings, client_min_messages: "notice" }),
    size: options.claimsInFlight,
    timeLimitMs,
  });
  const reads = createPool({ connect: (size) => connect(size, "reads"), size: options.poolSize, timeLimitMs });

  const folds = createPool({
    connect: (size) => connect(size, "folds", probeSettings),
    size: projectionsInFlight,
    timeLimitMs,
  });
  const handlers = createPool({
    connect: (size) => connect(size, "handlers", {}, false),
    size: projectionsInFlight,
    timeLimitMs: handlersLimitMs,
  });

  const answers = createPool({
    connect: (size) => connect(size, "answers", {}, false),
    size: projectionsInFlight,
    timeLimitMs,
  });

  return {
    appends,
    answers,
    reads,
    claims,
    folds,
    handlers,
    connect: (settings) => connect(1, "single", settings),
    listen: () => connect(1, "wake"),
    schema,
    async stop() {
      await Promise.all([appends.stop(), claims.stop(), reads.stop(), folds.stop(), handlers.stop(), answers.stop()]);
    },
  };
}
