// Wires the parts of projections: each is run by the one process that holds its lease, and woken by the tail.
import { cursorBeyondHead } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { createSemaphore } from "../../base/semaphore.ts";
import type { Database } from "../../storage/database.ts";
import type { HeldLease, Leases } from "../../storage/lease.ts";
import { readHead } from "../../stream/resolve.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import { readLogId } from "../../stream/stream-head.ts";
import type { Tail } from "../../stream/tail.ts";
import { createCandidateReader } from "../../subscription/ledger/candidates.ts";
import { readHandedOut } from "../../subscription/letter-content.ts";
import type { ProjectionDefinition } from "./definition.ts";
import { leaseOf, readLivePosition } from "./generation.ts";
import { enrol, removeProjection } from "./generations.ts";
import { createProgress } from "./progress.ts";
import { type Projector, startProjector } from "./projector.ts";
import { createReadModels, type ReadModels } from "./read-model.ts";
import { type RebuildOutcome, requestRebuild, requestSnapshot, setPaused, skipEvent } from "./requests.ts";
import type { RunnerCounters } from "./runner.ts";
import { describeProjections, type ProjectionStatus } from "./status.ts";

export type { Answered, Unanswered } from "./read-model.ts";

export type Projections = {
  /** What they answer. */
  models: ReadModels;
  /** How one stands; null when there is none of that name. */
  describe: (name: string) => Promise<ProjectionStatus | null>;
  /** How those stand that come behind a name, by name. */
  list: (after: string, limit: number) => Promise<ProjectionStatus[]>;
  /** Waits until one has come to a position: false when it has not in this time. Throws `cursor-beyond-head`. */
  reach: (name: string, position: number, waitMs: number, signal: AbortSignal) => Promise<boolean>;
  /** Ends all waiting: the service drains. */
  drain: () => void;
  manage: {
    pause: (name: string) => Promise<boolean>;
    /** Goes on, and tries again what has failed. */
    resume: (name: string) => Promise<boolean>;
    /** Does without an event, if it fails at it. */
    skip: (name: string, position: number) => Promise<boolean>;
    rebuild: (name: string, from: "beginning" | "snapshot") => Promise<RebuildOutcome>;
    snapshot: (name: string) => Promise<boolean>;
    /** False when a process runs it. */
    remove: (name: string) => Promise<boolean>;
  };
  /** Somebody has decided something about a projection, here or in another process. */
  tend: () => void;
  /** What this process did, by projection. */
  counters: () => ReadonlyMap<string, RunnerCounters>;
  /** How the first ones by name stand, in numbers. */
  figures: (limit: number) => Promise<Figures[]>;
  stop: () => Promise<void>;
};

export type Figures = {
  projection: string;
  lagEvents: number;
  lagSeconds: number;
  failed: boolean;
  paused: boolean;
  unattended: boolean;
};

export type ProjectionsOptions = {
  definitions: readonly ProjectionDefinition[];
  leases: Pick<Leases, "want">;
  serviceSchema: string;
  database: Pick<Database, "reads" | "folds" | "handlers" | "answers" | "connect">;
  tail: Pick<Tail, "since" | "head" | "subscribe">;
  upcasting: Pick<Upcasting, "attempt">;
  /** Tells the other processes that something was decided about a projection. */
  announce: () => void;
  /** How long a transaction of handlers that write SQL takes further events, in milliseconds; 5 s unless told. */
  budgetMs?: number;
  log: Log;
};

/** Pages that all projections together read at once. */
const pagesReading = 2;

