// What the bridge has come to when all is quiet: of each stream the publisher's log, what JetStream holds, and what the mirror has.
import type postgres from "postgres";
import { logIdHeader, offsetHeader } from "../../src/delivery/bridge/outbound/message.ts";
import { envelope, type StoredEvent } from "../../src/stream/event.ts";
import { consumersOf, type Held, heldBy } from "../support/bridge.ts";
import type { NatsServer } from "../support/nats-server.ts";
import { noSchemas } from "../support/schemas.ts";
import { logDefects } from "../support/sql.ts";
import { type Content, contentOf, contentOfMessage } from "./bridge-content.ts";
import { type BridgedStream, bridgedStreams, mirrorDatabase } from "./bridged.ts";
import type { Cluster } from "./cluster.ts";
import { hashOf } from "./history.ts";
import type { LoggedEvent } from "./log-snapshot.ts";
import { connected } from "./scenario.ts";

export type PublishedEvent = LoggedEvent & { content: Content; bytes: number };

/** A message of JetStream; that of a stranger says of no offset. */
export type HeldMessage = {
  sequence: number;
  offset: number | null;
  logId: string | null;
  /** What nobody can read has none. */
  content: Content | null;
  text: string;
};

export type MirroredEvent = {
  offset: number;
  content: Content;
  /** Where it stood, as the mirror says; null for what came from no log. */
  origin: { stream: string; offset: number; logId: string } | null;
};

export type MirrorLetter = {
  sequence: number;
  reason: string;
  detail: string;
  attempts: number;
  offset: number | null;
  /** What the payload is read as; null where it is nothing. */
  content: Content | null;
  payload: string;
};

export type BridgedSnapshot = BridgedStream & {
  log: PublishedEvent[];
  held: HeldMessage[];
  withheld: { offset: number; id: string; reason: string }[];
  mirrored: MirroredEvent[];
  letters: MirrorLetter[];
  /** Consumers that JetStream has of it. */
  consumers: string[];
};

export type BridgeSnapshot = {
  logId: string;
  streams: BridgedSnapshot[];
  /** What the logs themselves are found to break. */
  defects: string[];
  /** Of each of the two services. */
  processes: number;
  /** To NATS, by the name that a client gave. */
  connections: { name: string; subscriptions: number }[];
};

/** `monitor`: the port at which the nats-server tells of itself. */
export async function readBridge(cluster: Cluster, processes: number, monitor: number): Promise<BridgeSnapshot> {
  const connections = await readConnections(monitor);
  const nats = cluster.nats as NatsServer;
  const client = await nats.connect({ timeout: 10_000 });
  try {
    const manager = await client.jetstreamManager({ timeout: 10_000 });
    const published = await connected(cluster, async (sql) => {
      await sql`set search_path to event_streaming, public`;
      const [log] = await sql<{ id: string }[]>`select log_id as id from log`;
      return {
        logId: String(log?.id),
        streams: await inTurn(({ stream }) => readPublished(sql, stream)),
        defects: await logDefects(sql),
      };
    });
    const mirrored = await connected(
      cluster,
      async (sql) => {
        await sql`set search_path to event_streaming, public`;
        return { streams: await inTurn(({ mirror }) => readMirrored(sql, mirror)), defects: await logDefects(sql) };
      },
      mirrorDatabase,
    );
    const held = await inTurn(async ({ jetstream }) => ({
      held: (await heldBy(client, jetstream)).map(heldMessage),
      consumers: await consumersOf(manager, jetstream),
    }));
    return {
      logId: published.logId,
      streams: bridgedStreams.map((stream, n) => ({
        ...stream,
        ...(published.streams[n] as (typeof published.streams)[number]),
        ...(mirrored.streams[n] as (typeof mirrored.streams)[number]),
        ...(held[n] as (typeof held)[number]),
      })),
      defects: [
        ...published.defects.map((defect) => `the publisher's log: ${defect}`),
        ...mirrored.defects.map((defect) => `the mirror's log: ${defect}`),
      ],
      processes,
      connections,
    };
  } finally {
    await client.close();
  }
}

async function readConnections(port: number): Promise<BridgeSnapshot["connections"]> {
  const answer = await fetch(`http://127.0.0.1:${port}/connz?limit=1000`);
  const { connections } = (await answer.json()) as { connections: { name?: string; subscriptions: number }[] };
  return connections.map(({ name = "", subscriptions }) => ({ name, subscriptions }));
}

