// Finds where a follower begins: from a place or after a cursor, in streams that may not exist yet.
import { replayForbidden } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import type { Sql } from "../storage/pool.ts";
import { checkPath } from "./path-filter.ts";
import type { Place } from "./place.ts";
import { cursorBehind, type LogReader, lastPosition, requireRead } from "./range.ts";
import { type Cursor, cursorBefore, cursorBeforeOffset, positionOf, readHead, unknownEvent } from "./resolve.ts";
import type { Selection } from "./selection.ts";
import { readLastOffsetUpTo, readLogId, readStreamHeads, type StreamHead } from "./stream-head.ts";

export type FollowQuery = {
  selection: Selection;
  single: boolean;
  from: Place | null;
  /** The last number that the reader has seen: Last-Event-ID, or `after`. */
  after: number | null;
  to: Place | null;
  principal: Principal;
};

export type FollowStart = {
  start: Cursor;
  historyEnd: number;
  /** The head of the log. */
  logHead: number;
  upTo: { kind: keyof Cursor; value: number } | null;
  head: number;
  logId: string;
  /** The cursor lies beyond the head: it belongs to another history of the log. */
  reset: boolean;
  /** Offsets that were asked for and are gone, or that a stream without replay does not give back. */
  gap: { from: number; to: number } | null;
  streamIds: number[] | null;
};

/** Throws `forbidden`, `replay-forbidden`, `invalid-place`, `invalid-filter`. */
export async function resolveFollow(reader: LogReader, query: FollowQuery): Promise<FollowStart> {
  const { selection } = query;
  requireRead(query.principal, selection.streams);
  if (selection.where !== null) await checkPath(reader.pool, selection.where);
  return reader.pool.run(async (sql) => {
    // The head first: a stream that is not there yet when it is looked for has all its events behind that head.
    const head = await readHead(sql, reader.knownHead());
    const logId = await readLogId(sql);
    const streams = selection.streams === null ? null : await readStreamHeads(sql, selection.streams);
    return query.single
      ? startSingle(sql, query, streams?.[0], head, logId)
      : startLog(sql, query, streams, head, logId);
  });
}

async function startSingle(
  sql: Sql,
  query: FollowQuery,
  stream: StreamHead | undefined,
  head: number,
  logId: string,
): Promise<FollowStart> {
  const { from, after, to } = query;
  const last: Cursor = { position: Math.max(head, stream?.lastPosition ?? -1), offset: stream?.lastOffset ?? -1 };
  const common = {
    historyEnd: -1,
    logHead: head,
    head: last.offset,
    logId,
    reset: false,
    gap: null,
    streamIds: stream === undefined ? null : [stream.id],
  };
  const upTo = to === null ? null : await endOfSingle(sql, to, stream, head);
  const first = after !== null ? after + 1 : from?.kind === "number" ? from.value : -1;
  if (first > last.offset + 1) return { ...common, start: last, upTo, reset: true };
  if (stream === undefined || stream.lastOffset < 0) {
    if (after === null && from?.kind === "event") throw unknownEvent("from", from.id);
    return { ...common, start: last, upTo };
  }
  if (after !== null && !stream.configuration.replay && after < stream.lastOffset) {
    return { ...common, start: last, upTo, gap: { from: after + 1, to: stream.lastOffset } };
  }
  if (first >= 0 && first < stream.firstOffset && stream.configuration.replay) {
    const gap = { from: first, to: stream.firstOffset - 1 };
    return { ...common, start: await cursorBeforeOffset(sql, stream, stream.firstOffset), upTo, gap };
  }
  if (after !== null) return { ...common, start: await cursorBeforeOffset(sql, stream, first), upTo };
  if (from === null || from.kind === "latest") return { ...common, start: last, upTo };
  const start = await cursorBefore(sql, stream, from, head, "from");
  if (!stream.configuration.replay && start.offset < stream.lastOffset) throw replayForbidden(stream.name);
  return { ...common, start, upTo };
}

async function endOfSingle(
  sql: Sql,
  to: Place,
  stream: StreamHead | undefined,
  head: number,
): Promise<FollowStart["upTo"]> {
  // An offset can be waited for; every other place is found now.
  if (to.kind === "number") return { kind: "offset", value: to.value };
  if (stream === undefined || stream.lastOffset < 0) return { kind: "position", value: head };
  return { kind: "position", value: (await cursorBehind(sql, stream, to, head, "to")).position };
}

async function startLog(
  sql: Sql,
  query: FollowQuery,
  streams: StreamHead[] | null,
  head: number,
  logId: string,
): Promise<FollowStart> {
  const { from, after, to } = query;
  const silent = streams?.find((stream) => !stream.configuration.replay);
  if (silent !== undefined && after === null && from !== null && from.kind !== "latest")
    throw replayForbidden(silent.name);
  const streamIds = streams?.map((stream) => stream.id) ?? null;
  const upTo: FollowStart["upTo"] =
    to === null
      ? null
      : {
          kind: "position",
          value: to.kind === "number" ? to.value : await lastPosition(sql, to, head, "to", streamIds),
        };
  const common = {
    upTo,
    head,
    logHead: head,
    logId,
    gap: null,
    streamIds,
    historyEnd: await historyEnd(sql, streams, head),
  };
  const at = (position: number): Cursor => ({ position, offset: position });
  if (after !== null) return { ...common, start: at(Math.min(after, head)), reset: after > head };
  if (from === null || from.kind === "latest") return { ...common, start: at(head), reset: false };
  if (from.kind === "number" && from.value > head + 1) return { ...common, start: at(head), reset: true };
  return { ...common, start: at((await positionOf(sql, from, head, "from", streamIds)) - 1), reset: false };
}

/** Up to where streams without replay are passed over; nowhere when there is no such stream. */
async function historyEnd(sql: Sql, streams: StreamHead[] | null, head: number): Promise<number> {
  if (streams !== null) return streams.every((stream) => stream.configuration.replay) ? -1 : head;
  const rows = await sql<
    { some: boolean }[]
  >`select exists (select from streams where not replay and not ephemeral) as some`;
  return rows[0]?.some === true ? head : -1;
}

/** Where one stream stands at a position of the log, and the head of the log. A stream that is not there yet stands before its first event. */
export async function locateStream(
  sql: Sql,
  name: string,
  position: number,
  knownHead: number,
): Promise<{ cursor: Cursor; head: number }> {
  const head = await readHead(sql, knownHead);
  const [stream] = await readStreamHeads(sql, [name]);
  // Of a stream that stands at its end, the last rows may be gone already.
  const offset =
    stream === undefined
      ? -1
      : position >= stream.lastPosition
        ? stream.lastOffset
        : await readLastOffsetUpTo(sql, stream.id, position);
  return { cursor: { position, offset }, head };
}
