// The remote streams of this service: put, listed, removed, and where the mirror of each stands.
import { remoteStreamNotFound } from "../../base/errors.ts";
import type { HeldLease } from "../../storage/lease.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import type { RemoteDefinition, RemoteSource } from "./definition.ts";
import type { MirrorCursor, OriginOffset } from "./move.ts";

export type RemoteStream = RemoteDefinition & {
  id: number;
  /** Of the local stream. */
  name: string;
  createdAt: string;
  /** Rises with each move of the cursor. */
  revision: number;
  /** Null before the stream of JetStream was found. */
  cursor: MirrorCursor | null;
  /** The stream of JetStream that a former source led to, where a consumer may be left. */
  former: string | null;
};

/** How a mirror stands, as the process says that has it in hand. */
export type MirrorStanding = {
  state: MirrorState;
  /** Messages that are not mirrored yet; null when that is not known. */
  pending: number | null;
  /** Since when the oldest of those waits, in milliseconds since 1970; null when none does, or none has come yet. */
  behindSinceMs: number | null;
  /** Of the process that has it in hand, since it has. */
  received: number;
  redelivered: number;
  lastError: string | null;
  lastErrorAt: string | null;
};

/**
 * - `starting`: it is found out where it stands.
 * - `waiting`: JetStream has no such stream yet.
 * - `mirroring`: messages are taken as they come.
 * - `failing`: it is tried again; the last error says why.
 */
export type MirrorState = "starting" | "waiting" | "mirroring" | "failing";

export type RemoteStanding = RemoteStream & {
  /** Some process holds its lease. */
  isInHand: boolean;
  /** As it was told last: by who has it in hand, or had it, and then what only that one knows is left out. */
  standing: MirrorStanding | null;
  /** Messages that are tried again, and those that were given up. */
  retrying: number;
  deadLetters: number;
};

/** How long the oldest message that is not mirrored has been in JetStream, in seconds; null when that is not known. */
export function mirrorLagSeconds(standing: MirrorStanding | null): number | null {
  if (standing === null || standing.pending === null) return null;
  if (standing.pending === 0) return 0;
  return standing.behindSinceMs === null ? null : Math.max(0, Date.now() - standing.behindSinceMs) / 1_000;
}

/** Dead letters of one remote stream are counted up to this. */
export const lettersCountedTo = 10_000;

type Row = {
  id: string;
  name: string;
  source: string;
  max_deliveries: number;
  backoff_initial_ms: number;
  backoff_factor: number;
  backoff_max_ms: number;
  created_at: string;
  revision: string;
  jetstream: string | null;
  jetstream_created: string | null;
  sequence: string;
  stored_ms: string | null;
};

type StandingRow = Row & {
  in_hand: boolean;
  state: MirrorState | null;
  pending: string | null;
  behind_since_ms: string | null;
  received: string | null;
  redelivered: string | null;
  last_error: string | null;
  last_error_at: string | null;
  retrying: number;
  dead_letters: number;
};

/** Puts a remote stream; its local stream is made where there is none. Returns whether it is new. */
export async function configureRemoteStream(pool: Pool, name: string, definition: RemoteDefinition): Promise<boolean> {
  const { source, maxDeliveries, backoffInitialMs, backoffFactor, backoffMaxMs } = definition;
  const rows = await pool.run(
    (sql) => sql<{ is_new: boolean }[]>`
      select remote_configure(${name}, ${JSON.stringify(source)}::text::json, ${maxDeliveries}, ${backoffInitialMs},
        ${backoffFactor}, ${backoffMaxMs}) as is_new`,
  );
  return rows[0]?.is_new === true;
}

/** All of them, by name. */
export async function readRemoteStreams(pool: Pool): Promise<RemoteStream[]> {
  const rows = await pool.run((sql) => sql<Row[]>`select r.* from remote_streams r order by r.name`);
  return rows.map(fromRow);
}

/** What is mirrored: at most so many, by name. */
export async function readRemoteSources(pool: Pool, limit: number): Promise<{ name: string; source: RemoteSource }[]> {
  const rows = await pool.run(
    (sql) => sql<{ name: string; source: string }[]>`
      select r.name, r.source from remote_streams r order by r.name limit ${limit}`,
  );
  return rows.map(({ name, source }) => ({ name, source: JSON.parse(source) as RemoteSource }));
}

/** Null where it was removed. */
export async function findRemoteStream(pool: Pool, id: number): Promise<RemoteStream | null> {
  const rows = await pool.run((sql) => sql<Row[]>`select r.* from remote_streams r where r.id = ${id}`);
  return rows[0] === undefined ? null : fromRow(rows[0]);
}

export async function readOrigins(pool: Pool, id: number): Promise<OriginOffset[]> {
  const rows = await pool.run(
    (sql) => sql<{ log_id: string; stream: string; offset: string }[]>`
      select o.log_id, o.stream, o."offset" from remote_origins o where o.remote_id = ${id}`,
  );
  return rows.map(({ log_id: logId, stream, offset }) => ({ logId, stream, offset: Number(offset) }));
}

