// How projections stand, as the API shows them.
import type { Pool, Sql } from "../../storage/pool.ts";
import { readHead } from "../../stream/resolve.ts";
import {
  type About,
  fromGenerationRow,
  type Generation,
  type GenerationRow,
  generationColumns,
  leaseOf,
} from "./generation.ts";

/**
 * `starting`: it has no tables yet. `unattended`: no process runs it. `retrying`: an event fails, and is tried again. `failed`: it has
 * stopped at that event.
 */
export type ProjectionState = "starting" | "running" | "retrying" | "failed" | "paused" | "unattended";

/** What went wrong with the event that fails now, and lately. */
export type Trouble = {
  /** Null: none fails. */
  failedPosition: string | null;
  /** Tries of that event. */
  attempts: number;
  lastError: string | null;
  lastErrorAt: string | null;
};

/** Positions and counts are decimal strings. */
export type ProjectionStatus = Trouble & {
  name: string;
  description: string | null;
  form: About["form"] | null;
  /** Null: all persistent ones. */
  streams: readonly string[] | null;
  /** Null: all. */
  types: readonly string[] | null;
  state: ProjectionState;
  paused: boolean;
  version: number | null;
  generation: number | null;
  /** Everything up to here is in its tables. */
  position: string;
  head: string;
  /** Positions of the log that it has yet to look at. */
  lag: string;
  /** How long the first of them has been in the log. */
  lagSeconds: number;
  eventsProcessed: string;
  failures: string;
  /** Positions of the last events that it was told to do without. */
  skipped: string[];
  rebuild: Rebuild | null;
  snapshots: { generation: number; position: string; eventsProcessed: string; takenAt: string }[];
  snapshotRequested: boolean;
  snapshotError: string | null;
};

/** A generation that is about to take the place of the live one. */
export type Rebuild = Trouble & {
  state: "requested" | Exclude<ProjectionState, "starting">;
  version: number | null;
  generation: number | null;
  position: string;
  eventsProcessed: string;
  startedAt: string | null;
};

type ProjectionRow = {
  name: string;
  description: string | null;
  paused: boolean;
  attended: boolean;
  rebuild_requested: string | null;
  snapshot_requested: boolean;
  snapshot_error: string | null;
  setup_error: string | null;
  setup_error_at: string | null;
  skipped: string[] | null;
  lag_seconds: number;
};

export type Listing = { names: readonly string[] } | { after: string; limit: number };

const skipsShown = 20;

/** Those of these names, or the next ones by name. */
export async function describeProjections(
  pool: Pool,
  listing: Listing,
  knownHead: number,
): Promise<ProjectionStatus[]> {
  return pool.run(async (sql) => {
    const rows = await readProjections(sql, listing);
    const names = rows.map(({ name }) => name);
    const generations = await sql<GenerationRow[]>`
      select ${generationColumns(sql)} from projection_generations g
      where g.projection in (select jsonb_array_elements_text(${JSON.stringify(names)}::text::jsonb)) and g.role <> 'retired'
      order by g.generation`;
    const head = await readHead(sql, knownHead);
    const all = generations.map(fromGenerationRow);
    return rows.map((row) =>
      describe(
        row,
        all.filter(({ projection }) => projection === row.name),
        head,
      ),
    );
  });
}

async function readProjections(sql: Sql, listing: Listing): Promise<ProjectionRow[]> {
  const which =
    "names" in listing
      ? sql`p.name in (select jsonb_array_elements_text(${JSON.stringify(listing.names)}::text::jsonb))`
      : sql`p.name > ${listing.after}`;
  return sql<ProjectionRow[]>`
    select p.name, p.description, p.paused, p.rebuild_requested, p.snapshot_requested, p.snapshot_error, p.setup_error,
      p.setup_error_at,
      exists (select from leases l where l.name = ${leaseOf("")} || p.name and l.until > clock_timestamp()) as attended,
      (select json_agg(s.position::text order by s.position)::jsonb from (
        select k.position from projection_skips k
        where k.projection = p.name and k.generation = g.generation order by k.position desc limit ${skipsShown}) s) as skipped,
      coalesce((
        select greatest(0, extract(epoch from clock_timestamp() - e.recorded_at)) from events e
        where e.position > g.position order by e.position limit 1), 0)::float8 as lag_seconds
    from projections p left join projection_generations g on g.projection = p.name and g.role = 'live'
    where ${which} order by p.name limit ${"limit" in listing ? listing.limit : null}`;
}

function describe(row: ProjectionRow, generations: readonly Generation[], head: number): ProjectionStatus {
  const live = generations.find(({ role }) => role === "live") ?? null;
  const building = generations.find(({ role }) => role === "building") ?? null;
  const position = live?.position ?? -1;
  return {
    name: row.name,
    description: row.description,
    form: live?.about.form ?? null,
    streams: live?.about.streams ?? null,
    types: live?.about.types ?? null,
    state: live === null ? unbornState(row) : stateOf(row, live),
    paused: row.paused,
    version: live?.version ?? null,
    generation: live?.generation ?? null,
    position: String(position),
    head: String(Math.max(head, position)),
    lag: String(Math.max(0, head - position)),
    lagSeconds: Math.round(Number(row.lag_seconds) * 1_000) / 1_000,
    eventsProcessed: String(live?.events ?? 0),
    failures: String(live?.failures ?? 0),
    ...(live === null ? setupTrouble(row) : troubleOf(live)),
    skipped: row.skipped ?? [],
    rebuild: live === null ? null : rebuildOf(row, building),
    snapshots: generations
      .filter(({ role }) => role === "snapshot")
      .map(({ generation, position, events, createdAt }) => ({
        generation,
        position: String(position),
        eventsProcessed: String(events),
        takenAt: createdAt,
      })),
    snapshotRequested: row.snapshot_requested,
    snapshotError: row.snapshot_error,
  };
}

/** Of a projection that has no tables yet. */
function unbornState(row: ProjectionRow): ProjectionState {
  if (row.paused) return "paused";
  if (!row.attended) return "unattended";
  return row.setup_error === null ? "starting" : "failed";
}

/** What keeps tables from being made. */
function setupTrouble(row: ProjectionRow): Trouble {
  return { failedPosition: null, attempts: 0, lastError: row.setup_error, lastErrorAt: row.setup_error_at };
}

function stateOf(row: ProjectionRow, generation: Generation): Exclude<ProjectionState, "starting"> {
  if (row.paused) return "paused";
  if (generation.halted) return "failed";
  if (!row.attended) return "unattended";
  return generation.attempts > 0 ? "retrying" : "running";
}

function troubleOf(generation: Generation | null): Trouble {
  return {
    failedPosition:
      generation === null || generation.failedPosition === null ? null : String(generation.failedPosition),
    attempts: generation?.attempts ?? 0,
    lastError: generation?.lastError ?? null,
    lastErrorAt: generation?.lastErrorAt ?? null,
  };
}

function rebuildOf(row: ProjectionRow, building: Generation | null): Rebuild | null {
  const hasFailed = row.setup_error !== null;
  if (building === null && row.rebuild_requested === null && !hasFailed) return null;
  const isRequested = row.rebuild_requested !== null || building === null;
  return {
    state: hasFailed ? "failed" : isRequested ? "requested" : stateOf(row, building as Generation),
    version: building?.version ?? null,
    generation: building?.generation ?? null,
    position: String(building?.position ?? -1),
    eventsProcessed: String(building?.events ?? 0),
    startedAt: building?.createdAt ?? null,
    ...(hasFailed ? setupTrouble(row) : troubleOf(building)),
  };
}
