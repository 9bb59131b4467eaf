// Finds out whether events of a version are kept anywhere.
import { isTooSlow } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";

export type VersionUse = { type: string; version: number; head: number; signal: AbortSignal };

const firstWindow = 100_000;
const maxWindow = 50_000_000;
const quickMs = 50;
const slowMs = 250;
/** Time after which a search that has found nothing gives up, in milliseconds. */
const budgetMs = 10_000;

/** By what the version is used, in words that follow "cannot be deleted:"; null when nothing uses it. */
export async function isVersionInUse(pool: Pool, use: VersionUse): Promise<string | null> {
  const { type, version } = use;
  const letters = await pool.run(
    (sql) => sql`
      select from dead_letters l where l.type = ${type} and l.schema_version = ${version}
      union all select from replayed_letters r where r.type = ${type} and r.schema_version = ${version} limit 1`,
  );
  if (letters.length > 0) return "a dead letter is of this version";
  return findEvent(pool, use);
}

/** From the newest on, window by window, so that no statement runs long. */
async function findEvent(pool: Pool, { type, version, head, signal }: VersionUse): Promise<string | null> {
  const deadline = performance.now() + budgetMs;
  let window = firstWindow;
  for (let before = head + 1; before > 0; ) {
    signal.throwIfAborted();
    const from = Math.max(0, before - window);
    const started = performance.now();
    try {
      const rows = await pool.run(
        (sql) => sql<{ stream: string; offset: string }[]>`
          select s.name as stream, e."offset" from events e join streams s on s.id = e.stream_id
          where e.type = ${type} and e.position >= ${from} and e.position < ${before} and e.schema_version = ${version}
            and e."offset" >= s.first_offset
          order by e.position desc limit 1`,
        signal,
      );
      if (rows[0] !== undefined)
        return `there are events of this version, such as ${rows[0].offset} of stream ${rows[0].stream}`;
      before = from;
    } catch (error) {
      if (!isTooSlow(error) || window === 1) throw error;
      window = Math.max(1, Math.floor(window / 8));
    }
    if (performance.now() > deadline)
      return `the log is too long to be searched for events of this version (down to position ${before})`;
    const tookMs = performance.now() - started;
    if (tookMs < quickMs) window = Math.min(window * 4, maxWindow);
    else if (tookMs > slowMs) window = Math.max(1, Math.floor(window / 2));
  }
  return null;
}