/** A page of them with their standing, by name. */
export async function listRemoteStreams(pool: Pool, after: string, limit: number): Promise<RemoteStanding[]> {
  const rows = await pool.run(
    (sql) => sql<StandingRow[]>`
      ${standing(sql)} where r.name > ${after} order by r.name limit ${limit}`,
  );
  return rows.map(fromStandingRow);
}

/** Throws `remote-stream-not-found`. */
export async function describeRemoteStream(pool: Pool, name: string): Promise<RemoteStanding> {
  const rows = await pool.run((sql) => sql<StandingRow[]>`${standing(sql)} where r.name = ${name}`);
  if (rows[0] === undefined) throw remoteStreamNotFound(name);
  return fromStandingRow(rows[0]);
}

/** Removes a remote stream with its dead letters; what was mirrored stays. Throws `remote-stream-not-found`. */
export async function removeRemoteStream(pool: Pool, name: string): Promise<RemoteStream> {
  const rows = await pool.run((sql) => sql<Row[]>`delete from remote_streams r where r.name = ${name} returning r.*`);
  if (rows[0] === undefined) throw remoteStreamNotFound(name);
  return fromRow(rows[0]);
}

/** Says how a mirror stands; nothing, once another process holds its lease, or it was removed. */
export async function reportStanding(
  pool: Pool,
  { name, owner, epoch }: HeldLease,
  id: number,
  standing: MirrorStanding,
): Promise<void> {
  const { state, pending, behindSinceMs, received, redelivered, lastError, lastErrorAt } = standing;
  await pool.run(
    (sql) => sql`
      with held as (
        select from leases l where l.name = ${name} and l.owner = ${owner} and l.epoch = ${epoch} for key share
      )
      insert into remote_standings as s
        (remote_id, state, pending, behind_since_ms, received, redelivered, last_error, last_error_at, updated_at)
      select r.id, ${state}, ${pending}, ${behindSinceMs}, ${received}, ${redelivered}, ${lastError}, ${lastErrorAt}::text::timestamptz,
             clock_timestamp()
      from remote_streams r cross join held where r.id = ${id}
      on conflict (remote_id) do update
        set state = excluded.state, pending = excluded.pending, behind_since_ms = excluded.behind_since_ms,
            received = excluded.received, redelivered = excluded.redelivered, last_error = excluded.last_error,
            last_error_at = excluded.last_error_at, updated_at = excluded.updated_at`,
  );
}

/** Under which one process mirrors a remote stream. */
export const mirrorLease = (name: string) => `remote:${name}`;

function standing(sql: Sql) {
  return sql`
    select r.*, s.state, s.pending, s.behind_since_ms, s.received, s.redelivered, s.last_error, s.last_error_at, l.name is not null as in_hand,
      (select count(*)::int from (
        select 1 from remote_dead_letters l where l.remote_id = r.id and l.due_at is not null limit ${lettersCountedTo}) w) as retrying,
      (select count(*)::int from (
        select 1 from remote_dead_letters l where l.remote_id = r.id and l.due_at is null limit ${lettersCountedTo}) d) as dead_letters
    from remote_streams r
    left join remote_standings s on s.remote_id = r.id
    left join leases l on l.name = ${mirrorLease("")} || r.name and l.until > clock_timestamp()`;
}

/** A consumer of a former source is not there any more. */
export async function forgetFormer(pool: Pool, id: number, former: string): Promise<void> {
  await pool.run(
    (sql) => sql`
      update remote_streams set jetstream = null where id = ${id} and jetstream = ${former} and jetstream_created = ''`,
  );
}

function fromRow(row: Row): RemoteStream {
  const { jetstream, jetstream_created: created } = row;
  return {
    id: Number(row.id),
    name: row.name,
    source: JSON.parse(row.source) as RemoteSource,
    maxDeliveries: row.max_deliveries,
    backoffInitialMs: row.backoff_initial_ms,
    backoffFactor: row.backoff_factor,
    backoffMaxMs: row.backoff_max_ms,
    createdAt: row.created_at,
    revision: Number(row.revision),
    former: created === "" ? jetstream : null,
    cursor:
      jetstream === null || created === null || created === ""
        ? null
        : {
            jetstream,
            created,
            sequence: Number(row.sequence),
            storedMs: row.stored_ms === null ? null : Number(row.stored_ms),
          },
  };
}

function fromStandingRow(row: StandingRow): RemoteStanding {
  const number = (text: string | null) => (text === null ? null : Number(text));
  return {
    ...fromRow(row),
    isInHand: row.in_hand,
    standing:
      row.state === null
        ? null
        : {
            state: row.state,
            pending: row.in_hand ? number(row.pending) : null,
            behindSinceMs: row.in_hand ? number(row.behind_since_ms) : null,
            received: number(row.received) ?? 0,
            redelivered: number(row.redelivered) ?? 0,
            lastError: row.last_error,
            lastErrorAt: row.last_error_at,
          },
    retrying: row.retrying,
    deadLetters: row.dead_letters,
  };
}
