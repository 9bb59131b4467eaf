// Keeps in the database up to where streams are published; every write is refused once another process holds the lease.
import type { HeldLease } from "../../../storage/lease.ts";
import type { Pool } from "../../../storage/pool.ts";
import type { NatsStream } from "../jetstream.ts";
import type { PublishingState } from "./state.ts";

export type Cursor = {
  streamId: number;
  /** The JetStream stream, and when it was made. */
  jetstream: string;
  created: string;
  sequence: number;
  /** Of the last event that is published, -1 before the first; and its position. */
  offset: number;
  position: number;
  logId: string;
};

export type StateNote = { streamId: number; state: PublishingState; error: string | null; since: string };

/** How far a stream is noted as published, and which offsets a stream of JetStream that was made then did not take. */
export async function readCursor(
  pool: Pool,
  streamId: number,
  { name, created }: Pick<NatsStream, "name" | "created">,
): Promise<{ cursor: Cursor | null; withheld: ReadonlySet<number> }> {
  return pool.run(async (sql) => {
    const [row] = await sql<
      {
        nats_stream: string;
        nats_created: string;
        nats_sequence: string;
        offset: string;
        position: string;
        log_id: string;
      }[]
    >`select nats_stream, nats_created, nats_sequence, "offset", position, log_id from bridge_cursors where stream_id = ${streamId}`;
    const withheld = await sql<{ offset: string }[]>`
      select "offset" from bridge_withheld
      where stream_id = ${streamId} and nats_stream = ${name} and nats_created = ${created}`;
    return {
      cursor:
        row === undefined
          ? null
          : {
              streamId,
              jetstream: row.nats_stream,
              created: row.nats_created,
              sequence: Number(row.nats_sequence),
              offset: Number(row.offset),
              position: Number(row.position),
              logId: row.log_id,
            },
      withheld: new Set(withheld.map(({ offset }) => Number(offset))),
    };
  });
}

/** Notes how far streams are published; `anew`: JetStream was asked, and what was noted before may be wrong. */
export async function writeCursors(
  pool: Pool,
  { owner, epoch }: HeldLease,
  cursors: readonly Cursor[],
  anew: boolean,
): Promise<void> {
  const rows = cursors.map((cursor) => ({
    stream_id: cursor.streamId,
    nats_stream: cursor.jetstream,
    nats_created: cursor.created,
    nats_sequence: cursor.sequence,
    offset: cursor.offset,
    position: cursor.position,
    log_id: cursor.logId,
  }));
  await pool.run((sql) => sql`select bridge_advance(${owner}, ${epoch}, ${JSON.stringify(rows)}::text::json, ${anew})`);
}

export async function writeStates(pool: Pool, { owner, epoch }: HeldLease, notes: readonly StateNote[]): Promise<void> {
  const rows = notes.map(({ streamId, ...note }) => ({ stream_id: streamId, ...note }));
  await pool.run((sql) => sql`select bridge_tell(${owner}, ${epoch}, ${JSON.stringify(rows)}::text::json)`);
}

export async function writeWithheld(
  pool: Pool,
  { owner, epoch }: HeldLease,
  streamId: number,
  event: { offset: number; id: string; type: string },
  reason: string,
): Promise<void> {
  await pool.run(
    (sql) =>
      sql`select bridge_withhold(${owner}, ${epoch}, ${streamId}, ${event.offset}, ${event.id}, ${event.type}, ${reason})`,
  );
}

/** The position of an event; null where it is gone. */
export async function positionOf(pool: Pool, streamId: number, offset: number): Promise<number | null> {
  const rows = await pool.run(
    (sql) => sql<{ position: string }[]>`
      select position from events where stream_id = ${streamId} and "offset" = ${offset}`,
  );
  return rows[0] === undefined ? null : Number(rows[0].position);
}
