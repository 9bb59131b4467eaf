// Finds where places lie in the log: offsets, times and event ids become positions.
import { cursorBeyondHead, invalidPlace } from "../base/errors.ts";
import { uuidv7TimeMs } from "../base/ids.ts";
import { arrayLiteral } from "../storage/lists.ts";
import type { Sql } from "../storage/pool.ts";
import type { Place } from "./place.ts";
import type { StreamHead } from "./stream-head.ts";

/** A point between two events: everything up to and including `position` (in the log) and `offset` (in the stream) lies before it. */
export type Cursor = { position: number; offset: number };

/** How long after an id was made here its event may be recorded, and how far clocks may differ, in milliseconds. */
const idSlackMs = 120_000;

/** The head of the log: the last committed position, -1 when it is empty. `atLeast` bounds the probe. */
export async function readHead(sql: Sql, atLeast: number): Promise<number> {
  const rows = await sql<{ position: string }[]>`
    select position from events where position >= ${Math.max(0, atLeast)} order by position desc limit 1`;
  return rows[0] === undefined ? -1 : Number(rows[0].position);
}

/** The place as a position of the whole log: the position of the event itself, or of the first one behind the time. */
export async function positionOf(
  sql: Sql,
  place: Place,
  head: number,
  parameter: string,
  streamIds: readonly number[] | null,
): Promise<number> {
  switch (place.kind) {
    case "beginning":
      return 0;
    case "latest":
      return head;
    case "number":
      return place.value;
    case "time": {
      const rows = await sql<{ position: string }[]>`select log_position_at(${place.at}, ${head}) as position`;
      return Number(rows[0]?.position ?? head + 1);
    }
    case "event": {
      const position = await positionOfEvent(sql, place.id, streamIds, head);
      if (position === null) throw unknownEvent(parameter, place.id);
      return position;
    }
    default:
      return place satisfies never;
  }
}

export function unknownEvent(parameter: string, id: string) {
  return invalidPlace(parameter, `event:${id}`, `There is no event with the id ${id}`);
}

async function positionOfEvent(
  sql: Sql,
  id: string,
  streamIds: readonly number[] | null,
  head: number,
): Promise<number | null> {
  const among = streamIds === null ? sql`` : sql`and i.stream_id = any(${arrayLiteral(streamIds)}::bigint[])`;
  const known = await sql<{ position: string }[]>`
    select i.position from event_ids i join streams s on s.id = i.stream_id
    where i.id = ${id} ${among} and i."offset" >= s.first_offset
    order by i.position limit 1`;
  if (known[0] !== undefined) return Number(known[0].position);
  // An id made here tells when: its event was recorded within a moment of that, and no index of ids is needed.
  const madeMs = uuidv7TimeMs(id);
  if (madeMs === null) return null;
  const inStreams = streamIds === null ? sql`` : sql`and e.stream_id = any(${arrayLiteral(streamIds)}::bigint[])`;
  const made = await sql<{ position: string }[]>`
    select e.position from events e join streams s on s.id = e.stream_id
    where e.position >= log_position_at(${new Date(madeMs - idSlackMs)}, ${head})
      and e.position < log_position_at(${new Date(madeMs + idSlackMs)}, ${head})
      and e.id = ${id} ${inStreams} and not s.internal and e."offset" >= s.first_offset
    order by e.position limit 1`;
  return made[0] === undefined ? null : Number(made[0].position);
}

/** The cursor right before a place of one stream, so that reading on from it begins with the event at the place. */
export async function cursorBefore(
  sql: Sql,
  stream: StreamHead,
  place: Place,
  head: number,
  parameter: string,
): Promise<Cursor> {
  if (place.kind === "beginning") return cursorBeforeOffset(sql, stream, stream.firstOffset);
  if (place.kind === "latest") return { position: stream.lastPosition, offset: stream.lastOffset };
  if (place.kind === "number") return cursorBeforeOffset(sql, stream, place.value);
  const position = await positionOf(sql, place, head, parameter, [stream.id]);
  const rows = await sql<{ offset: string; position: string }[]>`
    select e."offset", e.position from events e
    where e.stream_id = ${stream.id} and e.position >= ${position} and e."offset" >= ${stream.firstOffset}
    order by e.position limit 1`;
  if (rows[0] === undefined) return { position: stream.lastPosition, offset: stream.lastOffset };
  return { position: Number(rows[0].position) - 1, offset: Number(rows[0].offset) - 1 };
}

/** The cursor right before an offset; the one behind the last event when the stream ends there. Throws `cursor-beyond-head`. */
export async function cursorBeforeOffset(sql: Sql, stream: StreamHead, offset: number): Promise<Cursor> {
  if (offset > stream.lastOffset + 1) {
    throw cursorBeyondHead(String(offset), String(stream.lastOffset), stream.logId);
  }
  if (offset === stream.lastOffset + 1) return { position: stream.lastPosition, offset: stream.lastOffset };
  if (offset <= stream.firstOffset && stream.firstOffset === 0) return { position: -1, offset: -1 };
  // An offset never exceeds its event's position, which spares the partitions below.
  const rows = await sql<{ offset: string; position: string }[]>`
    select e."offset", e.position from events e
    where e.stream_id = ${stream.id} and e."offset" >= ${offset} and e.position >= ${offset}
    order by e."offset" limit 1`;
  if (rows[0] === undefined) return { position: stream.lastPosition, offset: stream.lastOffset };
  return { position: Number(rows[0].position) - 1, offset: offset - 1 };
}
