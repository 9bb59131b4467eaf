// Stores subscriptions: creates, configures, lists, pauses, resumes and deletes them.
import { invalidConfiguration, subscriptionInUse, subscriptionNotFound } from "../../base/errors.ts";
import { nameList } from "../../storage/lists.ts";
import type { Sql } from "../../storage/pool.ts";
import { targetColumn, targetFromColumn } from "../../stream/schema/target.ts";
import {
  type Backoff,
  type DeliverySemantics,
  everyStream,
  type Mode,
  namedStreams,
  type Subscription,
  type SubscriptionConfiguration,
} from "./subscription.ts";

type Row = {
  id: string;
  name: string;
  mode: Mode;
  delivery: DeliverySemantics;
  queue_of: string | null;
  correlation: string | null;
  configuration: string;
  revision: string;
  paused: boolean;
  completed_at: string | null;
  created_at: string;
};

/** The columns that travel as one JSON text. */
type Columns = {
  streams: string[] | null;
  types: string[] | null;
  path: string | null;
  start_place: string;
  start_position: number;
  visibility_timeout_ms: number;
  max_in_flight: number;
  max_attempts: number;
  backoff_initial_ms: number;
  backoff_factor: number;
  backoff_max_ms: number;
  max_consumers: number | null;
  consumer_timeout_ms: number;
  slots: number;
  on_failure: SubscriptionConfiguration["onFailure"];
  unread_timeout_ms: number | null;
  on_unread_expired: SubscriptionConfiguration["onUnreadExpired"];
  terminal: string[] | null;
  push: SubscriptionConfiguration["push"];
  batch_interval_ms: number;
  expires_after_ms: number | null;
  metadata: Record<string, unknown>;
  receive_as: ReturnType<typeof targetColumn>;
};

function fromRow(row: Row): Subscription {
  const c = JSON.parse(row.configuration) as Columns;
  const backoff: Backoff = { initialMs: c.backoff_initial_ms, factor: c.backoff_factor, maxMs: c.backoff_max_ms };
  return {
    id: Number(row.id),
    name: row.name,
    revision: Number(row.revision),
    queueOf: row.queue_of,
    mode: row.mode,
    delivery: row.delivery,
    streams: row.correlation !== null || c.streams?.[0] === everyStream ? null : (c.streams ?? []),
    correlation: row.correlation,
    types: c.types,
    where: c.path,
    from: c.start_place,
    startPosition: c.start_position,
    visibilityTimeoutMs: c.visibility_timeout_ms,
    maxInFlight: c.max_in_flight,
    maxAttempts: c.max_attempts,
    backoff,
    maxConsumers: c.max_consumers,
    consumerTimeoutMs: c.consumer_timeout_ms,
    slots: c.slots,
    onFailure: c.on_failure,
    unreadTimeoutMs: c.unread_timeout_ms,
    onUnreadExpired: c.on_unread_expired,
    terminal: c.terminal,
    push: c.push,
    batchIntervalMs: c.batch_interval_ms,
    expiresAfterMs: c.expires_after_ms,
    metadata: c.metadata,
    receiveAs: targetFromColumn(c.receive_as),
    paused: row.paused,
    completedAt: row.completed_at,
    createdAt: row.created_at,
  };
}

function columns(sql: Sql) {
  return sql`
    s.id, s.name, s.mode, s.delivery, s.queue_of, s.correlation, s.revision, s.paused, s.completed_at, s.created_at,
    (to_jsonb(s) || jsonb_build_object('streams',
      (select jsonb_agg(t.stream order by t.stream) from subscription_streams t where t.subscription_id = s.id)))::text as configuration`;
}

export type NewSubscription = {
  name: string;
  configuration: SubscriptionConfiguration;
  queueOf: string | null;
  from: string;
  startPosition: number;
};

/**
 * Creates a subscription or changes its configuration. Nothing is changed where a stream promises less by now than it would
 * (`stream-weaker`). Throws `subscription-in-use`, `invalid-configuration`.
 */
