// The log's background duties: partitions ahead, the checkpoint of stream ends, the removal of what expired or never came to be.
import type { Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import { classify } from "../storage/pg-errors.ts";
import type { Pool, Sql } from "../storage/pool.ts";
import { readHead } from "./resolve.ts";

export type UpkeepOptions = {
  pool: Pool;
  head: () => number;
  /** Positions in one partition. */
  partitionSize: number;
  /** How long the answer of an idempotent request is kept, in milliseconds. */
  idempotencyKeysMs: number;
  log: Log;
};

export type Upkeep = {
  /** Makes sure that the log can be appended to; then goes on in the background. */
  start: () => Promise<void>;
  /** Adds partitions at once, if there is not room enough; resolves when that has been done or has failed. */
  wakePartitions: () => Promise<void>;
  /** Positions that can be appended before the partitions end, as of the last look. */
  partitionRoom: () => number;
  stop: () => Promise<void>;
};

const partitionsAhead = 2;
// Positions that are free at least: more than one batch takes, however small the partitions are.
const minRoom = 2_000;
const checkpointSpan = 20_000;
const batchRows = 2_000;
const everyMs = 5_000;
const keysEveryMs = 60_000;
const unbornEveryMs = 60_000;
// ATTACH waits for nobody: if it cannot have its lock at once, it tries again in a moment.
const lockTimeoutMs = 1_000;
const families = [false, true];

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { pool, head, partitionSize, log } = options;
  const loops: Loop[] = [];
  let end = 0;

  async function partitionEnd(sql: Sql, ephemeral: boolean): Promise<number> {
    const rows = await sql<{ upper: string }[]>`select log_partition_end(${ephemeral}) as upper`;
    return Number(rows[0]?.upper ?? 0);
  }

  /** Makes room behind the head, or behind `last` where this process has not heard of that event yet. */
  async function extend(last = -1): Promise<void> {
    const room = Math.max(partitionsAhead * partitionSize, minRoom);
    for (const ephemeral of families) {
      let upper = await pool.run((sql) => partitionEnd(sql, ephemeral));
      while (upper < Math.max(last, head()) + 1 + room) {
        upper = await pool.run((sql) => addPartition(sql, ephemeral, upper));
        log.info({ ephemeral, upTo: upper }, "partition added");
      }
      if (!ephemeral) end = upper;
    }
  }

  /** Several processes may want the same partition: the first makes it, the others find it made. */
  function addPartition(sql: Sql, ephemeral: boolean, known: number): Promise<number> {
    return sql.begin(async (tx) => {
      await tx`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true), pg_advisory_xact_lock(log_lock() + 1)`;
      const upper = await partitionEnd(tx as unknown as Sql, ephemeral);
      if (upper > known) return upper;
      const rows = await tx<{ upper: string }[]>`select log_partition_add(${ephemeral}, ${partitionSize}) as upper`;
      return Number(rows[0]?.upper);
    }) as Promise<number>;
  }

  async function moveCheckpoint(signal: AbortSignal): Promise<void> {
    for (let more = true; more && !signal.aborted; ) {
      more = await pool.run(async (sql) => {
        const rows = await sql<
          { more: boolean }[]
        >`select log_checkpoint(${Math.max(0, head())}, ${checkpointSpan}) as more`;
        return rows[0]?.more === true;
      });
    }
  }

  async function forgetUnborn(signal: AbortSignal): Promise<void> {
    for (let gone = 1; gone > 0 && !signal.aborted; ) {
      gone = await pool.run(async (sql) => {
        const rows = await sql<{ gone: number }[]>`select stream_forget_unborn(${batchRows}) as gone`;
        return rows[0]?.gone ?? 0;
      });
    }
  }

  async function forgetKeys(signal: AbortSignal): Promise<void> {
    const before = new Date(Date.now() - options.idempotencyKeysMs);
    for (const table of ["idempotency_keys", "command_answers"])
      for (let gone = 1; gone > 0 && !signal.aborted; ) {
        gone = await pool.run(async (sql) => {
          const rows = await sql`
            delete from ${sql(table)} where key in (
              select key from ${sql(table)} where recorded_at < ${before} order by recorded_at limit ${batchRows})`;
          return rows.count;
        });
      }
  }

  return {
    async start() {
      for (let attempt = 1; ; attempt++) {
        try {
          await extend();
          break;
        } catch (error) {
          if (classify(error).kind !== "retry" || attempt === 20) throw error;
        }
      }
      loops.push(
        startLoop("partitions", everyMs, () => extend(), log),
        startLoop("checkpoint", everyMs, moveCheckpoint, log),
        startLoop("unborn streams", unbornEveryMs, forgetUnborn, log),
        startLoop("idempotency keys", keysEveryMs, forgetKeys, log),
      );
    },
    wakePartitions: () =>
      pool
        .run((sql) => readHead(sql, head()))
        .then(extend)
        .catch((error: unknown) => log.warn({ err: error }, "partitions could not be added")),
    partitionRoom: () => end - head() - 1,
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}
