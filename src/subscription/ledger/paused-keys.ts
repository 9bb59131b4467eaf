// Lets paused keys of consumer groups go on when the dead letters for which they were paused are gone.
import type { Pool } from "../../storage/pool.ts";
import { runAgain } from "../../storage/retry.ts";

/** Returns how many keys go on. */
export async function resumeKeys(pool: Pool, cursor: number): Promise<number> {
  const rows = await runAgain(
    pool,
    (sql) => sql<{ resumed: number }[]>`select cursor_resume_keys(${cursor}) as resumed`,
  );
  return rows[0]?.resumed ?? 0;
}

/** Cursors of groups with such keys, of which nobody has told. */
export async function readResumable(pool: Pool, limit: number): Promise<number[]> {
  const rows = await pool.run(
    (sql) => sql<{ cursor_id: string }[]>`
      select distinct k.cursor_id from paused_keys k
      where not exists (select from dead_letters l where l.cursor_id = k.cursor_id and l.position = k.position)
      limit ${limit}`,
  );
  return rows.map((row) => Number(row.cursor_id));
}
