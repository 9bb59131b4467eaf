// Duties that one process does for all: whoever comes first in an interval has it.
import type { Pool } from "../storage/pool.ts";

// An interval is measured by each process's timer from the end of its own round: a little less must do.
const slack = 0.9;

/** Whether this process is to do the duty now. A round must be safe all the same if a slow one elsewhere still runs. */
export async function beginDuty(pool: Pool, name: string, everyMs: number): Promise<boolean> {
  return pool.run(async (sql) => {
    const every = `${Math.floor(everyMs * slack)} ms`;
    const rows = await sql<{ mine: boolean }[]>`select duty_begin(${name}, ${every}::text::interval) as mine`;
    return rows[0]?.mine === true;
  });
}
