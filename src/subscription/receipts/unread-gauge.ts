// How many delivered events are unread, by subscription, for the metrics: few subscriptions, counted no further than is useful.
import type { Pool } from "../../storage/pool.ts";

/** Subscriptions that are shown: those with most. */
const shownAtMost = 50;
/** Batches that are counted of one subscription, and for how long the figures are used, in milliseconds. */
const batchesAtMost = 100_000;
const freshMs = 10_000;

export function createUnreadGauge(pool: Pool): () => Promise<ReadonlyMap<string, number>> {
  let known: ReadonlyMap<string, number> = new Map();
  let countedAt = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - countedAt < freshMs) return known;
    countedAt = performance.now();
    const counted = await pool
      .run(
        (sql) => sql<{ name: string; unread: string }[]>`
        select s.name, u.unread from subscriptions s cross join lateral (
          select coalesce(sum(b.events), 0) as unread from (
            select cardinality(r.positions) as events from subscription_cursors c join receipts r on r.cursor_id = c.id
            where c.subscription_id = s.id and r.positions[1] > -1 limit ${batchesAtMost}
          ) b
        ) u
        where s.mode = 'read-receipt' order by u.unread desc, s.name limit ${shownAtMost}`,
      )
      .catch(() => null);
    // A database that is away must not take the other metrics with it.
    if (counted !== null) known = new Map(counted.map((row) => [row.name, Number(row.unread)]));
    return known;
  };
}
