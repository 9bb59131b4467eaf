// A subscription as the API shows it: its configuration, and where it stands.
import { formatDuration } from "../../base/duration.ts";
import { arrayLiteral } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";
import { type Lag, type LagColumns, lagOf, looksEach } from "./lag.ts";
import { type PausedKeys, readPausedKeys } from "./paused-keys.ts";
import { namedStreams, type Subscription } from "./subscription.ts";

/** 64-bit numbers are decimal strings, durations are written with their unit. */
export type SubscriptionDescription = {
  id: string;
  streams: readonly string[] | null;
  correlation: string | null;
  mode: Subscription["mode"];
  delivery: Subscription["delivery"];
  types: readonly string[] | null;
  where: string | null;
  from: string;
  visibilityTimeout: string;
  maxInFlight: number;
  maxAttempts: number;
  backoff: { initial: string; factor: number; max: string };
  maxConsumers: number | null;
  consumerTimeout: string;
  slots: number | null;
  onFailure: Subscription["onFailure"] | null;
  unreadTimeout: string | null;
  /** Null of other modes than read-receipt. */
  onUnreadExpired: Subscription["onUnreadExpired"] | null;
  terminal: readonly string[] | null;
  push: Subscription["push"];
  /** Null where it is not batched. */
  batchInterval: string | null;
  /** Null: it lives until it is deleted. */
  expiresAfter: string | null;
  /** As which versions its events are handed out. */
  receiveAs: string;
  metadata: Readonly<Record<string, unknown>>;
  createdAt: string;
  state: "active" | "paused" | "completed";
  completedAt: string | null;
  /** Last delivered: everything up to here has been handed out or does not match, by the slowest of its cursors. */
  position: string;
  /** Everything up to here is settled or does not match, by the slowest of its cursors. */
  floor: string;
  /** Handed out and not settled. */
  inFlight: string;
  /** Waits to be handed out: for another attempt, and in a group also for the member whose it is. */
  waiting: string;
  /** Waits because its key is paused. */
  parked: string;
  /** Null of other modes than consumer-group. */
  pausedKeys: PausedKeys | null;
  deadLetters: string;
  /** Of the slowest of its cursors. */
  lag: Lag;
  /** Members now. */
  consumers: number;
};

type Row = LagColumns & {
  id: string;
  place: string | null;
  floor: string | null;
  leased: string;
  waiting: string;
  parked: string;
  dead_letters: string;
  consumers: string;
};

const noKeys: PausedKeys = { count: "0", keys: [] };

export async function describeSubscriptions(
  pool: Pool,
  subscriptions: readonly Subscription[],
): Promise<SubscriptionDescription[]> {
  if (subscriptions.length === 0) return [];
  const groups = subscriptions.filter(({ mode }) => mode === "consumer-group").map(({ id }) => id);
  const [rows, pausedKeys] = await pool.run(async (sql) => [
    await sql<Row[]>`
      select s.id, c.place, c.floor, coalesce(c.leased, 0) as leased, coalesce(c.waiting, 0) as waiting, coalesce(c.parked, 0) as parked,
        g.events as lag_events, g.is_least as lag_is_least, g.seconds as lag_seconds,
        (select count(*) from dead_letters l where l.subscription_id = s.id) as dead_letters,
        (select count(*) from consumers m where m.subscription_id = s.id) as consumers
      from subscriptions s
      left join lateral (
        select min(k.place) as place, min(k.floor) as floor, sum(k.leased)::bigint as leased, sum(k.waiting)::bigint as waiting,
          sum(k.parked)::bigint as parked,
          (array_agg(k.id order by k.floor))[1] as slowest,
          (array_agg(k.place order by k.floor))[1] as slowest_place,
          (array_agg(k.leased + k.waiting + k.parked order by k.floor))[1] as slowest_unsettled
        from cursor_states k where k.subscription_id = s.id
      ) c on true
      cross join lateral cursor_lag(
        s.id, c.slowest, coalesce(c.slowest_place, s.start_position), coalesce(c.slowest_unsettled, 0),
        ${looksEach(subscriptions.length)}) g
      where s.id = any(${arrayLiteral(subscriptions.map((s) => s.id))}::bigint[])`,
    await readPausedKeys(sql, groups),
  ]);
  const byId = new Map(rows.map((row) => [Number(row.id), row]));
  return subscriptions.flatMap((subscription) => {
    const row = byId.get(subscription.id);
    return row === undefined ? [] : [describe(subscription, row, pausedKeys.get(subscription.id) ?? noKeys)];
  });
}

export async function describeSubscription(pool: Pool, subscription: Subscription): Promise<SubscriptionDescription> {
  const [description] = await describeSubscriptions(pool, [subscription]);
  return description as SubscriptionDescription;
}

function describe(subscription: Subscription, row: Row, pausedKeys: PausedKeys): SubscriptionDescription {
  const { backoff } = subscription;
  return {
    id: subscription.name,
    streams: namedStreams(subscription),
    correlation: subscription.correlation,
    mode: subscription.mode,
    delivery: subscription.delivery,
    types: subscription.types,
    where: subscription.where,
    from: subscription.from,
    visibilityTimeout: formatDuration(subscription.visibilityTimeoutMs),
    maxInFlight: subscription.maxInFlight,
    maxAttempts: subscription.maxAttempts,
    backoff: { initial: formatDuration(backoff.initialMs), factor: backoff.factor, max: formatDuration(backoff.maxMs) },
    maxConsumers: subscription.maxConsumers,
    consumerTimeout: formatDuration(subscription.consumerTimeoutMs),
    slots: subscription.mode === "consumer-group" ? subscription.slots : null,
    onFailure: subscription.mode === "consumer-group" ? subscription.onFailure : null,
    unreadTimeout: subscription.unreadTimeoutMs === null ? null : formatDuration(subscription.unreadTimeoutMs),
    onUnreadExpired: subscription.mode === "read-receipt" ? subscription.onUnreadExpired : null,
    terminal: subscription.terminal,
    push: subscription.push,
    batchInterval: subscription.push === "batched" ? formatDuration(subscription.batchIntervalMs) : null,
    expiresAfter: subscription.expiresAfterMs === null ? null : formatDuration(subscription.expiresAfterMs),
    receiveAs: subscription.receiveAs.key,
    metadata: subscription.metadata,
    createdAt: subscription.createdAt,
    state: subscription.completedAt !== null ? "completed" : subscription.paused ? "paused" : "active",
    completedAt: subscription.completedAt,
    position: row.place ?? String(subscription.startPosition),
    floor: String(Number(row.floor ?? subscription.startPosition + 1) - 1),
    inFlight: row.leased,
    waiting: row.waiting,
    parked: row.parked,
    pausedKeys: subscription.mode === "consumer-group" ? pausedKeys : null,
    deadLetters: row.dead_letters,
    lag: lagOf(row),
    consumers: Number(row.consumers),
  };
}
