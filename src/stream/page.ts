// Reads pages of the log, by position, forward or backward, filtered.
import { invalidFilter } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import { arrayLiteral, separator, textList } from "../storage/lists.ts";
import { isTooSlow } from "../storage/pg-errors.ts";
import type { Fragment, Pool, Sql } from "../storage/pool.ts";
import { correlatedPositions } from "./correlated-positions.ts";
import type { StoredEvent } from "./event.ts";
import type { Selection } from "./selection.ts";

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
  /** Bytes of events in the page, unless one event alone is larger. */
  maxBytes?: number | undefined;
  /** Up to this position, streams with `replay: false` are passed over. */
  historyEnd: number;
  /** Time after which a page that finds little ends early, in milliseconds. */
  budgetMs: number;
  /** The last page's window. */
  window?: number | null;
  signal?: AbortSignal | undefined;
};

export type Page = {
  events: StoredEvent[];
  /** The cursor of the next page: everything up to here has been looked at. */
  reached: number;
  /** Nothing is left up to the bound. */
  done: boolean;
  /** Positions that a statement can look through, once one has run into the time limit; null before. */
  window: number | null;
};

export type EventRow = {
  position: string;
  stream: string;
  ephemeral: boolean;
  offset: string;
  recorded_at: string;
  id: string;
  type: string;
  schema_version: number;
  correlation_id: string | null;
  partition_key: string | null;
  attributes: string;
  data: string | null;
  data_binary: Uint8Array | null;
  bytes: number;
};

