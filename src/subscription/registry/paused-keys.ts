// The paused keys of consumer groups, as the API shows them: the first of them, by the events that were given up.
import { arrayLiteral } from "../../storage/lists.ts";
import type { Sql } from "../../storage/pool.ts";

export type PausedKeys = {
  /** A decimal string. */
  count: string;
  /** The first by position, up to a bound. */
  keys: PausedKey[];
};

export type PausedKey = {
  /** The key; null where the dead letter is gone by now, or its event had none. */
  key: string | null;
  /** Of the event that was given up. */
  position: string;
  /** The dead letter to put back or discard; null where it is gone by now. */
  deadLetter: string | null;
  /** RFC 3339. */
  since: string;
};

type Row = {
  subscription_id: string;
  count: string;
  key: string | null;
  position: string | null;
  letter: string | null;
  since: string;
};

/** Keys that are shown of one subscription, and of each where several are. */
const keysOfOne = 100;
const keysOfEach = 10;

/** By subscription; those without a paused key are left out. */
export async function readPausedKeys(sql: Sql, subscriptions: readonly number[]): Promise<Map<number, PausedKeys>> {
  const found = new Map<number, PausedKeys>();
  if (subscriptions.length === 0) return found;
  // The ledger knows hashes of keys only: the letters say which they are.
  const rows = await sql<Row[]>`
    select c.subscription_id, (select count(distinct n.key) from paused_keys n where n.cursor_id = c.id) as count,
      l.partition_key as key, k.position, l.id as letter, k.since
    from subscription_cursors c
      cross join lateral (
        select min(p.position) as position, min(p.since) as since from paused_keys p where p.cursor_id = c.id
        group by p.key order by 1
        limit ${subscriptions.length === 1 ? keysOfOne : keysOfEach}
      ) k
      left join dead_letters l on l.cursor_id = c.id and l.position = k.position
    where c.subscription_id = any(${arrayLiteral(subscriptions)}::bigint[])
    order by k.position`;
  for (const row of rows) {
    const id = Number(row.subscription_id);
    const keys = found.get(id) ?? { count: row.count, keys: [] };
    keys.keys.push({ key: row.key, position: String(row.position), deadLetter: row.letter, since: row.since });
    found.set(id, keys);
  }
  return found;
}
