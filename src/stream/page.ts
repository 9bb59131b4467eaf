// Reads pages of the log, by position, forward or backward, filtered.
import type { Principal } from "../base/principal.ts";
import { arrayLiteral, textList } from "../storage/lists.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import type { StoredEvent } from "./event.ts";
import { isUnfiltered, type Selection } from "./selection.ts";

export type PageRequest = {
  selection: Selection;
  /** Ids of the selection's streams; null for all persistent ones. */
  streamIds: readonly number[] | null;
  principal: Principal;
  direction: "forward" | "backward";
  /** Where the last page ended, exclusive. */
  cursor: number;
  /** The last position that may be read, inclusive; it must be committed, or a page could pass over what is not yet visible. */
  bound: number;
  limit: number;
  /** Up to this position, streams with `replay: false` are passed over. */
  historyEnd: number;
  /** Time after which a page that finds little ends early, in milliseconds. */
  budgetMs: number;
  signal?: AbortSignal | undefined;
};

export type Page = {
  events: StoredEvent[];
  /** The cursor of the next page: everything up to here has been looked at. */
  reached: number;
  /** Nothing is left up to the bound. */
  done: boolean;
};

export type EventRow = {
  position: string;
  stream: string;
  offset: string;
  recorded_at: Date;
  id: string;
  type: string;
  schema_version: number;
  correlation_id: string | null;
  partition_key: string | null;
  attributes: string;
  data: string | null;
  data_binary: Uint8Array | null;
};

export function fromRow(row: EventRow): StoredEvent {
  return {
    position: Number(row.position),
    stream: row.stream,
    offset: Number(row.offset),
    recordedTime: row.recorded_at.toISOString(),
    id: row.id,
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

const firstWindow = 20_000;
const maxWindow = 50_000_000;
// A statement of about this length keeps a filtered scan responsive without many round trips.
const slowWindowMs = 250;
const quickWindowMs = 50;

/**
 * Reads the next page. A filter that finds little scans window by window of positions, whose width follows the time a
 * window takes, so that no statement runs long however sparse the matches are.
 */
export async function readPage(pool: Pool, request: PageRequest): Promise<Page> {
  const { direction, bound, limit } = request;
  const forward = direction === "forward";
  const windowed = !isUnfiltered(request.selection) && request.selection.correlation === null;
  const deadline = performance.now() + request.budgetMs;
  const events: StoredEvent[] = [];
  let { cursor } = request;
  let window = windowed ? firstWindow : Number.POSITIVE_INFINITY;
  const left = () => (forward ? bound - cursor : cursor - bound);

  while (left() > 0 && events.length < limit) {
    request.signal?.throwIfAborted();
    const width = Math.min(window, left());
    const end = forward ? cursor + width : cursor - width;
    const started = performance.now();
    const wanted = limit - events.length;
    const rows = await pool.run((sql) => selectRows(sql, request, cursor, end, wanted), request.signal);
    for (const row of rows) if (request.principal.canRead(row.stream)) events.push(fromRow(row));
    const last = rows.at(-1);
    cursor = rows.length === wanted && last !== undefined ? Number(last.position) : end;
    const tookMs = performance.now() - started;
    if (tookMs < quickWindowMs) window = Math.min(window * 4, maxWindow);
    else if (tookMs > slowWindowMs) window = Math.max(Math.floor(window / 2), 1_000);
    if (performance.now() > deadline) break;
  }
  return { events, reached: cursor, done: left() <= 0 };
}

function selectRows(sql: Sql, request: PageRequest, cursor: number, end: number, limit: number) {
  const { selection, streamIds, historyEnd } = request;
  const forward = request.direction === "forward";
  const order = forward ? sql`asc` : sql`desc`;
  const range = forward
    ? sql`e.position > ${cursor} and e.position <= ${end}`
    : sql`e.position < ${cursor} and e.position >= ${end}`;
  const filters = sql`
    ${selection.types === null ? sql`` : sql`and e.type = any(string_to_array(${textList(selection.types)}, E'\\x1e'))`}
    ${selection.correlation === null ? sql`` : sql`and e.correlation_id = ${selection.correlation}`}
    ${selection.key === null ? sql`` : sql`and e.partition_key = ${selection.key}`}
    ${selection.where === null ? sql`` : sql`and coalesce(e.data::jsonb @@ ${selection.where}::text::jsonpath, false)`}`;
  const columns = sql`
    e.position, s.name as stream, e."offset", e.recorded_at, e.id, e.type, e.schema_version, e.correlation_id, e.partition_key,
    e.attributes::text as attributes, e.data::text as data, e.data_binary`;
  if (streamIds === null) {
    return sql<EventRow[]>`
      select ${columns}
      from events e join streams s on s.id = e.stream_id
      where ${range} and not e.ephemeral and not s.internal and e."offset" >= s.first_offset
        and (s.replay or e.position > ${historyEnd}) ${filters}
      order by e.position ${order} limit ${limit}`;
  }
  // One index scan a stream, merged: the cost follows the page, not the length of the log between its events.
  return sql<EventRow[]>`
    select e.* from (
      select ${columns} from streams s cross join lateral (
        select e.* from events e
        where e.stream_id = s.id and ${range} and e."offset" >= s.first_offset
          and (s.replay or e.position > ${historyEnd}) ${filters}
        order by e.position ${order} limit ${limit}
      ) e
      where s.id = any(${arrayLiteral(streamIds)}::bigint[])
    ) e
    order by e.position ${order} limit ${limit}`;
}
