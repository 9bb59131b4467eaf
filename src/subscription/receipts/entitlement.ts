// Up to where the consumer of a read-receipt subscription is entitled to events: the head, or what completes the subscription.
import type { Pool } from "../../storage/pool.ts";
import { scanMatches } from "../../stream/matches.ts";
import type { Endings } from "../ledger/endings.ts";
import { type Subscription, selectionOf } from "../registry/subscription.ts";

export type Entitlement = {
  upTo: number;
  /** It is the terminal event, at which the cursor ends. */
  isEnd: boolean;
};

/** For a cursor that stands at `place`; the head must be committed. */
export async function findEntitlement(
  pool: Pool,
  endings: Pick<Endings, "isNoted">,
  subscription: Subscription,
  streamIds: readonly number[] | null,
  { cursor, place, head, signal }: { cursor: number; place: number; head: number; signal: AbortSignal },
): Promise<Entitlement> {
  const bound = Math.max(place, head);
  if (subscription.terminal === null) return { upTo: bound, isEnd: false };
  if (await endings.isNoted(cursor, place)) return { upTo: place, isEnd: true };
  const { positions } = await scanMatches(pool, {
    selection: { ...selectionOf(subscription), types: subscription.terminal },
    streamIds,
    after: place,
    bound,
    limit: 1,
    budgetMs: Number.POSITIVE_INFINITY,
    signal,
  });
  return positions[0] === undefined ? { upTo: bound, isEnd: false } : { upTo: positions[0], isEnd: true };
}
