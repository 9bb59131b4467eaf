// A pool of connections for one kind of work, which never queues behind a busy connection and never waits for a dead one.
import type postgres from "postgres";
import { createSemaphore } from "../base/semaphore.ts";
import { StalledConnection } from "./pg-errors.ts";

export type Sql = postgres.Sql;
/** A piece of SQL that is put into another. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>;

export type Pool = {
  /**
   * Runs the task, one statement or a few short ones, with the pool's connections. Rejects with `StalledConnection`
   * when it takes longer than the pool's time limit: the server cancels a long statement before that, so the connection
   * must be dead, and all are replaced.
   */
  run: <T>(task: (sql: Sql) => Promise<T>, signal?: AbortSignal) => Promise<T>;
  stop: () => Promise<void>;
};

export type PoolOptions = {
  connect: (size: number) => Sql;
  size: number;
  /** Time that a task may take, in milliseconds; above the statement timeout of the connections. */
  timeLimitMs: number;
};

export function createPool({ connect, size, timeLimitMs }: PoolOptions): Pool {
  let sql = connect(size);
  const retired = new Set<Promise<void>>();
  // postgres.js sends a statement down a busy connection when no other is free; with a permit a connection it never has to.
  const permits = createSemaphore(size);

  function replace(stalled: Sql): void {
    if (stalled !== sql) return;
    sql = connect(size);
    const ended = stalled.end({ timeout: 0 }).catch(() => {});
    retired.add(ended);
    void ended.then(() => retired.delete(ended));
  }

  return {
    run: (task, signal) =>
      permits.run(async () => {
        const mine = sql;
        let timer: ReturnType<typeof setTimeout> | undefined;
        const stalled = new Promise<never>((_, reject) => {
          timer = setTimeout(() => {
            replace(mine);
            reject(new StalledConnection(`no answer from the database within ${timeLimitMs} ms`));
          }, timeLimitMs);
        });
        try {
          return await Promise.race([task(mine), stalled]);
        } finally {
          clearTimeout(timer);
        }
      }, signal),
    async stop() {
      await Promise.all([sql.end({ timeout: 5 }).catch(() => {}), ...retired]);
    },
  };
}
