// The checkpoint of a generation: moved with what it stands for, or told why it cannot be moved.
import type postgres from "postgres";
import type { HeldLease } from "../../storage/lease.ts";
import { classify, generationElsewhere } from "../../storage/pg-errors.ts";
import type { Fragment, Pool, Sql } from "../../storage/pool.ts";

/** A step of the checkpoint: from where it stands, to behind what was done. */
export type Step = {
  projection: string;
  generation: number;
  from: number;
  to: number;
  /** That were handled. */
  events: number;
  lease: HeldLease;
};

/** The call that is the last of a transaction, or of a statement: it fails unless everything is as the step says. */
export function advance(sql: Sql | postgres.TransactionSql, step: Step): Fragment {
  const { projection, generation, from, to, events, lease } = step;
  return sql`projection_advance(${projection}, ${generation}, ${from}, ${to}, ${events}, ${lease.owner}, ${lease.epoch})`;
}

/** Moves the checkpoint alone: over events that are not for the projection. */
export async function passOver(pool: Pool, step: Step): Promise<void> {
  await pool.run((sql) => sql`select ${advance(sql, step)}`);
}

/** Whether a step failed because the generation is paused, is no more, or stands elsewhere. */
export function isElsewhere(error: unknown): boolean {
  return classify(error).code === generationElsewhere;
}

export type Failure = {
  projection: string;
  generation: number;
  from: number;
  failed: number;
  error: string;
  /** Tries that the event has. */
  attempts: number;
  lease: HeldLease;
};

/** Notes that an event failed. Returns how often it has; null when the generation does not stand there any more. */
export async function noteFailure(pool: Pool, failure: Failure): Promise<number | null> {
  const { projection, generation, from, failed, error, attempts, lease } = failure;
  const [row] = await pool.run(
    (sql) => sql<{ tried: number | null }[]>`
      select projection_fail(
        ${projection}, ${generation}, ${from}, ${failed}, ${error}, ${attempts}, ${lease.owner}, ${lease.epoch}) as tried`,
  );
  return row?.tried ?? null;
}
