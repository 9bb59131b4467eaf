// Calls the SQL functions of receipts.
import { arrayLiteral, readNumbers } from "../../storage/lists.ts";
import type { Sql } from "../../storage/pool.ts";
import type { Matches } from "../../stream/matches.ts";

/** The first events behind a position that are handed out or delivered and not read, and where the cursor stands. */
export async function callUnreadHeld(
  sql: Sql,
  cursor: number,
  after: number,
  limit: number,
): Promise<{ positions: number[]; place: number }> {
  const rows = await sql<{ positions: string; place: string }[]>`
    select positions, place from unread_held(${cursor}, ${after}, ${limit})`;
  const row = rows[0] as { positions: string; place: string };
  return { positions: readNumbers(row.positions) as number[], place: Number(row.place) };
}

/** Returns how many of these events were unread. */
export async function callReceiptRead(sql: Sql, cursor: number, positions: readonly number[]): Promise<number> {
  if (positions.length === 0) return 0;
  const rows = await sql<{ read: number }[]>`
    select receipt_read(${cursor}, ${arrayLiteral(positions)}::bigint[]) as read`;
  return rows[0]?.read ?? 0;
}

/** `matches`: what lies behind `after`. Returns how many events were unread, and where the cursor stands; null when it is gone. */
export async function callReceiptReadUpTo(
  sql: Sql,
  cursor: number,
  upTo: number,
  after: number,
  matches: Matches,
): Promise<{ read: number; place: number | null }> {
  const rows = await sql<{ read: string; place: string | null }[]>`
    select read, place from receipt_read_up_to(
      ${cursor}, ${upTo}, ${after}, ${matches.reached}, ${arrayLiteral(matches.positions)}::bigint[])`;
  const row = rows[0] as { read: string; place: string | null };
  return { read: Number(row.read), place: row.place === null ? null : Number(row.place) };
}

/** Which of these events beyond the cursor were read before they are handed out. */
export async function keepEarlyReads(sql: Sql, cursor: number, positions: readonly number[]): Promise<number[]> {
  if (positions.length === 0) return [];
  const rows = await sql<{ position: string }[]>`
    select e.position from early_reads e
    where e.cursor_id = ${cursor} and e.position = any(${arrayLiteral(positions)}::bigint[])`;
  return rows.map((row) => Number(row.position));
}
