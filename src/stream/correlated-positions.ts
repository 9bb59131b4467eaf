// Calls the SQL function correlated_positions: where the next events of a correlation lie, in all persistent streams.
import { readNumbers } from "../storage/lists.ts";
import type { Sql } from "../storage/pool.ts";

/** From the cursor on, exclusive, to the end, inclusive, at most `limit`, in the order of the direction; some may be trimmed. */
export async function correlatedPositions(
  sql: Sql,
  correlation: string,
  cursor: number,
  end: number,
  forward: boolean,
  limit: number,
): Promise<number[]> {
  const rows = await sql<{ positions: string }[]>`
    select correlated_positions(${correlation}, ${cursor}, ${end}, ${forward}, ${limit}) as positions`;
  return readNumbers(rows[0]?.positions as string) as number[];
}
