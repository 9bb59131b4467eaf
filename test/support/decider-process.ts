// Deciders as one process runs them: its own connections and appender on a database that others may use too.
import postgres from "postgres";
import { createLog, type Log } from "../../src/base/log.ts";
import { columnTypes } from "../../src/storage/column-types.ts";
import { searchPath } from "../../src/storage/migrate.ts";
import { createPool } from "../../src/storage/pool.ts";
import { type Appender, createAppender } from "../../src/stream/append.ts";
import type { Upcasting } from "../../src/stream/schema/upcasting.ts";
import type { DeciderDefinition } from "../../src/workflow/deciders/decider.ts";
import {
  type Commit,
  createDeciders,
  type Decided,
  type Deciders,
  type DecidersOptions,
} from "../../src/workflow/deciders/deciders.ts";
import { createEmission } from "../../src/workflow/events/emission.ts";
import { createHeldPool, type HeldPool } from "./held-pool.ts";
import { testSchema } from "./postgres.ts";
import { noUpcasting, noValidation } from "./schemas.ts";

export type DeciderProcess = {
  sql: postgres.Sql;
  /** What appends go through. */
  appends: HeldPool;
  /** What streams are read through. */
  reads: HeldPool;
  appender: Appender;
  deciders: Deciders;
  /** Runs a command by its name. */
  run: (command: string, body: unknown) => Promise<Decided>;
  /** The other processes, which are asked to take turns. */
  others: DeciderProcess[];
  stop: () => Promise<void>;
};

export type DeciderProcessOptions = Partial<DecidersOptions> & {
  /** Around each commit. */
  commit?: (commit: Commit) => Commit;
  upcasting?: Pick<Upcasting, "attempt">;
  batchesInFlight?: number;
  log?: Log;
};

export function startDeciderProcess(
  databaseUrl: string,
  decider: DeciderDefinition,
  { commit: around = (commit) => commit, batchesInFlight = 2, ...options }: DeciderProcessOptions = {},
): DeciderProcess {
  const sql = postgres(databaseUrl, {
    max: 6,
    fetch_types: false,
    onnotice() {},
    types: columnTypes,
    connection: { search_path: searchPath(testSchema) },
  });
  const pool = (size: number) => createHeldPool(createPool({ connect: () => sql, size, timeLimitMs: 10_000 }));
  const log = options.log ?? createLog("silent", "test");
  const [appends, reads] = [pool(batchesInFlight), pool(4)];
  const appender = createAppender({
    pool: appends,
    log,
    maxBatchEvents: 1_000,
    maxBatchBytes: 4_000_000,
    batchesInFlight,
    maxWaitingBytes: 64_000_000,
    onAppended() {},
    onUnknown() {},
    onNoPartition: () => Promise.resolve(),
    validation: noValidation,
  });
  const others: DeciderProcess[] = [];
  const deciders = createDeciders({
    announce: (stream) => {
      for (const other of others) other.deciders.yieldTo([stream]);
    },
    reads,
    writes: reads,
    upcasting: noUpcasting,
    emission: createEmission("test", 1_048_576),
    log,
    ...options,
  });
  const commit = around((stream, events, expected) => appender.append({ stream, events, expected, idempotency: null }));
  return {
    sql,
    appends,
    reads,
    appender,
    deciders,
    others,
    run(name, body) {
      const command = decider.commands.find((one) => one.name === name);
      if (command === undefined) throw new Error(`there is no command ${name}`);
      const cause = { correlationId: "w", causationId: "c", traceparent: null };
      return deciders.run(decider, command, body, { cause, signal: new AbortController().signal, commit });
    },
    async stop() {
      await appender.stop();
      await deciders.stop();
      await sql.end();
    },
  };
}
