// Processes that run projections on one database, without HTTP: each has its own connections, tail and leases.
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { createLeases, type Leases } from "../../src/storage/lease.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { createAppender } from "../../src/stream/append.ts";
import type { NewEvent } from "../../src/stream/event.ts";
import { readTail } from "../../src/stream/page.ts";
import { readHead } from "../../src/stream/resolve.ts";
import type { Upcasting } from "../../src/stream/schema/upcasting.ts";
import { createTail } from "../../src/stream/tail.ts";
import { createUpkeep } from "../../src/stream/upkeep.ts";
import { createEmission } from "../../src/workflow/events/emission.ts";
import type { DraftEvent } from "../../src/workflow/index.ts";
import type { ProjectionDefinition } from "../../src/workflow/projections/definition.ts";
import { type Generation, readGenerations } from "../../src/workflow/projections/generation.ts";
import { type Projections, startProjections } from "../../src/workflow/projections/projections.ts";
import { createTestDatabase, testSchema } from "./postgres.ts";
import { noUpcasting, noValidation } from "./schemas.ts";
import { openSql } from "./sql.ts";
import { until } from "./until.ts";

const log = createLog((process.env.TEST_LOG as "debug" | undefined) ?? "silent", "test");
const emit = createEmission("test", 1_048_576);

export type ProjectionProcess = {
  database: Database;
  projections: Projections;
  leases: Leases;
  /** Appends events to a stream; resolves with the position of the last. */
  append: (stream: string, ...events: DraftEvent[]) => Promise<number>;
  appendRaw: (stream: string, ...events: NewEvent[]) => Promise<number>;
  /** The generations of a projection, in order. */
  generations: (projection: string) => Promise<Generation[]>;
  /** Waits until what answers has come to a position. */
  reached: (projection: string, position: number) => Promise<void>;
  stop: () => Promise<void>;
};

export type ProjectionRig = {
  databaseUrl: string;
  sql: postgres.Sql;
  start: (definitions: readonly ProjectionDefinition[], options?: ProcessOptions) => Promise<ProjectionProcess>;
  /** The rows of a fold's view, in the order of their keys. */
  rows: (view: string, order?: string) => Promise<Record<string, unknown>[]>;
  stop: () => Promise<void>;
};

export type ProcessOptions = {
  leaseMs?: number;
  /** Stands between the projections, or their leases, and one of their pools. */
  through?: (pool: Pool) => Pool;
  upcasting?: Pick<Upcasting, "attempt">;
  /** Of transactions of handlers that write SQL. */
  budgetMs?: number;
};

export async function createProjectionRig(): Promise<ProjectionRig> {
  const databaseUrl = await createTestDatabase();
  const sql = openSql(databaseUrl, 2);
  const open: ProjectionProcess[] = [];

  async function start(
    definitions: readonly ProjectionDefinition[],
    { leaseMs = 60_000, through = (pool) => pool, upcasting = noUpcasting, budgetMs }: ProcessOptions = {},
  ): Promise<ProjectionProcess> {
    const own = createDatabase({
      connection: databaseUrl,
      schema: testSchema,
      poolSize: 3,
      commandTimeoutMs: 15_000,
      appendsInFlight: 1,
      claimsInFlight: 1,
      log,
    });
    const { reads, appends, claims } = own;
    const tail = createTail({
      readHead: (atLeast) => reads.run((sql) => readHead(sql, atLeast)),
      readRange: (after, upTo, limit) => readTail(reads, after, upTo, limit),
      ringBytes: 1_000_000,
      pollMs: 20,
      log,
    });
    await tail.start();
    const upkeep = createUpkeep({
      pool: reads,
      head: tail.head,
      partitionSize: 100_000,
      idempotencyKeysMs: 60_000,
      log,
    });
    await upkeep.start();
    const appender = createAppender({
      pool: appends,
      log,
      maxBatchEvents: 1_000,
      maxBatchBytes: 4_000_000,
      batchesInFlight: 1,
      maxWaitingBytes: 64_000_000,
      onAppended: tail.offer,
      onUnknown: () => tail.wake(Number.POSITIVE_INFINITY),
      onNoPartition: upkeep.wakePartitions,
      validation: noValidation,
    });
    const leases = createLeases({ pool: through(claims), ttlMs: leaseMs, log });
    const database = { ...own, folds: through(own.folds), handlers: through(own.handlers) };
    const projections = await startProjections({
      definitions,
      leases,
      serviceSchema: testSchema,
      database,
      tail,
      upcasting,
      announce: () => {},
      ...(budgetMs !== undefined && { budgetMs }),
      log,
    });
    leases.start();
    let stopped = false;
    const process: ProjectionProcess = {
      database,
      projections,
      leases,
      append(stream, ...events) {
        const cause = { correlationId: "test", causationId: "test", traceparent: null };
        return process.appendRaw(stream, ...events.map((event) => emit(stream, event, cause)));
      },
      async appendRaw(stream, ...events) {
        const { lastPosition } = await appender.append({ stream, events, expected: "any", idempotency: null });
        return lastPosition;
      },
      generations: (projection) => reads.run((sql) => readGenerations(sql, projection)),
      async reached(projection, position) {
        await until(`${projection} has come to ${position}`, async () => {
          const found = await process.generations(projection);
          return found.some((one) => one.role === "live" && one.position >= position);
        });
      },
      async stop() {
        if (stopped) return;
        stopped = true;
        await projections.stop();
        await leases.stop();
        await appender.stop();
        await upkeep.stop();
        await tail.stop();
        await own.stop();
      },
    };
    open.push(process);
    return process;
  }

  return {
    databaseUrl,
    sql,
    start,
    rows: async (view, order = "1") => [
      ...(await sql.unsafe<Record<string, unknown>[]>(`select * from ${testSchema}_read.${view} order by ${order}`)),
    ],
    async stop() {
      for (const process of open) await process.stop();
      await sql.end();
    },
  };
}
