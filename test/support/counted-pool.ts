// A pool that counts its tasks, for tests of what is read when.
import type { Pool } from "../../src/storage/pool.ts";

export type CountedPool = Pool & {
  /** Tasks that were begun. */
  asked: () => number;
};

export function countTasks(pool: Pool): CountedPool {
  let asked = 0;
  return {
    run(task, signal) {
      asked++;
      return pool.run(task, signal);
    },
    stop: pool.stop,
    asked: () => asked,
  };
}
