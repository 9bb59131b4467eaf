// Removes what the ledger leaves behind: older steps of cursors, old revocations, the content of replayed letters that are
// settled, pauses of keys whose dead letters are gone.
import type { Pool } from "../../storage/pool.ts";
import { readResumable, resumeKeys } from "../ledger/paused-keys.ts";
import type { SweepDuty } from "./duty.ts";

const cursorsAtOnce = 500;
const stepsAtOnce = 5_000;
const revocationsAtOnce = 5_000;
const lettersAtOnce = 500;
/** A token of a revoked delivery is told from one of a settled delivery for so long. */
const revocationsKept = "1 day";
const groupsAtOnce = 100;
const letterGrace = "1 minute";

/** All steps but the newest of each cursor. */
export function createStepsDuty(pool: Pool): SweepDuty {
  let after = 0;
  return async (more) => {
    while (more()) {
      const rows = await pool.run(
        (sql) => sql<{ reached: string | null; is_rest: boolean }[]>`
          select reached, is_rest from cursor_steps_forget(${after}, ${cursorsAtOnce}, ${stepsAtOnce})`,
      );
      const { reached, is_rest } = rows[0] as { reached: string | null; is_rest: boolean };
      // A cursor that moves faster than this is come to again and again.
      if (is_rest) continue;
      after = Number(reached ?? 0);
      if (reached === null) return;
    }
  };
}

export function createRevocationsDuty(pool: Pool): SweepDuty {
  return async (more) => {
    while (more()) {
      const rows = await pool.run(
        (sql) => sql`
          delete from revoked_deliveries r where r.ctid = any(array(
            select o.ctid from revoked_deliveries o
            where o.revoked_at < clock_timestamp() - ${revocationsKept}::text::interval
            order by o.revoked_at limit ${revocationsAtOnce}))
          returning 1`,
      );
      if (rows.length < revocationsAtOnce) return;
    }
  };
}

export function createReplayedLettersDuty(pool: Pool): SweepDuty {
  let after = { position: -1, cursor: 0 };
  return async (more) => {
    while (more()) {
      const rows = await pool.run(
        (sql) => sql<{ reached_position: string | null; reached_cursor: string | null }[]>`
          select reached_position, reached_cursor
          from replayed_letters_forget(${after.position}, ${after.cursor}, ${lettersAtOnce}, ${letterGrace}::text::interval)`,
      );
      const { reached_position, reached_cursor } = rows[0] as (typeof rows)[0];
      after = { position: Number(reached_position ?? -1), cursor: Number(reached_cursor ?? 0) };
      if (reached_position === null) return;
    }
  };
}

/** Whoever discards a letter lets its key go on at once: this is for what went in another way. */
export function createPausedKeysDuty(pool: Pool, onChanged: (cursor: number) => void): SweepDuty {
  return async (more) => {
    for (const cursor of await readResumable(pool, groupsAtOnce)) {
      if (!more()) return;
      if ((await resumeKeys(pool, cursor)) > 0) onChanged(cursor);
    }
  };
}
