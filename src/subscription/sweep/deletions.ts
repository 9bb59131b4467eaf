// Deletes in the background: subscriptions that are not used any more, and what the ledgers hold of deleted streams.
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import { everyStream } from "../registry/subscription.ts";
import type { SweepDuty } from "./duty.ts";

const subscriptionsAtOnce = 100;
const lettersAtOnce = 1_000;
/** Of each table. */
const rowsAtOnce = 1_000;
const cursorsAtOnce = 500;
const batchesAtOnce = 200;

/** Retires what has expired, and removes the rows of what was retired. */
export function createExpiryDuty(pool: Pool, log: Log): SweepDuty {
  return async (more) => {
    const expired = await pool.run(
      (sql) => sql<{ name: string }[]>`select name from subscriptions_expire(${subscriptionsAtOnce}) as e(name)`,
    );
    for (const { name } of expired) log.info({ subscription: name }, "subscription expired and was deleted");
    while (more()) {
      const rows = await pool.run((sql) => sql<{ was: boolean }[]>`select subscription_clear(${rowsAtOnce}) as was`);
      if (rows[0]?.was !== true) return;
    }
  };
}

export function createStreamDeletionsDuty(pool: Pool, onSettled: (cursor: number) => void): SweepDuty {
  /** Dead letters of the stream's present or former life, up to the deletion. True when none is left. */
  async function forgetLetters(stream: string, position: string): Promise<boolean> {
    const rows = await pool.run(
      (sql) => sql`
        delete from dead_letters l where l.id = any(array(
          select d.id from dead_letters d where d.stream = ${stream} and d.position < ${position} limit ${lettersAtOnce}))
        returning l.id`,
    );
    if (rows.length === lettersAtOnce) return false;
    await pool.run(
      (sql) => sql`delete from replayed_letters r where r.stream = ${stream} and r.position < ${position}`,
    );
    return true;
  }

  /** Cursors of subscriptions that the stream may have had, under which something is out or waits. */
  function readCursors(stream: string, after: number) {
    return pool.run(
      (sql) => sql<{ id: string }[]>`
        select k.id from subscription_cursors k join subscriptions s on s.id = k.subscription_id
        where k.id > ${after} and s.deleted_at is null
          and (s.correlation is not null
            or exists (
              select from subscription_streams t
              where t.stream in (${stream}, ${everyStream}) and t.subscription_id = s.id))
          and exists (select from deliveries d where d.cursor_id = k.id and d.due > '-infinity')
        order by k.id limit ${cursorsAtOnce}`,
    );
  }

  async function settleUnder(cursor: number, position: string): Promise<void> {
    for (let after: string | null = "-1"; after !== null; ) {
      const from: string = after;
      const rows = await pool.run(
        (sql) => sql<{ reached: string | null }[]>`
          select cursor_settle_removed(${cursor}, ${position}, ${from}, ${batchesAtOnce}) as reached`,
      );
      after = rows[0]?.reached ?? null;
    }
    onSettled(cursor);
  }

  return async (more) => {
    while (more()) {
      const [deletion] = await pool.run(
        (sql) => sql<{ position: string; stream: string }[]>`
          select d.position, d.stream from stream_deletions d order by d.position limit 1`,
      );
      if (deletion === undefined) return;
      const { stream, position } = deletion;
      while (!(await forgetLetters(stream, position))) if (!more()) return;
      for (let after = 0; ; ) {
        const cursors = await readCursors(stream, after);
        for (const { id } of cursors) await settleUnder(Number(id), position);
        if (cursors.length < cursorsAtOnce) break;
        if (!more()) return;
        after = Number(cursors.at(-1)?.id);
      }
      await pool.run((sql) => sql`delete from stream_deletions d where d.position = ${position}`);
    }
  };
}
