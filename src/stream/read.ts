// Reads a range of the log page by page, one event of it, or how many it holds.
import { eventNotFound, eventRemoved } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import { arrayLiteral } from "../storage/lists.ts";
import { classify } from "../storage/pg-errors.ts";
import type { StoredEvent } from "./event.ts";
import { filterOf, type Page, readPage } from "./page.ts";
import { toFilterProblem } from "./path-filter.ts";
import { type LogReader, type Range, type ReadQuery, requireRead, requireStreams } from "./range.ts";
import { type Cursor, cursorBeforeOffset } from "./resolve.ts";
import { isUnfiltered } from "./selection.ts";
import { readFirstOffset, type StreamHead } from "./stream-head.ts";

/** One page of a range, from a cursor on. Throws `invalid-filter` when the path fails on an event's data. */
export function readRangePage(
  reader: LogReader,
  range: Range,
  cursor: number,
  limit: number,
  budgetMs: number,
  { window = null, signal }: { window?: number | null; signal?: AbortSignal } = {},
): Promise<Page> {
  const { query, streamIds, bound } = range;
  const page = readPage(reader.pool, {
    selection: query.selection,
    streamIds,
    principal: query.principal,
    direction: query.direction,
    cursor,
    bound,
    limit,
    historyEnd: Number.MAX_SAFE_INTEGER,
    budgetMs,
    window,
    signal,
  });
  return page.catch((error: unknown) => {
    throw toFilterProblem(query.selection.where, error);
  });
}

/** The number that `after` takes to go on from a position: an offset of the stream, or the position itself. */
export async function cursorNumber(reader: LogReader, range: Range, page: Page): Promise<number> {
  if (!range.query.single) return page.reached;
  const last = page.events.at(-1);
  if (last !== undefined && last.position === page.reached) return last.offset;
  const forward = range.query.direction === "forward";
  const streamId = (range.streamIds as number[])[0] as number;
  return reader.pool.run(async (sql) => {
    const rows = await sql<{ offset: string }[]>`
      select e."offset" from events e
      where e.stream_id = ${streamId} and ${forward ? sql`e.position <= ${page.reached}` : sql`e.position >= ${page.reached}`}
      order by e.position ${forward ? sql`desc` : sql`asc`} limit 1`;
    // The rows that were looked through can have been removed since.
    if (rows[0] === undefined && forward) return (await readFirstOffset(sql, streamId)) - 1;
    return Number(rows[0]?.offset ?? -1);
  });
}

/** One event. Throws `stream-not-found`, `event-not-found`, `event-removed`, `replay-forbidden`. */
export async function readEvent(
  reader: LogReader,
  principal: Principal,
  name: string,
  offset: number,
  text: string,
): Promise<StoredEvent> {
  requireRead(principal, [name]);
  const { head, cursor } = await reader.pool.run(async (sql) => {
    const [stream] = await requireStreams(sql, [name]);
    const found = stream as StreamHead;
    if (offset > found.lastOffset) throw eventNotFound(name, text);
    if (offset < found.firstOffset) throw eventRemoved(name, text, String(found.firstOffset));
    return { head: found, cursor: await cursorBeforeOffset(sql, found, offset) };
  });
  // Not within the task above: a task that waits for a second connection of its pool can wait for ever.
  const page = await readPage(reader.pool, {
    selection: { streams: [name], types: null, correlation: null, key: null, where: null },
    streamIds: [head.id],
    principal,
    direction: "forward",
    cursor: cursor.position,
    bound: head.lastPosition,
    limit: 1,
    historyEnd: Number.MAX_SAFE_INTEGER,
    budgetMs: 1_000,
  });
  const event = page.events[0];
  if (event !== undefined && event.offset === offset) return event;
  // It was there a moment ago: only a trim or a deletion can have come in between.
  const firstOffset = await reader.pool.run((sql) => readFirstOffset(sql, head.id));
  throw offset < firstOffset ? eventRemoved(name, text, String(firstOffset)) : eventNotFound(name, text);
}

/** How many events a bounded follower will be sent, by what is there now; null when they cannot be counted in time. Throws `invalid-filter`. */
export async function countRange(
  reader: LogReader,
  query: Pick<ReadQuery, "selection" | "single">,
  range: {
    start: Cursor;
    upTo: { kind: keyof Cursor; value: number } | null;
    head: number;
    streamIds: number[] | null;
    historyEnd: number;
  },
  limit: number | null,
): Promise<number | null> {
  const { selection } = query;
  const { start, upTo, head } = range;
  const most = limit ?? Number.MAX_SAFE_INTEGER;
  const end = upTo?.value ?? head;
  // Offsets have no gaps: without a filter there is nothing to count.
  if (query.single && isUnfiltered(selection) && (upTo === null || upTo.kind === "offset"))
    return Math.min(most, Math.max(0, end - start.offset));
  const count = reader.pool.run(async (sql) => {
    const rows = await sql<{ count: string }[]>`
      select count(*) as count from (select from events e join streams s on s.id = e.stream_id
      where e.position > ${start.position} and not e.ephemeral and not s.internal and e."offset" >= s.first_offset
        and (s.replay or e.position > ${range.historyEnd})
        ${upTo === null ? sql`` : upTo.kind === "offset" ? sql`and e."offset" <= ${end}` : sql`and e.position <= ${end}`}
        ${range.streamIds === null ? sql`` : sql`and e.stream_id = any(${arrayLiteral(range.streamIds)}::bigint[])`}
        ${filterOf(sql, selection)} limit ${most}) c`;
    return Number(rows[0]?.count ?? 0);
  });
  return count.catch((error: unknown) => {
    // A replay too long to be counted in time goes on without its total.
    if (classify(error).kind === "unavailable") return null;
    throw toFilterProblem(selection.where, error);
  });
}
