// The ends of cursors in the database: noted before the event is handed out, found again, completed when all is settled.
import type { Log } from "../../base/log.ts";
import { startLoop } from "../../base/loop.ts";
import { arrayLiteral } from "../../storage/lists.ts";
import { classify } from "../../storage/pg-errors.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { beginDuty } from "../../stream/duty.ts";

export type Noted = "ok" | "changed" | "gone";

export type Endings = {
  /** Notes where a cursor ends; `changed` when the subscription has been configured anew since this revision. */
  note: (cursor: number, revision: number, position: number) => Promise<Noted>;
  isNoted: (cursor: number, position: number) => Promise<boolean>;
  /** Whether a cursor has come to its end and everything up to there is settled; its subscription shows it. */
  complete: (cursor: number) => Promise<boolean>;
  /** The same after something was settled or put back, of those that have an end; what fails is found again later. */
  review: (cursors: Iterable<number>) => Promise<void>;
  stop: () => Promise<void>;
};

export type EndingsOptions = {
  pool: Pool;
  /** This cursor is completed: whoever waits at it is told. */
  onCompleted: (cursor: number) => void;
  log: Log;
};

const everyMs = 2_000;
const reviewedAtOnce = 500;
const maxAttempts = 4;

export function createEndings({ pool, onCompleted, log }: EndingsOptions): Endings {
  async function complete(cursor: number): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await pool.run((sql) => callCursorComplete(sql, cursor));
      } catch (error) {
        if (classify(error).kind !== "retry" || attempt === maxAttempts) throw error;
      }
    }
  }

  async function review(cursors: Iterable<number>): Promise<void> {
    const rows = await pool.run(
      (sql) => sql<{ cursor_id: string }[]>`
        select distinct e.cursor_id from cursor_ends e where e.cursor_id = any(${arrayLiteral([...cursors])}::bigint[])`,
    );
    for (const { cursor_id } of rows) if (await complete(Number(cursor_id))) onCompleted(Number(cursor_id));
  }

  /** Some are settled in the background, such as by a dead letter while nobody consumes. */
  let after = 0;
  async function reviewOpen(): Promise<void> {
    if (!(await beginDuty(pool, "endings", everyMs))) return;
    const rows = await pool.run(
      (sql) => sql<{ cursor_id: string }[]>`
        select distinct e.cursor_id from cursor_ends e
        where e.completed_at is null and e.cursor_id > ${after}
          and not exists (select from deliveries d where d.cursor_id = e.cursor_id and d.positions[1] > -1)
        order by e.cursor_id limit ${reviewedAtOnce}`,
    );
    after = rows.length === reviewedAtOnce ? Number(rows.at(-1)?.cursor_id) : 0;
    for (const { cursor_id } of rows) if (await complete(Number(cursor_id))) onCompleted(Number(cursor_id));
  }
  const loop = startLoop("endings", everyMs, reviewOpen, log);

  return {
    async note(cursor, revision, position) {
      const rows = await pool.run(
        (sql) => sql<{ outcome: Noted }[]>`select cursor_end(${cursor}, ${revision}, ${position}) as outcome`,
      );
      return (rows[0] as { outcome: Noted }).outcome;
    },
    async isNoted(cursor, position) {
      const rows = await pool.run(
        (sql) => sql`select from cursor_ends e where e.cursor_id = ${cursor} and e.position = ${position}`,
      );
      return rows.length > 0;
    },
    complete,
    review: (cursors) =>
      review(cursors).catch((error: unknown) => log.debug({ err: error }, "ends of cursors are reviewed later")),
    stop: () => loop.stop(),
  };
}

async function callCursorComplete(sql: Sql, cursor: number): Promise<boolean> {
  const rows = await sql<{ is_completed: boolean }[]>`select cursor_complete(${cursor}) as is_completed`;
  return rows[0]?.is_completed === true;
}
