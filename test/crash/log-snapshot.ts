// The whole log as it stands when everything is quiet: by SQL, and as the service replays it.
import type postgres from "postgres";
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

export type LogSnapshot = {
  /** Every row, the service's own control records too. */
  rows: { position: number; stream: string; offset: number }[];
  /** The replay of /api/events. */
  events: LoggedEvent[];
  /** The replay of each stream. */
  streams: Map<string, LoggedEvent[]>;
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

export async function readLog(sql: postgres.Sql, url: string): Promise<LogSnapshot> {
  const rows = await sql<{ position: string; name: string; offset: string }[]>`
    select e.position, s.name, e."offset" from event_streaming.events e
    join event_streaming.streams s on s.id = e.stream_id order by e.position`;
  const events = await replay(`${url}/api/events`);
  const streams = new Map<string, LoggedEvent[]>();
  for (const name of new Set(rows.map((row) => row.name))) {
    if (!name.startsWith("$")) streams.set(name, await replay(`${url}/api/streams/${name}/events`));
  }
  return {
    rows: rows.map((row) => ({ position: Number(row.position), stream: row.name, offset: Number(row.offset) })),
    events,
    streams,
  };
}

async function replay(url: string): Promise<LoggedEvent[]> {
  const response = await fetch(url, { headers: { accept: "application/x-ndjson" } });
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  const lines = (await response.text()).split("\n");
  return lines.filter((line) => line !== "").map(loggedEvent);
}