export function fromRow(row: EventRow): StoredEvent {
  return {
    position: Number(row.position),
    stream: row.stream,
    ephemeral: row.ephemeral,
    offset: Number(row.offset),
    recordedTime: row.recorded_at,
    id: row.id,
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

/** Bytes of events in one page, where the request names none. */
const pageBytes = 2_000_000;
const firstWindow = 20_000;
// A payload predicate can cost anything on each event; a window that proves quick is soon a wide one.
const firstPayloadWindow = 100;
const maxWindow = 50_000_000;
// Of a correlation in all streams, the window counts its own events.
const firstCorrelatedWindow = 1_000;
const maxCorrelatedWindow = 10_000;
// A statement of about this length keeps a filtered scan responsive without many round trips.
const slowWindowMs = 250;
const quickWindowMs = 50;

/**
 * Reads the next page. A filter that finds little scans window by window of positions, or of a correlation's events, whose
 * width follows the time a window takes, so that no statement runs long however sparse the matches are.
 */
export async function readPage(pool: Pool, request: PageRequest): Promise<Page> {
  const { direction, bound, limit } = request;
  const forward = direction === "forward";
  const correlated = request.streamIds === null ? request.selection.correlation : null;
  const deadline = performance.now() + request.budgetMs;
  const events: StoredEvent[] = [];
  let { cursor } = request;
  let bytesLeft = request.maxBytes ?? pageBytes;
  let window = Math.min(firstWindowOf(request), request.window ?? Number.POSITIVE_INFINITY);
  let wasTooSlow = (request.window ?? null) !== null;
  const left = () => (forward ? bound - cursor : cursor - bound);

  while (left() > 0 && events.length < limit && bytesLeft > 0) {
    request.signal?.throwIfAborted();
    const wanted = limit - events.length;
    const width = correlated === null ? Math.min(window, left()) : window;
    let end = correlated !== null ? bound : forward ? cursor + width : cursor - width;
    let started = 0;
    let rows: EventRow[];
    try {
      rows = await pool.run(async (sql) => {
        started = performance.now();
        if (correlated === null) return selectRows(sql, request, cursor, end, wanted, bytesLeft);
        const positions = await correlatedPositions(sql, correlated, cursor, end, forward, width);
        if (positions.length === width) end = positions.at(-1) as number;
        return positions.length === 0 ? [] : selectAt(sql, request, positions, wanted, bytesLeft);
      }, request.signal);
    } catch (error) {
      // More than the time limit allows for: the same in smaller pieces, or the reader would never get beyond this place.
      if (!isTooSlow(error)) throw error;
      wasTooSlow = true;
      const { where } = request.selection;
      if (width === 1) throw where === null ? error : tooSlowAt(where, end);
      window = Math.max(Math.floor(width / 8), 1);
      if (performance.now() > deadline && cursor !== request.cursor) break;
      continue;
    }
    for (const row of rows) {
      if (request.principal.canRead(row.stream)) events.push(fromRow(row));
    }
    cursor = reachedBy(rows, wanted, bytesLeft) ?? end;
    for (const row of rows) bytesLeft -= row.bytes;
    const tookMs = performance.now() - started;
    if (tookMs < quickWindowMs) window = Math.min(window * 4, correlated === null ? maxWindow : maxCorrelatedWindow);
    else if (tookMs > slowWindowMs) window = Math.max(Math.floor(window / 2), 1);
    if (performance.now() > deadline) break;
  }
  return { events, reached: cursor, done: left() <= 0, window: wasTooSlow ? window : null };
}

function firstWindowOf({ selection, streamIds, limit }: PageRequest): number {
  const { types, correlation, key, subject, where } = selection;
  if (where !== null) return firstPayloadWindow;
  const isFiltered = types !== null || key !== null || subject !== undefined;
  if (correlation !== null && streamIds === null) return isFiltered ? firstCorrelatedWindow : limit;
  return isFiltered && correlation === null ? firstWindow : Number.POSITIVE_INFINITY;
}

function tooSlowAt(where: string, position: number) {
  return invalidFilter(
    where,
    `The predicate takes longer than the database's time limit on the event at position ${position}`,
  );
}

// A payload that is stored apart is fetched only when its row is sent, so for the rows that fit into the page.
function columns(sql: Sql) {
  return sql`
    e.position, e.stream_id, e.ephemeral, e."offset", e.recorded_at, e.id, e.type, e.schema_version, e.correlation_id, e.partition_key, e.bytes,
    e.attributes, e.data, e.data_binary`;
}

/** The rows of an inner query that fit into `maxBytes`, at least one, with their payloads. */
function bounded(sql: Sql, inner: Fragment, order: Fragment, maxBytes: number) {
  return sql<EventRow[]>`
    select e.position, e.stream, e.ephemeral, e."offset", e.recorded_at, e.id, e.type, e.schema_version, e.correlation_id,
           e.partition_key, e.attributes, e.data, e.data_binary, e.bytes
    from (select i.*, sum(i.bytes) over (order by i.position ${order} rows unbounded preceding) - i.bytes as bytes_before from (${inner}) i) e
    where e.bytes_before < ${maxBytes}
    order by e.position ${order}`;
}

function selectRows(sql: Sql, request: PageRequest, cursor: number, end: number, limit: number, maxBytes: number) {
  const { selection, streamIds, historyEnd } = request;
  const forward = request.direction === "forward";
  const order = forward ? sql`asc` : sql`desc`;
  const range = forward
    ? sql`e.position > ${cursor} and e.position <= ${end}`
    : sql`e.position < ${cursor} and e.position >= ${end}`;
  const filters = filterOf(sql, selection);
  if (streamIds === null) {
    return bounded(
      sql,
      sql`
        select ${columns(sql)}, s.name as stream
        from events e join streams s on s.id = e.stream_id
        where ${range} and not e.ephemeral and not s.internal and e."offset" >= s.first_offset
          and (s.replay or e.position > ${historyEnd}) ${filters}
        order by e.position ${order} limit ${limit}`,
      order,
      maxBytes,
    );
  }
  // One index scan a stream, merged: the cost follows the page, not the length of the log between its events.
  return bounded(
    sql,
    sql`
      select m.*, s.name as stream
      from streams s cross join lateral (
        select ${columns(sql)} from events e
        where e.stream_id = s.id and ${range} and e."offset" >= s.first_offset
          and (s.replay or e.position > ${historyEnd}) ${filters}
        order by e.position ${order} limit ${limit}
      ) m
      where s.id = any(${arrayLiteral(streamIds)}::bigint[])
      order by m.position ${order} limit ${limit}`,
    order,
    maxBytes,
  );
}

/** What matches among these positions of persistent events, without asking for the correlation again. */
function selectAt(sql: Sql, request: PageRequest, positions: readonly number[], limit: number, maxBytes: number) {
  const order = request.direction === "forward" ? sql`asc` : sql`desc`;
  return bounded(
    sql,
    sql`
      select ${columns(sql)}, s.name as stream
      from unnest(${arrayLiteral(positions)}::bigint[]) u(position)
        -- The offset keeps these probes from becoming a join with all events.
        cross join lateral (select ev.* from events ev where ev.position = u.position and not ev.ephemeral offset 0) e
        join streams s on s.id = e.stream_id
      where not s.internal and e."offset" >= s.first_offset
        and (s.replay or e.position > ${request.historyEnd}) ${filterOf(sql, request.selection)}
      order by e.position ${order} limit ${limit}`,
    order,
    maxBytes,
  );
}

/** The conditions of a selection, but for its streams; each begins with `and`. */
export function filterOf(sql: Sql, selection: Selection) {
  return sql`
    ${selection.types === null ? sql`` : sql`and e.type = any(string_to_array(${textList(selection.types)}, ${separator}))`}
    ${selection.correlation === null ? sql`` : sql`and e.correlation_id = ${selection.correlation}`}
    ${selection.key === null ? sql`` : sql`and e.partition_key = ${selection.key}`}
    ${selection.subject === undefined ? sql`` : sql`and e.attributes ->> 'subject' = ${selection.subject}`}
    ${selection.where === null ? sql`` : sql`and ${predicate(sql, selection.where)}`}`;
}

/** For a WHERE clause: not true (false or null) where the data does not satisfy the predicate, or there is none. */
export function predicate(sql: Sql, where: string) {
  return sql`e.data::jsonb @@ ${where}::text::jsonpath`;
}

/** The position of the last row when the rows may have been cut by their limit or their bytes; null when they were not. */
function reachedBy(rows: readonly EventRow[], limit: number, maxBytes: number): number | null {
  let bytes = 0;
  for (const row of rows) bytes += row.bytes;
  return rows.length === limit || bytes >= maxBytes ? Number(rows.at(-1)?.position) : null;
}

/** Everything that was appended after a position, control records too: what a tail reads. */
export async function readTail(
  pool: Pool,
  after: number,
  upTo: number,
  limit: number,
): Promise<{ events: StoredEvent[]; reached: number }> {
  const rows = await pool.run((sql) =>
    bounded(
      sql,
      sql`
        select ${columns(sql)}, s.name as stream
        from events e join streams s on s.id = e.stream_id
        where e.position > ${after} and e.position <= ${upTo} and e."offset" >= s.first_offset
        order by e.position limit ${limit}`,
      sql`asc`,
      pageBytes,
    ),
  );
  return { events: rows.map(fromRow), reached: reachedBy(rows, limit, pageBytes) ?? upTo };
}

/** Events by their positions, in order; those that are trimmed or deleted are missing. */
export async function readPositions(pool: Pool, positions: readonly number[]): Promise<StoredEvent[]> {
  return (await readPositionsWithin(pool, positions, Number.MAX_SAFE_INTEGER)).events;
}

/** Events of which as many are read as fit into a bound, and at least one; and the others that are there, unread. */
export type ReadWithin = { events: StoredEvent[]; unread: Pick<StoredEvent, "position" | "partitionKey">[] };

/** The same as `readPositions`, of the first of the list that fit into `maxBytes`. */
export async function readPositionsWithin(
  pool: Pool,
  positions: readonly number[],
  maxBytes: number,
): Promise<ReadWithin> {
  const rows = await pool.run(
    (sql) => sql<(EventRow & { fits: boolean })[]>`
      select e.position, e.stream, e.ephemeral, e."offset", e.recorded_at, e.id, e.type, e.schema_version, e.correlation_id,
             e.partition_key, e.bytes, e.bytes_before < ${maxBytes} as fits,
             case when e.bytes_before < ${maxBytes} then e.attributes end as attributes,
             case when e.bytes_before < ${maxBytes} then e.data end as data,
             case when e.bytes_before < ${maxBytes} then e.data_binary end as data_binary
      from (
        select ${columns(sql)}, s.name as stream, sum(e.bytes) over (order by u.n rows unbounded preceding) - e.bytes as bytes_before
        from unnest(${arrayLiteral(positions)}::bigint[]) with ordinality u(position, n)
          cross join lateral (select ev.* from events ev where ev.position = u.position) e
          join streams s on s.id = e.stream_id
        where e."offset" >= s.first_offset
      ) e
      order by e.position`,
  );
  return {
    events: rows.filter((row) => row.fits).map(fromRow),
    unread: rows
      .filter((row) => !row.fits)
      .map((row) => ({ position: Number(row.position), partitionKey: row.partition_key })),
  };
}
