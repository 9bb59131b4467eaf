// Drops partitions of the log whose events are all gone, without a lock that an append or a read waits for.
import type { Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import { classify } from "../storage/pg-errors.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { beginDuty } from "./duty.ts";
import { findDueRecords, trimStreams } from "./retention.ts";

export type RemovalDependencies = {
  pool: Pool;
  /** A connection of its own with these settings; this part ends it. */
  connect: (settings: Record<string, string>) => Sql;
  /** Age from which on the service's own records may go, in milliseconds: every process has long obeyed them. */
  recordsMs: number;
  onTrimmed: (position: number) => void;
  onNoPartition: () => Promise<void>;
  log: Log;
};

export type PartitionRemoval = {
  start: () => void;
  stop: () => Promise<void>;
  counters: () => { dropped: number };
};

/** Of partitions that cannot go a visible event each: as long as it is there, the partition need not be searched again. */
export type Blockers = Map<string, { stream: number; offset: number }>;

type Partition = { name: string; upper: number; ephemeral: boolean };

// DETACH CONCURRENTLY waits for transactions that may still look into the partition, and holds no lock meanwhile.
const detachTimeout = "10s";
// FINALIZE waits for them too, but holds one that keeps new partitions from being attached.
const finalizeTimeout = "1s";

export function createPartitionRemoval(options: RemovalDependencies & { everyMs: number }): PartitionRemoval {
  const { pool, everyMs, log } = options;
  const blockers: Blockers = new Map();
  let loop: Loop | null = null;
  let dropped = 0;

  async function round(signal: AbortSignal): Promise<void> {
    if (!(await beginDuty(pool, "partition removal", everyMs))) return;
    await decideRemovals(options, blockers, signal);
    await removeDecided(options, signal, () => dropped++);
  }

  return {
    start() {
      loop = startLoop("partition removal", everyMs, round, log);
    },
    async stop() {
      await loop?.stop();
    },
    counters: () => ({ dropped }),
  };
}

/** Notes the partitions that nothing visible is left in: an event that is gone stays so, hence that decision is for good. */
export async function decideRemovals(
  dependencies: RemovalDependencies,
  blockers: Blockers,
  signal: AbortSignal,
): Promise<void> {
  const { pool } = dependencies;
  for (const partition of await withoutBlocker(pool, blockers, await closedPartitions(pool))) {
    if (signal.aborted) return;
    if (await isBlocked(dependencies, blockers, partition.name)) continue;
    if (!partition.ephemeral) await trimRecords(dependencies, partition.upper);
    await pool.run(
      (sql) => sql`insert into partition_removals (partition, ephemeral)
        values (${partition.name}, ${partition.ephemeral}) on conflict do nothing`,
    );
  }
}

/** Partitions in which nothing is appended any more and the end of no stream is looked for. */
async function closedPartitions(pool: Pool): Promise<Partition[]> {
  const rows = await pool.run(
    (sql) => sql<{ name: string; upper: string; ephemeral: boolean }[]>`
      select p.name, p.upper, p.ephemeral
      from (
        select c.relname as name, i.inhparent = 'events_ephemeral'::regclass as ephemeral,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''?(\\d+)''?\\)'))[1]::bigint as upper
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent in ('events_ephemeral'::regclass, 'events_persistent'::regclass)
      ) p
      where p.upper <= (select checkpoint_position from log)
        and not exists (select from partition_removals r where r.partition = p.name)
      order by p.upper`,
  );
  return rows.map((row) => ({ ...row, upper: Number(row.upper) }));
}

/** Of the partitions those of which no event is known that is still visible. */
async function withoutBlocker(pool: Pool, blockers: Blockers, partitions: Partition[]): Promise<Partition[]> {
  const known = partitions.flatMap(({ name }) => {
    const blocker = blockers.get(name);
    return blocker === undefined ? [] : [{ name, ...blocker }];
  });
  const gone = await pool.run(
    (sql) => sql<{ name: string }[]>`
      select b.name from json_to_recordset(${JSON.stringify(known)}::text::json) as b(name text, stream bigint, "offset" bigint)
      where not exists (select from streams s where s.id = b.stream and s.first_offset <= b."offset")`,
  );
  for (const { name } of gone) blockers.delete(name);
  return partitions.filter(({ name }) => !blockers.has(name));
}

async function isBlocked({ pool, recordsMs }: RemovalDependencies, blockers: Blockers, name: string): Promise<boolean> {
  const [blocker] = await pool.run(
    (sql) => sql<{ stream: string | null; offset: string; internal: boolean }[]>`
      select b.stream_id as stream, b."offset", s.internal
      from partition_blocker(${name}, clock_timestamp() - ${`${recordsMs} ms`}::text::interval) b
        left join streams s on s.id = b.stream_id`,
  );
  if (blocker === undefined || blocker.stream === null) return false;
  // The service's own records go by their age, which is looked at again.
  if (!blocker.internal) blockers.set(name, { stream: Number(blocker.stream), offset: Number(blocker.offset) });
  return true;
}

/** The records in the way are trimmed as any event is: by another record. */
async function trimRecords(dependencies: RemovalDependencies, before: number): Promise<void> {
  const { pool, recordsMs, onTrimmed, onNoPartition } = dependencies;
  const due = await findDueRecords(pool, before, recordsMs);
  if (due.count === 0) return;
  const { position } = await trimStreams(pool, due, 1_000, onNoPartition);
  if (position !== null) onTrimmed(position);
}

/** Removes the partitions that were decided on, also what an interrupted removal has left. */
export async function removeDecided(
  { pool, connect, log }: RemovalDependencies,
  signal: AbortSignal,
  onDropped: () => void = () => {},
): Promise<void> {
  if ((await pool.run(readDecided)).length === 0 || signal.aborted) return;
  const sql = connect({ statement_timeout: detachTimeout });
  const leave = () => void sql.end({ timeout: 0 }).catch(() => {});
  signal.addEventListener("abort", leave, { once: true });
  try {
    // Held until the connection ends.
    const [lock] = await sql<{ mine: boolean }[]>`select pg_try_advisory_lock(log_lock() + 4) as mine`;
    if (lock?.mine !== true) return;
    // Read behind the lock: whoever held it before has removed what was decided until then.
    for (const { partition, ephemeral } of await readDecided(sql)) {
      await removePartition(sql, partition, ephemeral);
      onDropped();
      log.info({ partition }, "partition dropped");
    }
  } catch (error) {
    if (signal.aborted) return;
    const { code } = classify(error);
    if (code !== "57014" && code !== "55P03") throw error;
    log.info({ err: error }, "a partition waits for transactions that may look into it");
  } finally {
    signal.removeEventListener("abort", leave);
    await sql.end({ timeout: 1 }).catch(() => {});
  }
}

async function readDecided(sql: Sql): Promise<{ partition: string; ephemeral: boolean }[]> {
  return sql<{ partition: string; ephemeral: boolean }[]>`
    select partition, ephemeral from partition_removals order by length(partition), partition`;
}

/** Detaches and drops a partition, from whatever state an earlier attempt has left it in. */
async function removePartition(sql: Sql, name: string, ephemeral: boolean): Promise<void> {
  const parent = ephemeral ? "events_ephemeral" : "events_persistent";
  const [found] = await sql<{ is_pending: boolean | null }[]>`
    select i.inhdetachpending as is_pending from pg_class c left join pg_inherits i on i.inhrelid = c.oid
    where c.oid = to_regclass(quote_ident(${name}))`;
  // Not prepared: these statements take no parameters, and none is repeated.
  if (found?.is_pending === false) await sql.unsafe(`alter table ${parent} detach partition ${name} concurrently`);
  if (found?.is_pending === true) {
    await sql`select set_config('statement_timeout', ${finalizeTimeout}, false)`;
    await sql.unsafe(`alter table ${parent} detach partition ${name} finalize`);
    await sql`select set_config('statement_timeout', ${detachTimeout}, false)`;
  }
  if (found !== undefined) await sql.unsafe(`drop table ${name}`);
  await sql`delete from partition_removals where partition = ${name}`;
}
