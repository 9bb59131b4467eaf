// How the outbox stands, and what is done with rows that could not become events: looked at, tried again, discarded.
import type { Principal } from "../../base/principal.ts";
import { arrayLiteral, nameList } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";

export type Standing = {
  /** Rows that wait, counted up to `countedTo`. */
  waiting: number;
  /** When the oldest of them was inserted. */
  waitingSince: string | null;
  /** Rows that cannot become events, counted up to `countedTo`. */
  failed: number;
};

/** A row that cannot become an event. */
export type FailedRow = {
  id: number;
  stream: string;
  type: string;
  eventId: string | null;
  createdAt: string;
  failedAt: string;
  failure: string;
};

/** Some failed rows by their ids, or all that there are. */
export type Choice = { ids: readonly number[] } | { all: true };

export const countedTo = 10_000;

export async function readStanding(pool: Pool): Promise<Standing> {
  const rows = await pool.run(
    (sql) => sql<{ waiting: number; since: string | null; failed: number }[]>`
      select
        (select count(*)::int from (select 1 from outbox where failure is null limit ${countedTo}) w) as waiting,
        (select created_at from outbox where failure is null order by id limit 1) as since,
        (select count(*)::int from (select 1 from outbox where failure is not null limit ${countedTo}) f) as failed`,
  );
  const { waiting = 0, since = null, failed = 0 } = rows[0] ?? {};
  return { waiting, waitingSince: since, failed };
}

/** Failed rows of streams that the principal may read, oldest first. */
export async function listFailed(
  pool: Pool,
  principal: Principal,
  { after, limit }: { after: number; limit: number },
): Promise<{ failures: FailedRow[]; next: number | null }> {
  const rows = await pool.run(
    (sql) => sql<
      {
        id: string;
        stream: string;
        type: string;
        event_id: string | null;
        created_at: string;
        failed_at: string;
        failure: string;
      }[]
    >`
      select id, stream, type, event_id, created_at, failed_at, failure from outbox
      where failure is not null and id > ${after} order by id limit ${limit + 1}`,
  );
  const shown = rows.slice(0, limit);
  return {
    failures: shown
      .filter(({ stream }) => principal.canRead(stream))
      .map((row) => ({
        id: Number(row.id),
        stream: row.stream,
        type: row.type,
        eventId: row.event_id,
        createdAt: row.created_at,
        failedAt: row.failed_at,
        failure: row.failure,
      })),
    next: rows.length > limit ? Number(shown.at(-1)?.id) : null,
  };
}

/** Makes failed rows of streams that the principal may manage wait again; those of the choice that are not there are passed over. */
export async function retryFailed(pool: Pool, principal: Principal, choice: Choice): Promise<number> {
  const streams = await manageable(pool, principal, choice);
  return pool.run(async (sql) => {
    const rows = await sql`
      update outbox set failure = null, failed_at = null
      where failure is not null and stream = any(${streams}::text[])
        and (${chosen(choice)}::bigint[] is null or id = any(${chosen(choice)}::bigint[]))`;
    return rows.count;
  });
}

/** Removes failed rows of streams that the principal may manage for good. */
export async function discardFailed(pool: Pool, principal: Principal, choice: Choice): Promise<number> {
  const streams = await manageable(pool, principal, choice);
  return pool.run(async (sql) => {
    const rows = await sql`
      delete from outbox
      where failure is not null and stream = any(${streams}::text[])
        and (${chosen(choice)}::bigint[] is null or id = any(${chosen(choice)}::bigint[]))`;
    return rows.count;
  });
}

const chosen = (choice: Choice) => ("ids" in choice ? arrayLiteral(choice.ids) : null);

async function manageable(pool: Pool, principal: Principal, choice: Choice): Promise<string> {
  const rows = await pool.run(
    (sql) => sql<{ stream: string }[]>`
      select distinct stream from outbox
      where failure is not null and (${chosen(choice)}::bigint[] is null or id = any(${chosen(choice)}::bigint[]))`,
  );
  return nameList(rows.map(({ stream }) => stream).filter((stream) => principal.canManage(stream)));
}
