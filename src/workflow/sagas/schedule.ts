// When the next saga is due, and what time it is by the clock of the database, which all timers of sagas go by.
import { nameList } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";

export type Schedule = {
  /** Milliseconds since the epoch, as far as was heard last. */
  now: () => number;
  /** Asks the database: in how many milliseconds the next saga is due, null for none. */
  nextDueMs: () => Promise<number | null>;
};

export function createSchedule(pool: Pool, names: readonly string[]): Schedule {
  // Not the clock of this machine, which may jump and differ.
  let offsetMs = Date.now() - performance.now();
  return {
    now: () => performance.now() + offsetMs,
    async nextDueMs() {
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
      offsetMs = row.now_ms - (askedMs + performance.now()) / 2;
      return row.next_ms === null ? null : Math.max(0, row.next_ms - row.now_ms);
    },
  };
}
