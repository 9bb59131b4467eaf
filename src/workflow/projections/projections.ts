// Wires the parts of projections: each is run by the one process that holds its lease, and woken by the tail.
import type { Log } from "../../base/log.ts";
import { createSemaphore } from "../../base/semaphore.ts";
import type { Database } from "../../storage/database.ts";
import type { Leases } from "../../storage/lease.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { Tail } from "../../stream/tail.ts";
import { createCandidateReader } from "../../subscription/ledger/candidates.ts";
import { readHandedOut } from "../../subscription/letter-content.ts";
import type { ProjectionDefinition } from "./definition.ts";
import { enrol } from "./generations.ts";
import { type Projector, startProjector } from "./projector.ts";
import type { RunnerCounters } from "./runner.ts";

export type Projections = {
  /** Of the modules of this process. */
  definitions: ReadonlyMap<string, ProjectionDefinition>;
  /** Somebody has decided something about a projection, here or in another process. */
  tend: () => void;
  /** What this process did, by projection. */
  counters: () => ReadonlyMap<string, RunnerCounters>;
  stop: () => Promise<void>;
};

export type ProjectionsOptions = {
  definitions: readonly ProjectionDefinition[];
  leases: Pick<Leases, "want">;
  serviceSchema: string;
  database: Pick<Database, "reads" | "folds" | "handlers" | "connect">;
  tail: Pick<Tail, "since" | "head" | "subscribe">;
  upcasting: Pick<Upcasting, "attempt">;
  log: Log;
};

/** Pages that all projections together read at once. */
const pagesReading = 2;

/** The lease of a projection. */
export const leaseOf = (projection: string) => `projection:${projection}`;

export async function startProjections(options: ProjectionsOptions): Promise<Projections> {
  const { definitions, leases, serviceSchema, tail, log } = options;
  const { reads, folds, handlers, connect } = options.database;
  const reader = createCandidateReader({
    tail,
    pool: reads,
    reads: createSemaphore(pagesReading),
    readEvents: (positions, maxBytes) => readHandedOut(reads, positions, maxBytes),
  });
  const running = new Map<string, Projector>();
  const ending = new Set<Promise<void>>();
  const counters = new Map<string, RunnerCounters>();
  for (const definition of definitions) await reads.run((sql) => enrol(sql, definition));

  const giveUps = definitions.map((definition) => {
    const { name } = definition;
    const own: RunnerCounters = { events: 0, failures: 0 };
    counters.set(name, own);
    return leases.want(leaseOf(name), {
      onGained(lease, signal) {
        log.info({ projection: name, epoch: lease.epoch }, "projection is run here");
        const projector = startProjector(definition, lease, {
          serviceSchema,
          folds,
          handlers,
          connect: () => connect({ statement_timeout: "0", idle_in_transaction_session_timeout: "0" }),
          log,
          source: { reader, tail, upcasting: options.upcasting },
          counters: own,
        });
        running.set(name, projector);
        signal.addEventListener("abort", () => {
          if (running.get(name) === projector) running.delete(name);
          const ended: Promise<void> = projector.stop().finally(() => ending.delete(ended));
          ending.add(ended);
        });
      },
    });
  });
  const unsubscribe = tail.subscribe(() => {
    for (const projector of running.values()) projector.wake();
  });
  return {
    definitions: new Map(definitions.map((definition) => [definition.name, definition])),
    tend() {
      for (const projector of running.values()) projector.tend();
    },
    counters: () => counters,
    async stop() {
      unsubscribe();
      // What is under way ends before others may take the lease.
      for (const [name, projector] of running) {
        running.delete(name);
        await projector.stop();
      }
      for (const giveUp of giveUps) await giveUp();
      await Promise.all(ending);
    },
  };
}
