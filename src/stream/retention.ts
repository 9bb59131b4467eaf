// Finds the streams that have something to forget, by their retention or because it is settled, and trims them.
import { classify } from "../storage/pg-errors.ts";
import type { Pool } from "../storage/pool.ts";

/** Streams that have to be trimmed, as the database found them; its lists go back to it as they came. */
export type DueStreams = {
  /** The last stream that was looked at; null when there was none behind the one to begin after. */
  reached: number | null;
  count: number;
  lists: Record<"ids" | "revisions" | "offsets" | "bytes" | "last_positions" | "floors", string>;
};

export type Trimmed = {
  /** Events that were hidden. */
  events: number;
  /** Position of the control record; null when nothing had to be trimmed any more. */
  position: number | null;
};

/** Looks through the next streams that forget, in the order of their ids; locks nothing. */
export async function findDueStreams(pool: Pool, after: number, limit: number, most: number): Promise<DueStreams> {
  return pool.run(async (sql) => {
    const [row] = await sql<(DueStreams["lists"] & { reached: string | null; count: number })[]>`
      select *, cardinality(ids) as count from streams_to_trim(${after}, ${limit}, ${most})`;
    const { reached, count, ...lists } = row as NonNullable<typeof row>;
    return { reached: reached === null ? null : Number(reached), count, lists };
  });
}

const maxAttempts = 5;

/**
 * Trims streams, all in one transaction. The control record takes a position: `onNoPartition` makes room where there is
 * none. Ids of events that go within one `periodMs` are forgotten together.
 */
export async function trimStreams(
  pool: Pool,
  { lists }: DueStreams,
  periodMs: number,
  onNoPartition: () => Promise<void>,
): Promise<Trimmed> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await pool.run(async (sql) => {
        const [row] = await sql<{ trimmed: string; position: string | null }[]>`
          select trimmed, position from streams_trim(
            ${lists.ids}::bigint[], ${lists.revisions}::int[], ${lists.offsets}::bigint[], ${lists.bytes}::bigint[],
            ${lists.last_positions}::bigint[], ${lists.floors}::bigint[], ${`${periodMs} ms`}::text::interval)`;
        const position = row?.position ?? null;
        return { events: Number(row?.trimmed ?? 0), position: position === null ? null : Number(position) };
      });
    } catch (error) {
      const { kind } = classify(error);
      if ((kind !== "no-partition" && kind !== "retry") || attempt === maxAttempts) throw error;
      if (kind === "no-partition") await onNoPartition();
    }
  }
}

/**
 * The service's own records before a position, if all are older than so many milliseconds, as a stream that has to be
 * trimmed: whoever had to obey them has done so.
 */
export async function findDueRecords(pool: Pool, before: number, recordsMs: number): Promise<DueStreams> {
  return pool.run(async (sql) => {
    const [row] = await sql<(DueStreams["lists"] & { count: number })[]>`
      select count(*)::int as count, array_agg(s.id) as ids, array_agg(s.revision) as revisions,
             array_agg(coalesce(e."offset", h.last_offset + 1)) as offsets,
             array_agg(coalesce(e.bytes_before, h.bytes + s.first_bytes)) as bytes,
             array_agg(case when e."offset" is null then h.last_position end) as last_positions,
             array_agg(null::bigint) as floors
      from streams s join stream_heads h on h.id = s.id
        cross join lateral stream_event_from(s.id, false, ${before}) e
        cross join lateral (
          select r.recorded_at from events_persistent r
          where r.stream_id = s.id and r.position < ${before} order by r.position desc limit 1
        ) newest
      where s.internal and s.first_offset < coalesce(e."offset", h.last_offset + 1)
        and newest.recorded_at < clock_timestamp() - ${`${recordsMs} ms`}::text::interval`;
    const { count, ...lists } = row as NonNullable<typeof row>;
    return { reached: null, count, lists };
  });
}
