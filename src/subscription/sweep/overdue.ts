// Takes back leases that are overdue under cursors at which nobody waits, so that counts and dead letters are right without consumers.
import type { Pool } from "../../storage/pool.ts";
import type { SweepDuty } from "./duty.ts";

const cursorsAtOnce = 500;
// Where somebody waits, its desk takes back what is overdue in time: there is nothing left to do here.
const graceMs = 1_000;
// A clock that steps back by more than this may hide a lease from one process until the next one does the duty.
const slackMs = 60_000;

export function createOverdueDuty(pool: Pool, onReturned: (cursor: number) => void): SweepDuty {
  /** What was due before this has been taken back: behind an older transaction those rows still cost time. */
  let since = "-infinity";

  async function expire(cursor: number): Promise<number> {
    const rows = await pool.run(
      (sql) => sql<{ taken: number }[]>`select cursor_expire(${cursor}, ${since}::text::timestamptz) as taken`,
    );
    return rows[0]?.taken ?? 0;
  }

  /** A pass over all cursors, which may take several rounds: the last cursor that is done, and what `since` is afterwards. */
  let pass: { after: number; nextSince: string } | null = null;

  return async (more) => {
    const [times] = await pool.run(
      (sql) => sql<{ before: string; next_since: string }[]>`
        select clock_timestamp() - ${`${graceMs} ms`}::text::interval as before,
          clock_timestamp() - ${`${graceMs + slackMs} ms`}::text::interval as next_since`,
    );
    const { before, next_since } = times as { before: string; next_since: string };
    pass ??= { after: 0, nextSince: next_since };
    while (more()) {
      const rows = await pool.run(
        (sql) => sql<{ cursor_id: string; overdue: boolean }[]>`
          select cursor_id, overdue
          from cursors_with_deliveries(${(pass as { after: number }).after}, ${cursorsAtOnce}, ${since}::text::timestamptz, ${before}::text::timestamptz)`,
      );
      for (const row of rows) {
        const cursor = Number(row.cursor_id);
        if (row.overdue) {
          for (let taken = -1; taken !== 0; ) {
            taken = await expire(cursor);
            if (taken > 0) onReturned(cursor);
            if (!more()) return;
          }
        }
        pass.after = cursor;
      }
      if (rows.length < cursorsAtOnce) {
        since = pass.nextSince;
        pass = null;
        return;
      }
    }
  };
}
