// Marks events as processed, once, by whoever holds them: what is marked is never handed out again.
import { alreadyProcessed, staleToken } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import type { Tokens } from "../ledger/token.ts";
import { isPerConsumer, type Subscription, sourceOf } from "../registry/subscription.ts";

export type Processed = {
  eventId: string;
  /** Who marked it. */
  consumer: string;
  /** RFC 3339. */
  at: string;
};

export type ProcessedEvents = {
  /** Returns whether it is new; false where the same delivery has marked it before. Throws `stale-token`, `already-processed`. */
  mark: (
    subscription: Subscription,
    consumer: string,
    eventId: string,
    token: string,
  ) => Promise<Processed & { isNew: boolean }>;
  /** Null when it is not processed, as far as is remembered. */
  find: (subscription: Subscription, consumer: string, eventId: string) => Promise<Processed | null>;
  counters: () => { marked: number; forgotten: number };
  stop: () => Promise<void>;
};

export type ProcessedOptions = {
  reads: Pool;
  claims: Pool;
  tokens: Tokens;
  /** How long marks are remembered, in milliseconds. */
  windowMs: number;
  log: Log;
};

const forgetEveryMs = 60_000;
const forgetBatch = 2_000;

export function createProcessedEvents({ reads, claims, tokens, windowMs, log }: ProcessedOptions): ProcessedEvents {
  const counters = { marked: 0, forgotten: 0 };
  const everyMs = Math.min(forgetEveryMs, Math.max(1_000, windowMs / 2));
  const loop: Loop = startLoop("processed events", everyMs, forget, log);

  async function forget(signal: AbortSignal): Promise<void> {
    for (let after: string | null = "-infinity"; after !== null && !signal.aborted; ) {
      const from: string = after;
      const { gone, reached } = await claims.run((sql) => callProcessedForget(sql, windowMs, from, forgetBatch));
      counters.forgotten += gone;
      after = reached;
    }
  }

  return {
    async mark(subscription, consumer, eventId, token) {
      const read = tokens.read(token);
      const stale = () => staleToken(`The token does not hold the event ${eventId} for consumer ${consumer}`);
      if (read === null || read.lease.subscription !== subscription.id) throw stale();
      const { lease, position } = read;
      const rows = await claims.run(
        (sql) => sql<{ outcome: "marked" | "repeated" | "already" | "stale"; processed_at: string | null }[]>`
          select outcome, processed_at from processed_mark(
            ${lease.cursor}, ${lease.step}, ${lease.part}, ${position}, ${consumer}, ${eventId})`,
      );
      const { outcome, processed_at } = rows[0] as (typeof rows)[number];
      if (outcome === "stale") throw stale();
      if (outcome === "already") throw alreadyProcessed(sourceOf(subscription), eventId, processed_at as string);
      if (outcome === "marked") counters.marked++;
      return { eventId, consumer, at: processed_at as string, isNew: outcome === "marked" };
    },
    async find(subscription, consumer, eventId) {
      const own = isPerConsumer(subscription.mode) ? consumer : "";
      const rows = await reads.run(
        (sql) => sql<{ consumer: string; processed_at: string }[]>`
          select p.consumer, p.processed_at
          from subscription_cursors c join processed_events p on p.cursor_id = c.id
          where c.subscription_id = ${subscription.id} and c.consumer = ${own} and p.event_id = ${eventId} and p.event_id > ''
          order by p.position desc limit 1`,
      );
      const [row] = rows;
      return row === undefined ? null : { eventId, consumer: row.consumer, at: row.processed_at };
    },
    counters: () => counters,
    stop: () => loop.stop(),
  };
}

async function callProcessedForget(
  sql: Sql,
  windowMs: number,
  after: string,
  limit: number,
): Promise<{ gone: number; reached: string | null }> {
  // As a text: a time in milliseconds would be before itself.
  const rows = await sql<{ gone: number; reached: string | null }[]>`
    select gone, reached::text as reached from processed_forget(
      clock_timestamp() - ${windowMs} * interval '1 millisecond', ${after}::text::timestamptz, ${limit})`;
  return rows[0] as { gone: number; reached: string | null };
}
