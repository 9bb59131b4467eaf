// The content of dead letters, which outlives the events of the log: as events, as they were.
import { arrayLiteral } from "../storage/lists.ts";
import type { Pool } from "../storage/pool.ts";
import type { StoredEvent } from "../stream/event.ts";
import { readPositions } from "../stream/page.ts";

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
  };
}

/** Events by their positions: those of the log, and dead letters that were put back and whose streams have forgotten them. */
export async function readHandedOut(pool: Pool, positions: readonly number[]): Promise<StoredEvent[]> {
  const events = await readPositions(pool, positions);
  if (events.length === positions.length) return events;
  const found = new Set(events.map((event) => event.position));
  const missing = positions.filter((position) => !found.has(position));
  const rows = await pool.run(
    (sql) => sql<ContentColumns[]>`
      select distinct on (r.position) r.position, r.stream, r."offset", r.event_id, r.type, r.recorded_at, r.schema_version,
        r.correlation_id, r.partition_key, r.attributes, r.data, r.data_binary
      from replayed_letters r where r.position = any(${arrayLiteral(missing)}::bigint[])
      order by r.position`,
  );
  return [...events, ...rows.map(eventOf)];
}
