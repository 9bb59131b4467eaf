// Finds where a bounded read of the log begins and ends: its places, in one stream or several, forward or backward.
import { cursorBeyondHead, forbidden, replayForbidden, streamNotFound } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { checkPath } from "./path-filter.ts";
import type { Place } from "./place.ts";
import { type Cursor, cursorBefore, cursorBeforeOffset, positionOf, readHead } from "./resolve.ts";
import type { Selection } from "./selection.ts";
import { readLogId, readStreamHeads, type StreamHead } from "./stream-head.ts";

/** What a request asks of the log. */
export type ReadQuery = {
  selection: Selection;
  /** One stream is read, by its offsets; else the log, by its positions. */
  single: boolean;
  from: Place | null;
  /** Exclusive: the number where the last page ended. */
  after: number | null;
  to: Place | null;
  direction: "forward" | "backward";
  principal: Principal;
};

/** A query with its places found. */
export type Range = {
  query: ReadQuery;
  streamIds: number[] | null;
  /** Where reading starts, exclusive in its direction. */
  start: Cursor;
  /** The last position to read, inclusive. */
  bound: number;
  /** Last offset of the stream, or last position of the log. */
  head: number;
};

export type LogReader = {
  pool: Pool;
  /** A position that is known to be committed; bounds the search for the head. */
  knownHead: () => number;
};

/** Refuses streams that the principal may not read. Throws `forbidden`. */
export function requireRead(principal: Principal, streams: readonly string[] | null): void {
  const refused = streams?.find((name) => !principal.canRead(name));
  if (refused !== undefined) throw forbidden(`Reading stream ${refused} is not allowed`);
}

/**
 * Finds where a bounded read begins and ends: at the head of this moment at the latest. Throws `stream-not-found`,
 * `replay-forbidden`, `forbidden`, `invalid-place`, `invalid-filter`, `cursor-beyond-head`.
 */
export async function resolveRange(reader: LogReader, query: ReadQuery): Promise<Range> {
  const { selection, principal } = query;
  requireRead(principal, selection.streams);
  if (selection.where !== null) await checkPath(reader.pool, selection.where);
  return reader.pool.run(async (sql) => {
    const head = await readHead(sql, reader.knownHead());
    const streams = selection.streams === null ? null : await requireStreams(sql, selection.streams);
    if (query.single) return resolveSingle(sql, query, (streams as StreamHead[])[0] as StreamHead, head);
    const streamIds = streams?.map((stream) => stream.id) ?? null;
    const forward = query.direction === "forward";
    const upper = (place: Place | null, parameter: string) => lastPosition(sql, place, head, parameter, streamIds);
    const lower = (place: Place | null, parameter: string) =>
      place === null ? Promise.resolve(0) : positionOf(sql, place, head, parameter, streamIds);
    if (query.after !== null && query.after > head)
      throw cursorBeyondHead(String(query.after), String(head), await readLogId(sql));
    if (query.from?.kind === "number" && query.from.value > head + 1) {
      throw cursorBeyondHead(query.from.text, String(head), await readLogId(sql));
    }
    if (forward) {
      const begin = query.from?.kind === "latest" ? head : (await lower(query.from, "from")) - 1;
      const start = query.after ?? begin;
      return { query, streamIds, start: { position: start, offset: start }, bound: await upper(query.to, "to"), head };
    }
    const start = query.after ?? (await upper(query.from, "from")) + 1;
    return { query, streamIds, start: { position: start, offset: start }, bound: await lower(query.to, "to"), head };
  });
}

/** The heads of streams that are to be read. Throws `stream-not-found`, `replay-forbidden`. */
export async function requireStreams(sql: Sql, names: readonly string[]): Promise<StreamHead[]> {
  const heads = await readStreamHeads(sql, names);
  for (const name of names) {
    const head = heads.find((h) => h.name === name);
    if (head === undefined || !head.exists) throw streamNotFound(name);
    if (!head.configuration.replay) throw replayForbidden(name);
  }
  return heads;
}

async function resolveSingle(sql: Sql, query: ReadQuery, stream: StreamHead, head: number): Promise<Range> {
  const streamIds = [stream.id];
  const common = { query, streamIds, head: stream.lastOffset };
  const last = { position: stream.lastPosition, offset: stream.lastOffset };
  if (query.after !== null && query.after > stream.lastOffset) {
    throw cursorBeyondHead(String(query.after), String(stream.lastOffset), stream.logId);
  }
  if (query.direction === "forward") {
    const start =
      query.after !== null
        ? await cursorBeforeOffset(sql, stream, query.after + 1)
        : query.from === null
          ? await cursorBeforeOffset(sql, stream, stream.firstOffset)
          : await cursorBefore(sql, stream, query.from, head, "from");
    const end = query.to === null ? last : await cursorBehind(sql, stream, query.to, head, "to");
    return { ...common, start, bound: end.position };
  }
  const start =
    query.after !== null
      ? await cursorBeforeOffset(sql, stream, query.after)
      : query.from === null
        ? last
        : await cursorBehind(sql, stream, query.from, head, "from");
  const end =
    query.to === null || query.to.kind === "beginning" ? -1 : (await lowerBound(sql, stream, query.to, head)).position;
  return { ...common, start: { position: start.position + 1, offset: start.offset + 1 }, bound: end + 1 };
}

async function lowerBound(sql: Sql, stream: StreamHead, place: Place, head: number): Promise<Cursor> {
  if (place.kind === "latest") return cursorBeforeOffset(sql, stream, stream.lastOffset);
  return cursorBefore(sql, stream, place, head, "to");
}

/** The cursor right behind a place: the event at the place, or the last one before a time, has been read. */
export async function cursorBehind(
  sql: Sql,
  stream: StreamHead,
  place: Place,
  head: number,
  parameter: string,
): Promise<Cursor> {
  const last = { position: stream.lastPosition, offset: stream.lastOffset };
  switch (place.kind) {
    case "latest":
      return last;
    case "beginning":
      return cursorBeforeOffset(sql, stream, Math.min(stream.firstOffset + 1, stream.lastOffset + 1));
    case "number":
      if (parameter === "from" && place.value > stream.lastOffset + 1) {
        throw cursorBeyondHead(place.text, String(stream.lastOffset), stream.logId);
      }
      return place.value >= stream.lastOffset ? last : cursorBeforeOffset(sql, stream, place.value + 1);
    case "time": {
      const next: Place = { ...place, at: new Date(place.at.getTime() + 1) };
      return cursorBefore(sql, stream, next, head, parameter);
    }
    case "event": {
      const before = await cursorBefore(sql, stream, place, head, parameter);
      return cursorBeforeOffset(sql, stream, Math.min(before.offset + 2, stream.lastOffset + 1));
    }
    default:
      return place satisfies never;
  }
}

/** The last position of the log up to a place, inclusive. */
export async function lastPosition(
  sql: Sql,
  place: Place | null,
  head: number,
  parameter: string,
  streamIds: readonly number[] | null,
): Promise<number> {
  if (place === null || place.kind === "latest") return head;
  if (place.kind === "time") {
    const next: Place = { ...place, at: new Date(place.at.getTime() + 1) };
    return (await positionOf(sql, next, head, parameter, streamIds)) - 1;
  }
  return Math.min(await positionOf(sql, place, head, parameter, streamIds), head);
}