export async function configureSubscription(
  sql: Sql,
  subscription: NewSubscription,
): Promise<"created" | "changed" | "stream-weaker"> {
  const { name, configuration: c, queueOf, from, startPosition } = subscription;
  const row = {
    name,
    mode: c.mode,
    delivery: c.delivery,
    queue_of: queueOf,
    correlation: c.correlation,
    types: c.types,
    path: c.where,
    start_place: from,
    start_position: startPosition,
    visibility_timeout_ms: c.visibilityTimeoutMs,
    max_in_flight: c.maxInFlight,
    max_attempts: c.maxAttempts,
    backoff_initial_ms: c.backoff.initialMs,
    backoff_factor: c.backoff.factor,
    backoff_max_ms: c.backoff.maxMs,
    max_consumers: c.maxConsumers,
    consumer_timeout_ms: c.consumerTimeoutMs,
    slots: c.slots,
    on_failure: c.onFailure,
    unread_timeout_ms: c.unreadTimeoutMs,
    on_unread_expired: c.onUnreadExpired,
    terminal: c.terminal,
    push: c.push,
    batch_interval_ms: c.batchIntervalMs,
    expires_after_ms: c.expiresAfterMs,
    metadata: c.metadata,
    receive_as: targetColumn(c.receiveAs),
  };
  const named = namedStreams(c);
  const streams = named === null ? null : nameList(named);
  const rows = await sql<{ outcome: "created" | "changed" | "stream-weaker" | "in-use" | "slots-fixed" }[]>`
    select outcome from subscription_configure(${JSON.stringify(row)}::text::json, ${streams}::text[])`;
  const { outcome } = rows[0] as (typeof rows)[0];
  if (outcome === "in-use") throw subscriptionInUse(name);
  if (outcome === "slots-fixed")
    throw invalidConfiguration([{ path: "/slots", message: "cannot change: keys would change their owners" }]);
  return outcome;
}

/** Null when there is none of that name. */
export async function findSubscription(sql: Sql, name: string): Promise<Subscription | null> {
  const rows = await sql<Row[]>`select ${columns(sql)} from subscriptions s where s.name = ${name}`;
  return rows[0] === undefined ? null : fromRow(rows[0]);
}

/** Null when there is none of that id any more. */
export async function findSubscriptionById(sql: Sql, id: number): Promise<Subscription | null> {
  const rows = await sql<
    Row[]
  >`select ${columns(sql)} from subscriptions s where s.id = ${id} and s.deleted_at is null`;
  return rows[0] === undefined ? null : fromRow(rows[0]);
}

/** Subscriptions in the order of their names, those of one stream if it is named; built-in queues are left out. */
export async function listSubscriptions(
  sql: Sql,
  { stream, after, limit }: { stream: string | null; after: string; limit: number },
): Promise<Subscription[]> {
  const rows = await sql<Row[]>`
    select ${columns(sql)} from subscriptions s
    where s.queue_of is null and s.name > ${after}
      ${stream === null ? sql`` : sql`and s.id in (select t.subscription_id from subscription_streams t where t.stream = ${stream})`}
    order by s.name limit ${limit}`;
  return rows.map(fromRow);
}

/** Throws `subscription-not-found`. */
export async function deleteSubscription(sql: Sql, name: string): Promise<void> {
  const rows = await sql<{ was: boolean }[]>`select subscription_delete(${name}) as was`;
  if (rows[0]?.was !== true) throw subscriptionNotFound(name);
}

/** A paused subscription hands nothing out; what is out can be settled. Throws `subscription-not-found`. */
export async function setPaused(sql: Sql, name: string, paused: boolean): Promise<void> {
  const rows = await sql`
    update subscriptions s set paused = ${paused}, revision = s.revision + 1 where s.name = ${name} returning s.id`;
  if (rows.length === 0) throw subscriptionNotFound(name);
}
