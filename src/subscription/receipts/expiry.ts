// Ends the time for reading: what was delivered and is not read in time goes where its subscription wants it.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { beginDuty } from "../../stream/duty.ts";

export type ReceiptExpiry = {
  /** Something was configured: its deadlines may come sooner than any that were known. */
  wake: () => void;
  counters: () => { requeued: number; dead: number; dropped: number };
  stop: () => Promise<void>;
};

export type ReceiptExpiryOptions = {
  pool: Pool;
  /** Something waits for another attempt under these cursors. */
  onReturned: (cursors: readonly number[]) => void;
  log: Log;
};

/** Also the time after which a shorter unread timeout is noticed that another process has configured before it went away. */
const everyMs = 5_000;
const sweepEveryMs = 30_000;
const sweptAtOnce = 200;
const receiptsAtOnce = 500;
/** A cursor that was busy is tried again after this time. */
const busyMs = 20;

export function startReceiptExpiry({ pool, onReturned, log }: ReceiptExpiryOptions): ReceiptExpiry {
  const counters = { requeued: 0, dead: 0, dropped: 0 };
  const names = { requeue: "requeued", "dead-letter": "dead", drop: "dropped" } as const;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let stopped = false;

  async function expire(signal: AbortSignal): Promise<void> {
    if (timer !== null) clearTimeout(timer);
    for (let cursors = 1; cursors > 0 && !signal.aborted; ) {
      const rows = await pool.run((sql) => callReceiptsExpire(sql, receiptsAtOnce));
      cursors = rows.length;
      for (const row of rows) counters[names[row.action]] += row.events;
      const returned = rows.filter((row) => row.action !== "drop").map((row) => Number(row.cursor_id));
      if (returned.length > 0) onReturned(returned);
      if (rows.length > 0) log.info({ cursors: rows.length }, "events were not read in time");
    }
    // What is delivered from now on, by whichever process, is due after the shortest timeout at the earliest: whoever looks
    // again by then is never late.
    const { dueMs, shortestMs } = await pool.run(nextDeadline);
    const waitMs = Math.max(busyMs, Math.min(dueMs ?? everyMs, shortestMs ?? everyMs, everyMs));
    if (!stopped && waitMs < everyMs) timer = setTimeout(() => loop.wake(), waitMs);
  }
  const loop: Loop = startLoop("receipts", everyMs, expire, log);

  /** What retention has removed is not unread any more, also of those who never ask. */
  async function sweep(signal: AbortSignal): Promise<void> {
    if (!(await beginDuty(pool, "receipts", sweepEveryMs))) return;
    for (let after: number | null = -1; after !== null && !signal.aborted; ) {
      const from: number = after;
      after = await pool.run((sql) => callReceiptsSweep(sql, from, sweptAtOnce));
    }
  }
  const sweeper: Loop = startLoop("removed receipts", sweepEveryMs, sweep, log);

  return {
    wake: () => loop.wake(),
    counters: () => counters,
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      await Promise.all([loop.stop(), sweeper.stop()]);
    },
  };
}

function callReceiptsExpire(sql: Sql, limit: number) {
  return sql<{ cursor_id: string; action: "requeue" | "dead-letter" | "drop"; events: number }[]>`
    select cursor_id, action, events from receipts_expire(${limit})`;
}

/** Returns the last cursor that was looked at; null when there are no more. */
async function callReceiptsSweep(sql: Sql, after: number, limit: number): Promise<number | null> {
  const rows = await sql<{ reached: string | null }[]>`select reached from receipts_sweep(${after}, ${limit})`;
  const reached = rows[0]?.reached ?? null;
  return reached === null ? null : Number(reached);
}

/** In how many milliseconds the next receipt is due, and the shortest timeout that is configured; null where there is none. */
async function nextDeadline(sql: Sql): Promise<{ dueMs: number | null; shortestMs: number | null }> {
  const rows = await sql<{ due_ms: string | null; shortest_ms: string | null }[]>`
    select ceil(extract(epoch from (
             select r.due from receipts r where r.due > '-infinity' order by r.due limit 1) - clock_timestamp()) * 1000) + 1 as due_ms,
           (select min(s.unread_timeout_ms) from subscriptions s where s.mode = 'read-receipt') as shortest_ms`;
  const row = rows[0];
  const number = (text: string | null | undefined) => (text === null || text === undefined ? null : Number(text));
  return { dueMs: number(row?.due_ms), shortestMs: number(row?.shortest_ms) };
}
