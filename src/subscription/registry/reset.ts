// Moves a cursor back or forward, to a place that a user gives.
import { consumerNotFound, cursorElsewhere, subscriptionNotFound } from "../../base/errors.ts";
import type { Pool } from "../../storage/pool.ts";
import { runAgain } from "../../storage/retry.ts";
import type { LogReader } from "../../stream/range.ts";
import { positionBefore } from "./start-place.ts";
import { isPerConsumer, type Subscription } from "./subscription.ts";

export type ResetDependencies = {
  reader: LogReader;
  writes: Pool;
  /** What is handed out under this cursor is another thing now. */
  onReset: (cursor: number) => void;
};

export type Reset = (subscription: Subscription, consumer: string | null, to: string) => Promise<void>;

/**
 * Drops what is out, and hands out what lies behind the place. `consumer` is whose cursor it is; null: the one that all
 * share. Throws `cursor-elsewhere`, `consumer-not-found`, `invalid-place`, `cursor-beyond-head`.
 */
export function createReset({ reader, writes, onReset }: ResetDependencies): Reset {
  return async (subscription, consumer, to) => {
    const isOwn = isPerConsumer(subscription.mode);
    if (isOwn !== (consumer !== null)) throw cursorElsewhere(subscription.name, subscription.mode, isOwn);
    const position = await positionBefore(reader, subscription.streams, "to", to);
    // Acknowledgements lock what they settle in an order of their own.
    const cursor = await runAgain(writes, async (sql) => {
      const rows = await sql<{ id: string; moved: boolean }[]>`
        select k.id, cursor_reset(k.id, ${position}) as moved from subscription_cursors k
        where k.subscription_id = ${subscription.id} and k.consumer = ${consumer ?? ""}`;
      return rows[0]?.moved ? Number(rows[0].id) : null;
    });
    if (cursor === null) {
      throw consumer === null ? subscriptionNotFound(subscription.name) : consumerNotFound(subscription.name, consumer);
    }
    onReset(cursor);
  };
}
