// How the subscriptions stand, in numbers: for those who watch all of them at once.
import type { Pool } from "../../storage/pool.ts";
import { looksEach } from "./lag.ts";

/** Of a subscription with several cursors, `inFlight`, `waiting` and `parked` are sums, and the lag is that of the slowest. */
export type SubscriptionFigures = {
  /** Of a queue: `$queue:` and its stream. */
  subscription: string;
  inFlight: number;
  waiting: number;
  parked: number;
  /** Counted up to a bound, as the next. */
  pausedKeys: number;
  deadLetters: number;
  consumers: number;
  lagEvents: number;
  lagSeconds: number;
};

type Row = {
  name: string;
  in_flight: string;
  waiting: string;
  parked: string;
  paused_keys: string;
  dead_letters: string;
  consumers: string;
  lag_events: string;
  lag_seconds: number;
};

/** Dead letters, and paused keys. */
const lettersCounted = 10_000;

/** The first subscriptions by name, then queues, at most `limit`. Rejects when it takes longer than `timeoutMs`. */
export async function readFigures(pool: Pool, limit: number, timeoutMs: number): Promise<SubscriptionFigures[]> {
  const rows = await pool.run((sql) =>
    sql.begin(async (transaction) => {
      await transaction`select set_config('statement_timeout', ${String(timeoutMs)}, true)`;
      return transaction<Row[]>`
        select s.name, coalesce(c.in_flight, 0) as in_flight, coalesce(c.waiting, 0) as waiting, coalesce(c.parked, 0) as parked,
          (select count(*) from (
            select distinct p.cursor_id, p.key from subscription_cursors k join paused_keys p on p.cursor_id = k.id where k.subscription_id = s.id limit ${lettersCounted}) p
          ) as paused_keys,
          (select count(*) from (select from dead_letters l where l.subscription_id = s.id limit ${lettersCounted}) l) as dead_letters,
          (select count(*) from consumers m where m.subscription_id = s.id) as consumers,
          g.events as lag_events, g.seconds as lag_seconds
        from (
          select o.* from subscriptions o where o.deleted_at is null order by o.queue_of is not null, o.name limit ${limit}
        ) s
        left join lateral (
          select sum(k.leased) as in_flight, sum(k.waiting) as waiting, sum(k.parked) as parked,
            (array_agg(k.id order by k.floor))[1] as slowest,
            (array_agg(k.place order by k.floor))[1] as place,
            (array_agg(k.leased + k.waiting + k.parked order by k.floor))[1] as unsettled
          from cursor_states k where k.subscription_id = s.id
        ) c on true
        cross join lateral cursor_lag(
          s.id, c.slowest, coalesce(c.place, s.start_position), coalesce(c.unsettled, 0), ${looksEach(limit)}) g
        order by s.name`;
    }),
  );
  return rows.map((row) => ({
    subscription: row.name,
    inFlight: Number(row.in_flight),
    waiting: Number(row.waiting),
    parked: Number(row.parked),
    pausedKeys: Number(row.paused_keys),
    deadLetters: Number(row.dead_letters),
    consumers: Number(row.consumers),
    lagEvents: Number(row.lag_events),
    lagSeconds: Number(row.lag_seconds),
  }));
}
