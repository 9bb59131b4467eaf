// Finds where the events of a selection lie, without reading them: to count them, and to look events up by their ids.
import { uuidv7TimeMs } from "../base/ids.ts";
import { arrayLiteral, separator, textList } from "../storage/lists.ts";
import { isTooSlow } from "../storage/pg-errors.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { filterOf } from "./page.ts";
import type { Selection } from "./selection.ts";

export type Scan = {
  selection: Selection;
  /** Ids of the selection's streams; null for all persistent ones. */
  streamIds: readonly number[] | null;
  /** Looks at the positions in (after, bound]; the bound must be committed. */
  after: number;
  bound: number;
  limit: number;
  /** Time after which a scan that finds little ends early, in milliseconds. */
  budgetMs: number;
  signal?: AbortSignal | undefined;
};

/** The positions of what matches in (after, reached], ascending. */
export type Matches = { positions: number[]; reached: number };

const firstWindow = 20_000;
const maxWindow = 50_000_000;
const quickWindowMs = 50;
const slowWindowMs = 250;
/** How long after an id was made here its event may be recorded, and how far clocks may differ, in milliseconds. */
const idSlackMs = 120_000;

/** Window by window, whose width follows the time a window takes, so that no statement runs long. */
export async function scanMatches(pool: Pool, scan: Scan): Promise<Matches> {
  const { bound, limit, signal } = scan;
  const deadline = performance.now() + scan.budgetMs;
  const positions: number[] = [];
  let reached = scan.after;
  let window = scan.selection.where === null ? firstWindow : firstWindow / 20;
  while (reached < bound && positions.length < limit && (performance.now() < deadline || reached === scan.after)) {
    signal?.throwIfAborted();
    const end = Math.min(reached + window, bound);
    const wanted = limit - positions.length;
    const started = performance.now();
    try {
      const found = await pool.run((sql) => selectPositions(sql, scan, reached, end, wanted), signal);
      positions.push(...found);
      reached = found.length === wanted ? (found.at(-1) as number) : end;
    } catch (error) {
      if (!isTooSlow(error) || end - reached === 1) throw error;
      window = Math.max(1, Math.floor((end - reached) / 8));
      continue;
    }
    const tookMs = performance.now() - started;
    if (tookMs < quickWindowMs) window = Math.min(window * 4, maxWindow);
    else if (tookMs > slowWindowMs) window = Math.max(1, Math.floor(window / 2));
  }
  return { positions, reached };
}

async function selectPositions(sql: Sql, { selection, streamIds }: Scan, after: number, end: number, limit: number) {
  const filters = filterOf(sql, selection);
  const rows =
    streamIds === null
      ? await sql<{ position: string }[]>`
          select e.position from events e join streams s on s.id = e.stream_id
          where e.position > ${after} and e.position <= ${end} and not e.ephemeral and not s.internal
            and e."offset" >= s.first_offset ${filters}
          order by e.position limit ${limit}`
      : await sql<{ position: string }[]>`
          select m.position from streams s cross join lateral (
            select e.position from events e
            where e.stream_id = s.id and e.position > ${after} and e.position <= ${end} and e."offset" >= s.first_offset ${filters}
            order by e.position limit ${limit}
          ) m
          where s.id = any(${arrayLiteral(streamIds)}::bigint[])
          order by m.position limit ${limit}`;
  return rows.map((row) => Number(row.position));
}

/** Which of these events are there: neither trimmed nor deleted. */
export async function keepVisible(pool: Pool, positions: readonly number[]): Promise<number[]> {
  if (positions.length === 0) return [];
  const rows = await pool.run(
    (sql) => sql<{ position: string }[]>`
      select u.position from unnest(${arrayLiteral(positions)}::bigint[]) u(position)
        cross join lateral (select e.stream_id, e."offset" from events e where e.position = u.position) e
        join streams s on s.id = e.stream_id
      where e."offset" >= s.first_offset order by u.position`,
  );
  return rows.map((row) => Number(row.position));
}

/** Which of these events have one of the ids, and which. */
export async function keepIds(
  pool: Pool,
  positions: readonly number[],
  ids: readonly string[],
): Promise<{ position: number; id: string }[]> {
  if (positions.length === 0) return [];
  const rows = await pool.run(
    (sql) => sql<{ position: string; id: string }[]>`
      select u.position, e.id from unnest(${arrayLiteral(positions)}::bigint[]) u(position)
        cross join lateral (select ev.id from events ev where ev.position = u.position) e
      where e.id = any(string_to_array(${textList(ids)}, ${separator}))`,
  );
  return rows.map((row) => ({ position: Number(row.position), id: row.id }));
}

/** The positions of the selection's events that have one of the ids, anywhere in the log. */
export async function findIds(
  pool: Pool,
  selection: Selection,
  streamIds: readonly number[] | null,
  ids: readonly string[],
  head: number,
): Promise<number[]> {
  const found = await pool.run((sql) => {
    const among = streamIds === null ? sql`` : sql`and i.stream_id = any(${arrayLiteral(streamIds)}::bigint[])`;
    return sql<{ id: string; position: string }[]>`
      select i.id, i.position from event_ids i
      where i.id = any(string_to_array(${textList(ids)}, ${separator})) ${among}`;
  });
  const positions = found.map((row) => Number(row.position));
  const known = new Set(found.map((row) => row.id));
  for (const id of ids) {
    // An id made here tells when: its event was recorded within a moment of that.
    const madeMs = known.has(id) ? null : uuidv7TimeMs(id);
    if (madeMs !== null) positions.push(...(await findMade(pool, streamIds, id, madeMs, head)));
  }
  return keepSelected(pool, selection, streamIds, positions);
}

async function findMade(
  pool: Pool,
  streamIds: readonly number[] | null,
  id: string,
  madeMs: number,
  head: number,
): Promise<number[]> {
  const rows = await pool.run((sql) => {
    const among = streamIds === null ? sql`` : sql`and e.stream_id = any(${arrayLiteral(streamIds)}::bigint[])`;
    return sql<{ position: string }[]>`
      select e.position from events e
      where e.position >= log_position_at(${new Date(madeMs - idSlackMs)}, ${head})
        and e.position < log_position_at(${new Date(madeMs + idSlackMs)}, ${head}) and e.id = ${id} ${among}`;
  });
  return rows.map((row) => Number(row.position));
}

async function keepSelected(
  pool: Pool,
  selection: Selection,
  streamIds: readonly number[] | null,
  positions: readonly number[],
): Promise<number[]> {
  if (positions.length === 0) return [];
  const rows = await pool.run((sql) => {
    const among =
      streamIds === null
        ? sql`and not s.ephemeral and not s.internal`
        : sql`and s.id = any(${arrayLiteral(streamIds)}::bigint[])`;
    return sql<{ position: string }[]>`
      select e.position from unnest(${arrayLiteral(positions)}::bigint[]) u(position)
        cross join lateral (select ev.* from events ev where ev.position = u.position) e
        join streams s on s.id = e.stream_id
      where e."offset" >= s.first_offset ${among} ${filterOf(sql, selection)} order by e.position`;
  });
  return rows.map((row) => Number(row.position));
}
