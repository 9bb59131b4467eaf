// The ledger as the database holds it: sampled while a run goes on, and read as a whole at its end.
import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import { envelope, type StoredEvent } from "../../src/stream/event.ts";
import type { Cluster } from "./cluster.ts";
import type { CursorSampled, LedgerSampled } from "./consumer-history.ts";
import { type History, hashOf } from "./history.ts";
import { runSchemas } from "./versioned.ts";

/** An event that was ever stored in a stream of the run. */
export type JobEvent = {
  position: number;
  id: string;
  /** When it was stored, or a moment before. */
  storedAt: number;
  stream: string;
  offset: number;
  type: string;
  key: string | null;
  hash: string;
};

export type DeadLetter = {
  subscription: string;
  /** Of the cursor: empty where it is of all consumers. */
  consumer: string;
  position: number;
  /** Of its content, made an envelope again. */
  hash: string;
  reason: string;
  attempts: number;
  firstError: string;
  lastError: string;
  firstAt: number;
  lastAt: number;
  deadAt: number;
};

export type LedgerSnapshot = {
  events: JobEvent[];
  deadLetters: DeadLetter[];
  cursors: CursorSampled[];
  /** Positions that wait because their key is paused. */
  parked: { subscription: string; position: number }[];
};

/** To be called before anything is appended: keeps a copy of every event, also of those whose partitions leave the disk. */
export async function keepAppendedRows(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create schema harness;
    create table harness.appended as select * from event_streaming.events with no data;
    create function harness.keep() returns trigger language plpgsql as $$
    begin
      insert into harness.appended select * from added;
      return null;
    end $$;
    create trigger keep after insert on event_streaming.events
      referencing new table as added for each statement execute function harness.keep();`);
}

const sampleEveryMs = 60;

/** Looks at the cursors again and again until it is told to stop. */
export async function runSampler(cluster: Cluster, history: History, stop: AbortSignal): Promise<void> {
  let sql = cluster.connect();
  while (!stop.aborted) {
    try {
      history.add(await sample(sql, history));
    } catch {
      // Postgres is away.
      await sql.end({ timeout: 0 }).catch(() => {});
      sql = cluster.connect();
    }
    await sleep(sampleEveryMs);
  }
  await sql.end({ timeout: 1 }).catch(() => {});
}

type Sampled = { started: string; cursors: CursorSampled[] | null; streams: LedgerSampled["firstOffsets"] | null };

async function sample(sql: postgres.Sql, history: History): Promise<LedgerSampled> {
  const invokedAt = history.now();
  const [row] = await Promise.race([
    sql<Sampled[]>`
      select (extract(epoch from pg_postmaster_start_time()) * 1000)::text as started,
        (select json_agg(json_build_object('subscription', coalesce(s.queue_of, s.name), 'consumer', c.consumer,
           'place', c.place, 'floor', c.floor, 'leased', c.leased, 'waiting', c.waiting, 'parked', c.parked))
         from event_streaming.cursor_states c join event_streaming.subscriptions s on s.id = c.subscription_id) as cursors,
        (select json_agg(json_build_object('stream', t.name, 'firstOffset', t.first_offset))
         from event_streaming.streams t where t.ephemeral) as streams`,
    sleep(3_000).then(() => {
      throw new Error("no answer");
    }),
  ]);
  const { started, cursors, streams } = row as Sampled;
  return {
    ...{ kind: "sampled", invokedAt, at: history.now(), startedAt: history.at(Number(started)) },
    ...{ cursors: cursors ?? [], firstOffsets: streams ?? [] },
  };
}

type EventRow = Omit<StoredEvent, "position" | "offset" | "recordedTime" | "line"> & {
  position: string;
  offset: string;
  recordedAt: Date;
};

function jobEvent(history: History, { recordedAt, ...row }: EventRow): JobEvent {
  const { position, offset } = { position: Number(row.position), offset: Number(row.offset) };
  const event = {
    ...row,
    position,
    offset,
    recordedTime: recordedAt.toISOString(),
    line: null,
    lineRevision: -1,
    shown: null,
  };
  const line = envelope(event, runSchemas);
  const hash = hashOf(JSON.stringify(JSON.parse(line)));
  const storedAt = history.at(recordedAt.getTime());
  return { position, id: row.id, storedAt, stream: row.stream, offset, type: row.type, key: row.partitionKey, hash };
}

/** Everything as it stands when all is quiet. */
export async function readLedger(sql: postgres.Sql, history: History): Promise<LedgerSnapshot> {
  const events = await sql<EventRow[]>`
    select e.position, s.name as stream, e.ephemeral, e."offset", e.recorded_at as "recordedAt", e.id, e.type,
           e.schema_version as "schemaVersion", e.correlation_id as "correlationId", e.partition_key as "partitionKey",
           e.attributes::text as attributes, e.data::text as data, e.data_binary as binary
    from harness.appended e join event_streaming.streams s on s.id = e.stream_id
    where not s.internal order by e.position`;
  const dead = await sql<
    (EventRow & Record<"firstAt" | "lastAt" | "deadAt", Date> & Omit<DeadLetter, "firstAt" | "lastAt" | "deadAt">)[]
  >`
    select coalesce(s.queue_of, s.name) as subscription, c.consumer, d.position, d.stream, false as ephemeral, d."offset",
           d.recorded_at as "recordedAt", d.event_id as id, d.type, d.schema_version as "schemaVersion",
           d.correlation_id as "correlationId", d.partition_key as "partitionKey", d.attributes::text as attributes,
           d.data::text as data, d.data_binary as binary, d.reason, d.attempts, d.first_error as "firstError",
           d.last_error as "lastError", d.first_at as "firstAt", d.last_at as "lastAt", d.dead_at as "deadAt"
    from event_streaming.dead_letters d join event_streaming.subscriptions s on s.id = d.subscription_id
      join event_streaming.subscription_cursors c on c.id = d.cursor_id order by d.id`;
  const parked = await sql<{ subscription: string; position: string }[]>`
    select s.name as subscription, unnest(d.positions) as position
    from event_streaming.deliveries d join event_streaming.subscription_cursors c on c.id = d.cursor_id
      join event_streaming.subscriptions s on s.id = c.subscription_id where d.state = 'parked'`;
  const time = (date: Date) => history.at(date.getTime());
  return {
    events: events.map((row) => jobEvent(history, row)),
    deadLetters: dead.map((row) => ({
      ...{ subscription: row.subscription, consumer: row.consumer, position: Number(row.position) },
      ...{ hash: jobEvent(history, row).hash, reason: row.reason, attempts: row.attempts },
      ...{ firstError: row.firstError, lastError: row.lastError },
      ...{ firstAt: time(row.firstAt), lastAt: time(row.lastAt), deadAt: time(row.deadAt) },
    })),
    cursors: (await sample(sql, history)).cursors,
    parked: parked.map(({ subscription, position }) => ({ subscription, position: Number(position) })),
  };
}
