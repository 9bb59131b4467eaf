// Where a stream begins and ends.
import { nameList } from "../storage/lists.ts";
import type { Sql } from "../storage/pool.ts";
import { fromSettingsRow, type SettingsRow } from "./cross-service/settings.ts";
import { validations } from "./schema/validation.ts";
import type { Delivery, StreamConfiguration } from "./stream-configuration.ts";

export type StreamHead = {
  id: number;
  name: string;
  /** False for a name that has no stream (yet, or any more); its offsets go on from lastOffset all the same. */
  exists: boolean;
  createdAt: string | null;
  configuration: StreamConfiguration;
  firstOffset: number;
  /** -1 before the first event. */
  lastOffset: number;
  /** Position of the last event, -1 before the first. */
  lastPosition: number;
  bytes: number;
  /** Id of the log's history. */
  logId: string;
};

export type HeadRow = {
  id: string;
  name: string;
  created_at: string | null;
  ephemeral: boolean;
  replay: boolean;
  first_offset: string;
  last_offset: string;
  last_position: string;
  bytes: string;
  log_id: string;
  delivery: Delivery;
  max_age_ms: string | null;
  max_bytes: string | null;
  max_events: string | null;
  visibility_timeout_ms: number;
  max_attempts: number;
  validation: number;
  backoff_initial_ms: number;
  backoff_factor: number;
  backoff_max_ms: number;
  /** A row as JSON. */
  cross_service: string | null;
};

export function fromHeadRow(row: HeadRow): StreamHead {
  return {
    id: Number(row.id),
    name: row.name,
    exists: row.created_at !== null,
    createdAt: row.created_at,
    configuration: {
      ephemeral: row.ephemeral,
      delivery: row.delivery,
      validation: validations[row.validation] ?? "off",
      replay: row.replay,
      retention: {
        maxAgeMs: numberOrNull(row.max_age_ms),
        maxBytes: numberOrNull(row.max_bytes),
        maxEvents: numberOrNull(row.max_events),
      },
      queue: {
        visibilityTimeoutMs: row.visibility_timeout_ms,
        maxAttempts: row.max_attempts,
        backoffInitialMs: row.backoff_initial_ms,
        backoffFactor: row.backoff_factor,
        backoffMaxMs: row.backoff_max_ms,
      },
      crossService: row.cross_service === null ? null : fromSettingsRow(JSON.parse(row.cross_service) as SettingsRow),
    },
    firstOffset: Number(row.first_offset),
    lastOffset: Number(row.last_offset),
    lastPosition: Number(row.last_position),
    bytes: Number(row.bytes),
    logId: row.log_id,
  };
}

function numberOrNull(text: string | null): number | null {
  return text === null ? null : Number(text);
}

/** The heads of the named streams, in the order of their ids; names that never were are left out. */
export async function readStreamHeads(sql: Sql, names: readonly string[]): Promise<StreamHead[]> {
  const rows = await sql<HeadRow[]>`
    select h.* from stream_heads h
    where h.name = any(${nameList(names)}::text[]) and not h.internal order by h.id`;
  return rows.map(fromHeadRow);
}

/** The first offsets of streams, which rise when events are trimmed or deleted. */
export async function readFirstOffset(sql: Sql, streamId: number): Promise<number> {
  const rows = await sql<{ first_offset: string }[]>`select first_offset from streams where id = ${streamId}`;
  return Number(rows[0]?.first_offset ?? 0);
}

/** The last offset of a stream up to and including a position, -1 when there is none. */
export async function readLastOffsetUpTo(sql: Sql, streamId: number, position: number): Promise<number> {
  const rows = await sql<{ offset: string }[]>`
    select e."offset" from events e where e.stream_id = ${streamId} and e.position <= ${position}
    order by e.position desc limit 1`;
  return Number(rows[0]?.offset ?? -1);
}

/** The id of the log's history. */
export async function readLogId(sql: Sql): Promise<string> {
  const rows = await sql<{ log_id: string }[]>`select log_id from log`;
  return rows[0]?.log_id as string;
}

/** Which stream a name stands for, and the first offset that can be read of it. */
export type StreamStart = { id: number; firstOffset: number };

/** The starts of the named streams; names that never were are left out. */
export async function readStreamStarts(sql: Sql, names: readonly string[]): Promise<StreamStart[]> {
  const rows = await sql<{ id: string; first_offset: string }[]>`
    select id, first_offset from streams where name = any(${nameList(names)}::text[]) and not internal order by id`;
  return rows.map((row) => ({ id: Number(row.id), firstOffset: Number(row.first_offset) }));
}
