// Tries again what the database rolled back for a passing reason, such as a deadlock.
import { classify } from "./pg-errors.ts";
import type { Pool, Sql } from "./pool.ts";

const maxAttempts = 4;

/** Runs one statement, a few times if need be: its transaction was rolled back, so nothing is done twice. */
export async function runAgain<T>(pool: Pool, task: (sql: Sql) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await pool.run(task);
    } catch (error) {
      if (classify(error).kind !== "retry" || attempt === maxAttempts) throw error;
    }
  }
}
