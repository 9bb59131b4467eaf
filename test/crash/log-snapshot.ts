// The whole log as it stands when everything is quiet: by SQL with all that was deleted, and as the service replays it.
import type postgres from "postgres";
import { controlStream, envelope, type StoredEvent } from "../../src/stream/event.ts";
import { noSchemas } from "../support/schemas.ts";
import { hashOf } from "./history.ts";

export type LoggedEvent = {
  position: number;
  stream: string;
  offset: number;
  id: string;
  type: string;
  mark: string;
  n: number;
  recordedTime: string;
  hash: string;
};

/** What a control record says: the events of the stream from one offset to another, inclusive, are deleted. */
export type Deletion = { stream: string; from: number; to: number; position: number };

/** A row of the log, of the service's own records too; `purged`: it has left the disk. */
export type LogRow = { position: number; stream: string; offset: number; purged: boolean };

export type LogSnapshot = {
  rows: LogRow[];
  /** Every event that was ever stored, deleted or not. */
  stored: LoggedEvent[];
  deletions: Deletion[];
  /** The replay of /api/events. */
  events: LoggedEvent[];
  /** The replay of each stream; null where there is none (404). */
  streams: Map<string, LoggedEvent[] | null>;
  /** Up to where the ends of streams are noted. */
  checkpoint: number;
};

type Envelope = {
  position: string;
  stream: string;
  offset: string;
  id: string;
  type: string;
  recordedtime: string;
  data: { mark: string; n: number };
};

function loggedEvent(line: string): LoggedEvent {
  const { position, stream, offset, id, type, recordedtime, data } = JSON.parse(line) as Envelope;
  return {
    position: Number(position),
    stream,
    offset: Number(offset),
    id,
    type,
    mark: data.mark,
    n: data.n,
    recordedTime: recordedtime,
    hash: hashOf(line),
  };
}

/** The log from a position on; what was before is none of the run's. */
export async function readLog(sql: postgres.Sql, url: string, base: number): Promise<LogSnapshot> {
  const [log] = await sql<{ position: string }[]>`select checkpoint_position as position from event_streaming.log`;
  const rows = await readRows(sql, base);
  const events = await replay(`${url}/api/events?from=${base}`);
  const streams = new Map<string, LoggedEvent[] | null>();
  for (const name of new Set(rows.map((row) => row.stream))) {
    if (name !== controlStream) streams.set(name, await replay(`${url}/api/streams/${name}/events`));
  }
  return {
    rows: rows.map(({ position, stream, offset, purged }) => ({ position, stream, offset, purged })),
    stored: rows.filter((row) => row.stream !== controlStream).map((row) => loggedEvent(envelope(row, noSchemas))),
    deletions: rows.flatMap(deletionOf),
    events: events ?? [],
    streams,
    checkpoint: Number(log?.position),
  };
}

function deletionOf(row: StoredEvent): Deletion[] {
  if (row.stream !== controlStream || row.type !== "sluice.stream-deleted") return [];
  const { stream, from, to } = JSON.parse(row.data ?? "{}") as { stream: string; from: string; to: string };
  return [{ stream, from: Number(from), to: Number(to), position: row.position }];
}

type Row = Omit<StoredEvent, "position" | "offset" | "recordedTime" | "line"> & {
  position: string;
  offset: string;
  recordedAt: Date;
  purged: boolean;
};

/** One statement, so one moment: a row that is being purged stands in it once. */
async function readRows(sql: postgres.Sql, base: number): Promise<(StoredEvent & { purged: boolean })[]> {
  const rows = await sql<Row[]>`
    select e.position, s.name as stream, e.ephemeral, e."offset", e.recorded_at as "recordedAt", e.id, e.type,
           e.schema_version as "schemaVersion", e.correlation_id as "correlationId", e.partition_key as "partitionKey",
           e.attributes::text as attributes, e.data::text as data, e.data_binary as binary, e.purged
    from (select l.*, false as purged from event_streaming.events l
          union all select p.*, true from harness.purged p) e
    join event_streaming.streams s on s.id = e.stream_id
    where e.position >= ${base} order by e.position`;
  return rows.map(({ recordedAt, ...row }) => ({
    ...row,
    position: Number(row.position),
    offset: Number(row.offset),
    recordedTime: recordedAt.toISOString(),
    line: null,
    lineRevision: -1,
    shown: null,
  }));
}

async function replay(url: string): Promise<LoggedEvent[] | null> {
  const response = await fetch(url, { headers: { accept: "application/x-ndjson" } });
  if (response.status === 404) return null;
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  const lines = (await response.text()).split("\n");
  return lines.filter((line) => line !== "").map(loggedEvent);
}
