// Takes events back that nobody is there to settle: at once, or as soon as the database is back.
import { shuttingDown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { arrayLiteral } from "../../storage/lists.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { runAgain } from "../../storage/retry.ts";
import { withstand } from "../../storage/withstand.ts";
import type { Handout, Rest } from "./delivery.ts";

/** Each resolves after one try. While the database is away the rest goes on without the caller, who else would wait for a deadline. */
export type PutBacks = {
  /** Takes leases back that were never sent; no attempt is counted. */
  putBack: (cursor: number, leases: Handout["leases"]) => Promise<void>;
  /**
   * Puts back the rest of what a step handed out; no attempt is counted. While the database is away it is not tried again: what
   * was given away without a lease could be entered twice.
   */
  putBackRest: (cursor: number, step: number, rest: readonly Rest[]) => Promise<void>;
  /** Takes leases back of a consumer that has gone; they are handed out anew at once. */
  release: (cursor: number, leases: Handout["leases"], reason: string) => Promise<void>;
  /** What is still to be taken back of a cursor: the ledger would hand out what comes after it. Throws while the database is away. */
  catchUp: (cursor: number) => Promise<void>;
  stop: () => Promise<void>;
};

export type PutBacksOptions = {
  pool: Pool;
  onPutBack: (cursor: number) => void;
  log: Log;
};

/** Doing it twice does no harm: a lease that is not there any more stays untouched. */
type Task = { cursor: number; statement: (sql: Sql) => Promise<unknown>; done: boolean };

export function createPutBacks({ pool, onPutBack, log }: PutBacksOptions): PutBacks {
  /** What could not be taken back yet, by cursor. */
  const owed = new Map<number, Set<Task>>();
  const waiting = new Set<Promise<void>>();
  const ending = new AbortController();

  async function attempt(task: Task): Promise<void> {
    if (task.done) return;
    await runAgain(pool, task.statement);
    task.done = true;
    onPutBack(task.cursor);
  }

  async function run(cursor: number, statement: (sql: Sql) => Promise<unknown>): Promise<void> {
    const task: Task = { cursor, statement, done: false };
    try {
      await attempt(task);
    } catch (error) {
      if (ending.signal.aborted || !isOutage(error)) throw error;
      log.warn({ err: error }, "leases are taken back when the database is there again");
      const later = persist(task);
      waiting.add(later);
      void later.finally(() => waiting.delete(later));
    }
  }

  async function persist(task: Task): Promise<void> {
    const { cursor } = task;
    const tasks = owed.get(cursor) ?? new Set<Task>();
    owed.set(cursor, tasks.add(task));
    await withstand(() => attempt(task), ending.signal).catch((error: unknown) =>
      log.warn({ err: error }, "leases wait for their deadlines"),
    );
    tasks.delete(task);
    if (tasks.size === 0) owed.delete(cursor);
  }

  return {
    async putBack(cursor, leases) {
      if (leases.length === 0) return;
      const { steps, parts } = listsOf(leases);
      await run(cursor, (sql) => sql`select delivery_put_back(${cursor}, ${steps}::bigint[], ${parts}::smallint[])`);
    },
    async putBackRest(cursor, step, rest) {
      const parts = arrayLiteral(rest.map(({ part }) => part));
      const leased = arrayLiteral(rest.map((portion) => String(portion.leased)));
      const counts = arrayLiteral(rest.map(({ positions }) => positions.length));
      const positions = arrayLiteral(rest.flatMap((portion) => portion.positions));
      const keys = rest.some((portion) => portion.keys !== null)
        ? arrayLiteral(rest.flatMap((r) => r.keys ?? []))
        : null;
      await runAgain(
        pool,
        (sql) => sql`
          select delivery_put_back_some(
            ${cursor}, ${step}, ${parts}::smallint[], ${leased}::boolean[], ${counts}::int[], ${positions}::bigint[], ${keys}::bigint[])`,
      );
      onPutBack(cursor);
    },
    async release(cursor, leases, reason) {
      if (leases.length === 0) return;
      const { steps, parts } = listsOf(leases);
      await run(
        cursor,
        (sql) => sql`select delivery_release(${cursor}, null, ${steps}::bigint[], ${parts}::smallint[], ${reason})`,
      );
    },
    async catchUp(cursor) {
      const tasks = owed.get(cursor);
      if (tasks !== undefined) for (const task of [...tasks]) await attempt(task);
    },
    async stop() {
      ending.abort(shuttingDown());
      await Promise.all(waiting);
    },
  };
}

function listsOf(leases: Handout["leases"]): { steps: string; parts: string } {
  return {
    steps: arrayLiteral(leases.map((lease) => lease.step)),
    parts: arrayLiteral(leases.map((lease) => lease.part)),
  };
}
