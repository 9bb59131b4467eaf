// How the sagas of all processes stand, in numbers.
import { nameList } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";
import type { SagaState } from "./progress.ts";

export type SagaFigures = {
  /** Those that are under way or have failed, by state. */
  states: { state: SagaState; count: number }[];
  /** How long the saga that is due longest has waited for a process, in seconds; 0 when none is. */
  overdueSeconds: number;
};

const shown: readonly SagaState[] = ["NotStarted", "Running", "Compensating", "Failed"];
/** Sagas that are counted of one state. */
const countedAtMost = 10_000;

/** `names`: the sagas that this process knows. Rejects when the database is away. */
export async function readSagaFigures(pool: Pool, names: readonly string[]): Promise<SagaFigures> {
  const rows = await pool.run(
    (sql) => sql<{ state: SagaState; count: number; overdue: number | null }[]>`
      select u.state, c.count::int as count,
             (select extract(epoch from clock_timestamp() - min(d.due_at))::double precision
              from unnest(${nameList(names)}::text[]) n(name) cross join lateral (
                select s.due_at from sagas s where s.saga = n.name and s.due_at is not null and s.owner is null
                order by s.due_at limit 1) d) as overdue
      from unnest(${nameList(shown)}::text[]) u(state) cross join lateral (
        select count(*) from (select from sagas s where s.state = u.state limit ${countedAtMost}) s) c`,
  );
  return {
    states: rows.map(({ state, count }) => ({ state, count })),
    overdueSeconds: Math.max(0, rows[0]?.overdue ?? 0),
  };
}
