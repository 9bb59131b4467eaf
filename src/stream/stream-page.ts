// Reads one stream by offsets, together with where it begins and ends, and with a snapshot to begin behind.
import type { Pool } from "../storage/pool.ts";
import type { StoredEvent } from "./event.ts";
import { type EventRow, fromRow } from "./page.ts";

/** A piece of a stream, and the stream, as of one moment. */
export type StreamPage = {
  /** First offset of the stream's present life: 0, or the one behind its last deletion. */
  bornOffset: number;
  /** First offset that is not trimmed or deleted. */
  firstOffset: number;
  /** -1 before the first event. */
  lastOffset: number;
  logId: string;
  /** The snapshot behind which the events begin; null when there is none that fits, or none was asked for. */
  snapshot: StreamState | null;
  events: StoredEvent[];
};

/** The state of a stream after the event at an offset, as JSON text. */
export type StreamState = { offset: number; position: number; state: string };

export type StreamPageRequest = {
  stream: string;
  /** The first offset that is wanted. */
  from: number;
  /** A position that the event at `from` does not lie before. */
  fromPosition: number;
  /** Begins behind the snapshot of this owner instead, if it has this tag. */
  snapshot: { owner: string; tag: string } | null;
  limit: number;
  maxBytes: number;
};

type Row = { [Column in keyof EventRow]: EventRow[Column] | null } & {
  born_offset: string;
  first_offset: string;
  last_offset: string;
  log_id: string;
  snapshot_offset: string | null;
  snapshot_position: string | null;
  snapshot_state: string | null;
};

/** One page, in the order of offsets; null of a name that never was a stream. */
export async function readStreamPage(pool: Pool, request: StreamPageRequest): Promise<StreamPage | null> {
  const { stream, from, fromPosition, snapshot, limit, maxBytes } = request;
  const rows = await pool.run(
    (sql) => sql<Row[]>`
      select s.born_offset, h.first_offset, h.last_offset, h.log_id,
             n."offset" as snapshot_offset, n.position as snapshot_position,
             -- Once is enough.
             case when e."offset" is null or e.bytes_before = 0 then n.state end as snapshot_state,
             h.name as stream, h.ephemeral, e.position, e."offset", e.recorded_at, e.id, e.type, e.schema_version,
             e.correlation_id, e.partition_key, e.bytes, e.attributes, e.data, e.data_binary
      from stream_heads h
        join streams s using (id)
        left join snapshots n
          on n.stream_id = h.id and n.owner = ${snapshot?.owner ?? null} and n.tag = ${snapshot?.tag ?? null}
            and n."offset" >= s.born_offset and n.state is not null
        left join lateral (
          select p.*, sum(p.bytes) over (order by p."offset" rows unbounded preceding) - p.bytes as bytes_before
          from (
            select ev.* from events ev
            where ev.stream_id = h.id and ev."offset" >= greatest(coalesce(n."offset" + 1, ${from}), h.first_offset)
              and ev.position >= coalesce(n.position, ${fromPosition})
            order by ev."offset" limit ${limit}
          ) p
        ) e on e.bytes_before < ${maxBytes}
      where h.name = ${stream} and not h.internal
      order by e."offset"`,
  );
  const first = rows[0];
  if (first === undefined) return null;
  return {
    bornOffset: Number(first.born_offset),
    firstOffset: Number(first.first_offset),
    lastOffset: Number(first.last_offset),
    logId: first.log_id,
    snapshot:
      first.snapshot_state === null
        ? null
        : {
            offset: Number(first.snapshot_offset),
            position: Number(first.snapshot_position),
            state: first.snapshot_state,
          },
    events: rows.filter((row) => row.offset !== null).map((row) => fromRow(row as EventRow)),
  };
}