async function inTurn<T>(read: (stream: BridgedStream) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (const stream of bridgedStreams) all.push(await read(stream));
  return all;
}

function heldMessage(message: Held): HeldMessage {
  const { sequence, headers, text } = message;
  const offset = headers[offsetHeader];
  return {
    sequence,
    offset: offset === undefined ? null : Number(offset),
    logId: headers[logIdHeader] ?? null,
    content: readable(() => contentOfMessage(message)),
    text: offset === undefined ? text : "",
  };
}

const readable = (read: () => Content): Content | null => {
  try {
    return read();
  } catch {
    return null;
  }
};

async function readPublished(sql: postgres.Sql, stream: string): Promise<Pick<BridgedSnapshot, "log" | "withheld">> {
  const log = (await readEvents(sql, stream)).map(({ line, parsed }) => {
    const data = parsed.data as { mark: string; n: number };
    return {
      ...{ stream, position: Number(parsed.position), offset: Number(parsed.offset), id: parsed.id as string },
      ...{ type: parsed.type as string, mark: data.mark, n: data.n, recordedTime: parsed.recordedtime as string },
      ...{ hash: hashOf(line), content: contentOf(parsed), bytes: line.length },
    };
  });
  const withheld = await sql<{ offset: string; id: string; reason: string }[]>`
    select w."offset", w.event_id as id, w.reason
    from bridge_withheld w join bridge_cursors c using (stream_id, nats_stream) join streams s on s.id = w.stream_id where s.name = ${stream} order by w."offset"`;
  return { log, withheld: withheld.map(({ offset, ...rest }) => ({ offset: Number(offset), ...rest })) };
}

async function readMirrored(sql: postgres.Sql, mirror: string): Promise<Pick<BridgedSnapshot, "mirrored" | "letters">> {
  const mirrored = (await readEvents(sql, mirror)).map(({ parsed }) => {
    const { originstream, originoffset, originlogid } = parsed as Record<string, string>;
    return {
      offset: Number(parsed.offset),
      content: contentOf(parsed),
      origin:
        originstream === undefined
          ? null
          : { stream: originstream, offset: Number(originoffset), logId: originlogid as string },
    };
  });
  const rows = await sql<
    { sequence: string; headers: string; payload: Uint8Array; reason: string; detail: string; attempts: number }[]
  >`
    select l.sequence, l.headers::text as headers, l.payload, l.reason, l.detail, l.attempts
    from remote_dead_letters l join remote_streams r on r.id = l.remote_id where r.name = ${mirror} order by l.id`;
  const letters = rows.map((row) => {
    const sequence = Number(row.sequence);
    const message = heldMessage({
      ...{ sequence, subject: "", headers: Object.fromEntries(JSON.parse(row.headers)) },
      text: new TextDecoder().decode(row.payload),
    });
    const { offset, content } = message;
    const payload = new TextDecoder().decode(row.payload);
    return { sequence, reason: row.reason, detail: row.detail, attempts: row.attempts, offset, content, payload };
  });
  return { mirrored, letters };
}

type Row = Omit<StoredEvent, "position" | "offset" | "recordedTime" | "line"> & {
  position: string;
  offset: string;
  recordedAt: Date;
};

async function readEvents(
  sql: postgres.Sql,
  stream: string,
): Promise<{ line: string; parsed: Record<string, unknown> }[]> {
  const rows = await sql<Row[]>`
    select e.position, s.name as stream, e.ephemeral, e."offset", e.recorded_at as "recordedAt", e.id, e.type,
           e.schema_version as "schemaVersion", e.correlation_id as "correlationId", e.partition_key as "partitionKey",
           e.attributes::text as attributes, e.data::text as data, e.data_binary as binary
    from events e join streams s on s.id = e.stream_id where s.name = ${stream} order by e."offset"`;
  return rows.map(({ recordedAt, ...row }) => {
    const event = {
      ...row,
      ...{ position: Number(row.position), offset: Number(row.offset), recordedTime: recordedAt.toISOString() },
      ...{ line: null, lineRevision: -1, shown: null },
    };
    const line = envelope(event, noSchemas);
    return { line, parsed: JSON.parse(line) };
  });
}
