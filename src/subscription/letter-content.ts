// The content of dead letters, which outlives the events of the log: as events, as they were.
import { arrayLiteral } from "../storage/lists.ts";
import type { Pool } from "../storage/pool.ts";
import { type StoredEvent, sizeOf } from "../stream/event.ts";
import { type ReadWithin, readPositionsWithin } from "../stream/page.ts";

export type ContentColumns = {
  position: string;
  stream: string;
  offset: string;
  event_id: string;
  type: string;
  recorded_at: string;
  schema_version: number;
  correlation_id: string | null;
  partition_key: string | null;
  attributes: string;
  data: string | null;
  data_binary: Uint8Array | null;
};

export function eventOf(row: ContentColumns): StoredEvent {
  return {
    position: Number(row.position),
    stream: row.stream,
    // Who reads it was shown it before.
    ephemeral: true,
    offset: Number(row.offset),
    recordedTime: row.recorded_at,
    id: row.event_id,
    type: row.type,
    schemaVersion: row.schema_version,
    correlationId: row.correlation_id,
    partitionKey: row.partition_key,
    attributes: row.attributes,
    data: row.data,
    binary: row.data_binary,
    line: null,
    lineRevision: -1,
    shown: null,
  };
}

/**
 * Events by their positions: those of the log, and dead letters that were put back and whose streams have forgotten them. The
 * first of the list that is there is read in any case, of the others as many as fit into `maxBytes`.
 */
export async function readHandedOut(pool: Pool, positions: readonly number[], maxBytes: number): Promise<ReadWithin> {
  const { events, unread } = await readPositionsWithin(pool, positions, maxBytes);
  if (events.length + unread.length === positions.length) return { events, unread };
  const found = new Set([...events, ...unread].map((event) => event.position));
  const missing = positions.filter((position) => !found.has(position));
  let bytesLeft = maxBytes;
  for (const event of events) bytesLeft -= sizeOf(event);
  const rows = await pool.run(
    (sql) => sql<(ContentColumns & { fits: boolean })[]>`
      select l.position, l.stream, l."offset", l.event_id, l.type, l.recorded_at, l.schema_version, l.correlation_id, l.partition_key,
        l.bytes_before < ${Math.max(1, bytesLeft)} as fits,
        case when l.bytes_before < ${Math.max(1, bytesLeft)} then l.attributes end as attributes,
        case when l.bytes_before < ${Math.max(1, bytesLeft)} then l.data end as data,
        case when l.bytes_before < ${Math.max(1, bytesLeft)} then l.data_binary end as data_binary
      from (
        select r.*, sum(b.bytes) over (order by u.n rows unbounded preceding) - b.bytes as bytes_before
        from unnest(${arrayLiteral(missing)}::bigint[]) with ordinality u(position, n)
          cross join lateral (select rl.* from replayed_letters rl where rl.position = u.position limit 1) r
          cross join lateral (
            select octet_length(r.attributes::text) + coalesce(octet_length(r.data::text), octet_length(r.data_binary), 0) as bytes
          ) b
      ) l
      order by l.position`,
  );
  return {
    events: [...events, ...rows.filter((row) => row.fits).map(eventOf)],
    unread: [
      ...unread,
      ...rows
        .filter((row) => !row.fits)
        .map((row) => ({ position: Number(row.position), partitionKey: row.partition_key })),
    ],
  };
}
