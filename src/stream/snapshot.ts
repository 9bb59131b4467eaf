// Saves and reads snapshots: the state of a stream at an offset, never going back to an older one.
import { cursorBeyondHead, snapshotNotFound, snapshotOutdated, streamNotFound } from "../base/errors.ts";
import type { Pool } from "../storage/pool.ts";
import { runAgain } from "../storage/retry.ts";

/** What clients put belongs to all of them. */
const clients = "";

/** What a snapshot holds: the text of JSON, or bytes. */
export type SnapshotContent = { state: string; binary: null } | { state: null; binary: Uint8Array };

export type Snapshot = SnapshotContent & {
  offset: number;
  contentType: string;
  /** RFC 3339, UTC. */
  recordedTime: string;
  /** `client`, or `decider:` and its name. */
  by: string;
};

type PutRow = {
  outcome: "created" | "replaced" | "outdated" | "beyond-head" | "not-found";
  known: string | null;
  log_id: string | null;
  recorded: string | null;
};

type Put = SnapshotContent & {
  stream: string;
  owner: string;
  offset: number;
  position: number | null;
  contentType: string;
  tag: string | null;
};

async function put(pool: Pool, given: Put): Promise<PutRow> {
  const { stream, owner, offset, position, state, binary, contentType, tag } = given;
  const rows = await runAgain(
    pool,
    (sql) => sql<PutRow[]>`
      select outcome, known, log_id, recorded
      from snapshot_put(${stream}, ${owner}, ${offset}, ${position}, ${state}, ${binary}, ${contentType}, ${tag})`,
  );
  return rows[0] as PutRow;
}

/**
 * Saves what a client has put. Returns when, and whether there was none before. Throws `stream-not-found`, `cursor-beyond-head`,
 * `snapshot-outdated`.
 */
export async function putSnapshot(
  pool: Pool,
  stream: string,
  snapshot: SnapshotContent & { offset: number; contentType: string },
): Promise<{ isNew: boolean; recordedTime: string }> {
  const row = await put(pool, { ...snapshot, stream, owner: clients, position: null, tag: null });
  switch (row.outcome) {
    case "not-found":
      throw streamNotFound(stream);
    case "beyond-head":
      throw cursorBeyondHead(String(snapshot.offset), row.known as string, row.log_id as string);
    case "outdated":
      throw snapshotOutdated(stream, row.known as string);
    case "created":
    case "replaced":
      return { isNew: row.outcome === "created", recordedTime: row.recorded as string };
    default:
      return row.outcome satisfies never;
  }
}

/** Saves the state that a part of the service keeps of a stream, which others do not overwrite; JSON as text. */
export async function saveState(
  pool: Pool,
  saved: { stream: string; owner: string; offset: number; position: number; state: string; tag: string },
): Promise<{ outcome: PutRow["outcome"] }> {
  return put(pool, { ...saved, binary: null, contentType: "application/json" });
}

type SnapshotRow = {
  offset: string;
  state: string | null;
  state_binary: Uint8Array | null;
  content_type: string;
  recorded_at: string;
  owner: string;
};

/** The snapshot of the highest offset, of anybody or of whom is named. Throws `stream-not-found`, `snapshot-not-found`. */
export async function readSnapshot(pool: Pool, stream: string, by: string | null): Promise<Snapshot> {
  const owner = by === "client" ? clients : by;
  const rows = await pool.run(
    (sql) => sql<(SnapshotRow | { offset: null })[]>`
      select n."offset", n.state, n.state_binary, n.content_type, n.recorded_at, n.owner
      from streams s left join lateral (
        select * from snapshots n
        where n.stream_id = s.id and n."offset" >= s.born_offset and (n.owner = ${owner} or ${owner === null})
        order by n."offset" desc, n.recorded_at desc limit 1
      ) n on true
      where s.name = ${stream} and s.created_at is not null and not s.internal`,
  );
  const row = rows[0];
  if (row === undefined) throw streamNotFound(stream);
  if (row.offset === null) throw snapshotNotFound(stream, by);
  const { state, state_binary: binary } = row;
  return {
    ...(state === null ? { state, binary: binary as Uint8Array } : { state, binary: null }),
    offset: Number(row.offset),
    contentType: row.content_type,
    recordedTime: row.recorded_at,
    by: row.owner === clients ? "client" : row.owner,
  };
}
