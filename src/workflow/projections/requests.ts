// What people ask of projections: to pause, to go on, to do without an event, to be built anew, to be copied.
import type { Pool, Sql } from "../../storage/pool.ts";

export type Requests = { rebuild: "beginning" | "snapshot" | null; snapshot: boolean };

/** What is asked for and not done. */
export async function readRequests(sql: Sql, projection: string): Promise<Requests> {
  const [row] = await sql<{ rebuild_requested: Requests["rebuild"]; snapshot_requested: boolean }[]>`
    select rebuild_requested, snapshot_requested from projections where name = ${projection}`;
  return { rebuild: row?.rebuild_requested ?? null, snapshot: row?.snapshot_requested ?? false };
}

/** Pauses a projection, or lets it go on. False: there is none of that name. */
export async function setPaused(pool: Pool, projection: string, paused: boolean): Promise<boolean> {
  const [row] = await pool.run(
    (sql) => sql<{ found: boolean }[]>`select projection_pause(${projection}, ${paused}) as found`,
  );
  return row?.found === true;
}

/** Lets a projection do without an event that fails. Returns in how many generations it does. */
export async function skipEvent(pool: Pool, projection: string, position: number): Promise<number> {
  const [row] = await pool.run(
    (sql) => sql<{ skipped: number }[]>`select projection_skip(${projection}, ${position}) as skipped`,
  );
  return row?.skipped ?? 0;
}

export type RebuildOutcome = "requested" | "building" | "no-snapshot" | "not-found";

export async function requestRebuild(
  pool: Pool,
  projection: string,
  from: "beginning" | "snapshot",
): Promise<RebuildOutcome> {
  const [row] = await pool.run(
    (sql) => sql<{ outcome: RebuildOutcome }[]>`select projection_rebuild(${projection}, ${from}) as outcome`,
  );
  return row?.outcome as RebuildOutcome;
}

/** False: there is no projection of that name. */
export async function requestSnapshot(pool: Pool, projection: string): Promise<boolean> {
  const rows = await pool.run(
    (sql) => sql`update projections set snapshot_requested = true where name = ${projection} returning 1`,
  );
  return rows.length > 0;
}

/** Notes that a snapshot was taken, or why it was not. */
export async function snapshotTaken(sql: Sql, projection: string, failure: string | null): Promise<void> {
  await sql`update projections set snapshot_requested = false, snapshot_error = ${failure} where name = ${projection}`;
}

/** Notes why the tables of a projection cannot be made, or that nothing is in the way. */
export async function noteSetup(sql: Sql, projection: string, failure: string | null): Promise<void> {
  await sql`
    update projections set setup_error = ${failure}, setup_error_at = ${failure === null ? null : sql`clock_timestamp()`}
    where name = ${projection} and (setup_error is distinct from ${failure})`;
}

/** Gives up what is being built. */
export async function retireBuilding(sql: Sql, projection: string): Promise<void> {
  await sql`
    update projection_generations set role = 'retired', role_since = clock_timestamp()
    where projection = ${projection} and role = 'building'`;
}
