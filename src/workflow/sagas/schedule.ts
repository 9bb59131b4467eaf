// When the next saga is due, and what time it is by the clock of the database, which all timers of sagas go by.
import { nameList } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";

export type Schedule = {
  /** Milliseconds since the epoch, as far as was heard last; before that by the clock of this machine. */
  now: () => number;
  /** Resolves when something was heard: nothing may be decided by the clock of this machine. */
  known: () => Promise<void>;
  /** Asks the database: in how many milliseconds the next saga is due, null for none. */
  nextDueMs: () => Promise<number | null>;
};

export function createSchedule(pool: Pool, names: readonly string[]): Schedule {
  // Not the clock of this machine, which may jump and differ.
  let offsetMs = Date.now() - performance.now();
  let isKnown = false;

  return {
    now: () => performance.now() + offsetMs,
    async known() {
      if (!isKnown) await nextDueMs();
    },
    nextDueMs,
  };

  async function nextDueMs(): Promise<number | null> {
    let askedMs = 0;
    const [row] = await pool.run((sql) => {
      askedMs = performance.now();
      return sql<{ now_ms: number; next_ms: number | null }[]>`
        select (extract(epoch from clock_timestamp()) * 1000)::double precision as now_ms,
               (extract(epoch from min(d.due_at)) * 1000)::double precision as next_ms
        from unnest(${nameList(names)}::text[]) n(name) cross join lateral (
          select s.due_at from sagas s where s.saga = n.name and s.due_at is not null and s.owner is null
          order by s.due_at limit 1) d`;
    });
    if (row === undefined) return null;
    // The database's time was taken between the two: an answer that was late moves the clock no further than it must.
    const [least, most] = [row.now_ms - performance.now(), row.now_ms - askedMs];
    offsetMs = isKnown ? Math.min(Math.max(offsetMs, least), most) : (least + most) / 2;
    isKnown = true;
    return row.next_ms === null ? null : Math.max(0, row.next_ms - row.now_ms);
  }
}
