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

/**
 * Which of these events, ascending, that lay beyond the cursor when it was looked at, are unread. Claims may have moved it over
 * some of them since, and with that have forgotten that they were read before: of those it counts what is held now.
 */
export async function keepUnread(sql: Sql, cursor: number, positions: readonly number[]): Promise<number[]> {
  if (positions.length === 0) return [];
  const [first, last] = [positions[0] as number, positions.at(-1) as number];
  // In a case, a subquery is evaluated only when it is needed, and once.
  const rows = await sql<{ position: string }[]>`
    select u.position
    from unnest(${arrayLiteral(positions)}::bigint[]) u(position), cursor_next(${cursor}, clock_timestamp()) n
    where case
      when u.position > n.place then u.position not in (
        select e.position from early_reads e
        where e.cursor_id = ${cursor} and e.position between ${first}::bigint and ${last}::bigint)
      else u.position in (
        select unnest(d.positions) from deliveries d
        where d.cursor_id = ${cursor} and d.positions[1] > -1 and d.positions[1] <= ${last}::bigint
          and d.positions[cardinality(d.positions)] >= ${first}::bigint
        union all
        select unnest(r.positions) from receipts r
        where r.cursor_id = ${cursor} and r.positions[1] > -1 and r.positions[1] <= ${last}::bigint
          and r.positions[cardinality(r.positions)] >= ${first}::bigint) end
    order by u.position`;
  return rows.map((row) => Number(row.position));
}