export async function startProjections(options: ProjectionsOptions): Promise<Projections> {
  const { definitions, leases, serviceSchema, tail, announce, log } = options;
  const { reads, folds, handlers, answers, connect } = options.database;
  const reader = createCandidateReader({
    tail,
    pool: reads,
    reads: createSemaphore(pagesReading),
    readEvents: (positions, maxBytes) => readHandedOut(reads, positions, maxBytes),
  });
  const connectAlone = () => connect({ statement_timeout: "0", idle_in_transaction_session_timeout: "0" });
  const running = new Map<string, Projector>();
  let stopped = false;
  const counters = new Map<string, RunnerCounters>();
  for (const definition of definitions) await reads.run((sql) => enrol(sql, definition));

  const progress = createProgress({ read: (name) => reads.run((sql) => readLivePosition(sql, name)), log });

  const runs = definitions.map((definition) => {
    const { name } = definition;
    let ended: Promise<void> = Promise.resolve();
    const own: RunnerCounters = { events: 0, failures: 0 };
    counters.set(name, own);
    function run(lease: HeldLease, signal: AbortSignal): void {
      log.info({ projection: name, epoch: lease.epoch }, "projection is run here");
      const projector = startProjector(definition, lease, {
        serviceSchema,
        folds,
        handlers,
        budgetMs: options.budgetMs ?? 5_000,
        connect: connectAlone,
        log,
        source: { reader, tail, upcasting: options.upcasting },
        counters: own,
        onMoved: () => progress.moved(name),
      });
      running.set(name, projector);
      signal.addEventListener("abort", () => {
        if (running.get(name) === projector) running.delete(name);
        ended = projector.stop();
      });
    }

    const giveUp = leases.want(leaseOf(name), {
      onGained(lease, signal) {
        // What was under way when the lease was lost comes to its end first.
        void ended.then(() => {
          if (!signal.aborted && !stopped) run(lease, signal);
        });
      },
    });
    return { giveUp, ended: () => ended };
  });
  const unsubscribe = tail.subscribe(() => {
    for (const projector of running.values()) projector.wake();
  });
  const tend = () => {
    for (const projector of running.values()) projector.tend();
  };
  const decided = <T>(outcome: T): T => {
    tend();
    announce();
    return outcome;
  };
  return {
    models: createReadModels({
      definitions: new Map(definitions.map((definition) => [definition.name, definition])),
      serviceSchema,
      reads,
      answers,
    }),
    describe: async (name) => (await describeProjections(reads, { names: [name] }, tail.head()))[0] ?? null,
    list: (after, limit) => describeProjections(reads, { after, limit }, tail.head()),
    async reach(name, position, waitMs, signal) {
      if (position > tail.head()) {
        const [head, logId] = await reads.run(async (sql) => [await readHead(sql, tail.head()), await readLogId(sql)]);
        if (position > head) throw cursorBeyondHead(String(position), String(head), logId);
      }
      return progress.reach(name, position, waitMs, signal);
    },
    drain: progress.drain,
    manage: {
      pause: (name) => setPaused(folds, name, true).then(decided),
      resume: (name) => setPaused(folds, name, false).then(decided),
      skip: async (name, position) => decided((await skipEvent(folds, name, position)) > 0),
      rebuild: (name, from) => requestRebuild(folds, name, from).then(decided),
      snapshot: (name) => requestSnapshot(folds, name).then(decided),
      async remove(name) {
        const sql = connectAlone();
        return removeProjection(sql, serviceSchema, name).finally(() => sql.end({ timeout: 1 }));
      },
    },
    tend,
    counters: () => counters,
    async figures(limit) {
      const all = await describeProjections(reads, { after: "", limit }, tail.head());
      return all.map(({ name, lag, lagSeconds, state, paused }) => ({
        projection: name,
        lagEvents: Number(lag),
        lagSeconds,
        failed: state === "failed",
        paused,
        unattended: state === "unattended",
      }));
    },
    async stop() {
      stopped = true;
      unsubscribe();
      // What is under way ends before others may take the lease.
      const projectors = [...running.values()];
      running.clear();
      await Promise.all(projectors.map((projector) => projector.stop()));
      for (const { giveUp } of runs) await giveUp();
      await Promise.all(runs.map(({ ended }) => ended()));
    },
  };
}
