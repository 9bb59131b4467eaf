// Messages of remote streams that could not become events: listed with their content, tried again, discarded.
import { deadLetterNotFound } from "../../base/errors.ts";
import { arrayLiteral } from "../../storage/lists.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { type RefusedMessage, shortened } from "./move.ts";

export type RemoteLetter = Omit<RefusedMessage, "retryMs"> & {
  id: number;
  attempts: number;
  firstFailedAt: string;
  lastFailedAt: string;
};

/** Some by their ids, or all there are now. */
export type LetterChoice = { ids: readonly number[] } | { all: true };

type Row = {
  id: string;
  jetstream: string;
  sequence: string;
  stored_ms: string;
  subject: string;
  headers: string;
  payload: Uint8Array;
  reason: string;
  detail: string;
  attempts: number;
  first_failed_at: string;
  last_failed_at: string;
};

const pageBytes = 2_000_000;

/** A page of those given up behind an id, oldest first; fewer than the limit when they are large. */
export async function listLetters(
  pool: Pool,
  remote: number,
  { after, limit }: { after: number; limit: number },
): Promise<{ letters: RemoteLetter[]; next: number | null }> {
  const rows = await pool.run(
    (sql) => sql<(Row & { found: string })[]>`
      select l.*, i.found
      from (
        select d.id, count(*) over () as found,
          sum(d.bytes) over (order by d.id rows unbounded preceding) - d.bytes as bytes_before
        from (
          select m.id, 500 + octet_length(m.payload) + octet_length(m.headers::text) as bytes
          from remote_dead_letters m where m.remote_id = ${remote} and m.id > ${after} and m.due_at is null
          order by m.id limit ${limit + 1}
        ) d
      ) i join remote_dead_letters l using (id)
      where i.bytes_before < ${pageBytes}
      order by l.id limit ${limit}`,
  );
  const letters = rows.map(fromRow);
  const isMore = Number(rows[0]?.found ?? 0) > letters.length;
  return { letters, next: isMore ? (letters.at(-1)?.id ?? null) : null };
}

/** Throws `dead-letter-not-found`. */
export async function findLetter(pool: Pool, remote: { id: number; name: string }, id: number): Promise<RemoteLetter> {
  const rows = await pool.run(
    (sql) => sql<Row[]>`
      select l.* from remote_dead_letters l where l.id = ${id} and l.remote_id = ${remote.id} and l.due_at is null`,
  );
  if (rows[0] === undefined) throw deadLetterNotFound(`The remote stream ${remote.name}`, String(id));
  return fromRow(rows[0]);
}

/** Ids of the remote streams that have messages to be tried again now. */
export async function remotesWithDueLetters(pool: Pool): Promise<number[]> {
  const rows = await pool.run(
    (sql) => sql<{ id: string }[]>`
      select r.id from remote_streams r
      where exists (select from remote_dead_letters l where l.remote_id = r.id and l.due_at <= clock_timestamp())`,
  );
  return rows.map(({ id }) => Number(id));
}

/** Those behind an id that are to be tried again now, oldest first; at least one if there is any, whatever its size. */
export async function readDueLetters(
  pool: Pool,
  remote: number,
  after: number,
  limit: number,
): Promise<RemoteLetter[]> {
  const rows = await pool.run(
    (sql) => sql<Row[]>`
      select l.* from (
        select m.id, sum(m.bytes) over w - m.bytes as bytes_before
        from (
          select d.id, octet_length(d.payload) + octet_length(d.headers::text) as bytes from remote_dead_letters d
          where d.remote_id = ${remote} and d.id > ${after} and d.due_at <= clock_timestamp() order by d.id limit ${limit}
        ) m
        window w as (order by m.id rows unbounded preceding)
      ) i join remote_dead_letters l using (id)
      where i.bytes_before < ${pageBytes} order by l.id`,
  );
  return rows.map(fromRow);
}

/** What became of a try: `retryMs` until the next one, null when it is given up. False where that was told of the try before. */
export async function failLetter(
  pool: Pool,
  { id, attempts }: Pick<RemoteLetter, "id" | "attempts">,
  { reason, detail, retryMs }: Pick<RefusedMessage, "reason" | "detail" | "retryMs">,
): Promise<boolean> {
  return pool.run(async (sql) => {
    const rows = await sql`
      update remote_dead_letters
      set attempts = attempts + 1, reason = ${reason}, detail = ${shortened(detail)}, last_failed_at = date_trunc('milliseconds', clock_timestamp()),
          due_at = clock_timestamp() + ${retryMs}::float8 * interval '1 ms'
      where id = ${id} and attempts = ${attempts} and due_at is not null`;
    return rows.count === 1;
  });
}

/** Has them tried again at once, as if for the first time. Returns how many. */
export async function replayLetters(pool: Pool, remote: number, choice: LetterChoice): Promise<number> {
  return pool.run(async (sql) => {
    const rows = await sql`
      update remote_dead_letters set due_at = clock_timestamp(), attempts = 0 where ${chosen(sql, remote, choice)}`;
    return rows.count;
  });
}

/** Removes them for good. Returns how many. */
export async function discardLetters(pool: Pool, remote: number, choice: LetterChoice): Promise<number> {
  return pool.run(async (sql) => {
    const rows = await sql`delete from remote_dead_letters where ${chosen(sql, remote, choice)}`;
    return rows.count;
  });
}

function chosen(sql: Sql, remote: number, choice: LetterChoice) {
  const some = "ids" in choice ? sql`and id = any(${arrayLiteral(choice.ids)}::bigint[])` : sql``;
  return sql`remote_id = ${remote} and due_at is null ${some}`;
}

function fromRow(row: Row): RemoteLetter {
  return {
    id: Number(row.id),
    jetstream: row.jetstream,
    sequence: Number(row.sequence),
    storedMs: Number(row.stored_ms),
    subject: row.subject,
    headers: JSON.parse(row.headers) as [string, string][],
    payload: row.payload,
    reason: row.reason,
    detail: row.detail,
    attempts: row.attempts,
    firstFailedAt: row.first_failed_at,
    lastFailedAt: row.last_failed_at,
  };
}
