// Who consumes: members of subscriptions join by asking, stay by being heard of, and are forgotten when they fall silent.
import { consumerNotFound, subscriptionNotFound, tooManyConsumers } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import type { Subscription } from "./subscription.ts";

export type Membership = {
  /** Makes the consumer a member, or notes that it is alive; returns its cursor. Throws `too-many-consumers`, `subscription-not-found`. */
  join: (subscription: Subscription, consumer: string) => Promise<number>;
  /** The same, with metadata; returns whether it is new. `startPosition`: the last position before a new cursor of its own. */
  register: (
    subscription: Subscription,
    consumer: string,
    metadata: Record<string, unknown>,
    startPosition: number | null,
  ) => Promise<boolean>;
  /** Notes that a member is alive. Throws `consumer-not-found`. */
  heartbeat: (subscription: Subscription, consumer: string) => Promise<void>;
  /** Ends a membership: what the consumer holds goes to others, and its cursor is forgotten. Throws `consumer-not-found`. */
  remove: (subscription: Subscription, consumer: string) => Promise<void>;
  /** The same as `join`, for a connection that will leave. */
  enter: (subscription: Subscription, consumer: string) => Promise<number>;
  /**
   * A connection has closed. The last one of a group's member, or of a subscription that allows only so many, ends its
   * membership: others must not wait until it has been silent for long enough.
   */
  leave: (subscription: Subscription, consumer: string) => Promise<void>;
  /** Something of this cursor was put back. Who could not leave because it held that can do so now. */
  onPutBack: (cursor: number) => void;
  /** What is remembered of a member does not hold any more. */
  forget: (subscription: Subscription, consumer: string) => void;
  /** Of this process. */
  counters: () => { joined: number; removed: number; silent: number };
  stop: () => Promise<void>;
};

export type MembershipOptions = {
  pool: Pool;
  /** What was held under this cursor can be handed out anew. */
  onReturned: (cursor: number) => void;
  log: Log;
};

type Joined = { outcome: string; cursor_id: string; session?: string };
type Known = { cursor: number; seenAt: number };
/** A member that leaves. */
type Parting = {
  subscription: Subscription;
  consumer: string;
  session: number;
  /** Null: not known. */
  cursor: number | null;
  until: number;
  /** The database was away. */
  failed: boolean;
};

const everyMs = 2_000;
/** Of a subscription whose consumers have cursors of their own. */
const forgottenAtOnce = 100;
const maxKnown = 100_000;
/** Time within which what a closed connection was handed too late is put back, at the latest. */
const partingMs = 60_000;

export function createMembership({ pool, onReturned, log }: MembershipOptions): Membership {
  // A member is noted in the database a few times within its timeout, not at every claim.
  const known = new Map<string, Known>();
  /** How many connections of this process a member has. */
  const connected = new Map<string, { count: number; session: number }>();
  /** Heartbeats under way: one that arrives after its member has left would make it one again. */
  const joining = new Map<string, Promise<number>>();
  /** Members that are leaving, as long as they may still hold what is being put back. */
  const parting = new Map<string, Parting>();
  const counters = { joined: 0, removed: 0, silent: 0 };
  const keyOf = (subscription: Subscription, consumer: string) => `${subscription.id} ${consumer}`;

  async function note(
    subscription: Subscription,
    consumer: string,
    call: (sql: Sql) => Promise<Joined[]>,
  ): Promise<{ cursor: number; isNew: boolean; session: number }> {
    parting.delete(keyOf(subscription, consumer));
    // The answer may come much later than the database has noted it.
    const seenAt = performance.now();
    const [{ outcome, cursor_id, session = "0" }] = (await pool.run(call)) as [Joined];
    if (outcome === "full") throw tooManyConsumers(subscription.name, subscription.maxConsumers ?? 0);
    if (outcome === "gone") throw subscriptionNotFound(subscription.name);
    if (outcome === "joined") {
      counters.joined++;
      log.info({ subscription: subscription.name, consumer }, "consumer registered");
    }
    if (known.size >= maxKnown) known.clear();
    known.set(keyOf(subscription, consumer), { cursor: Number(cursor_id), seenAt });
    return { cursor: Number(cursor_id), isNew: outcome === "joined", session: Number(session) };
  }

  async function part(key: string): Promise<void> {
    const leaving = parting.get(key);
    if (leaving === undefined) return;
    const { subscription, consumer, session } = leaving;
    const rows = await pool
      .run(
        (sql) =>
          sql<{ cursor: string | null }[]>`
            select consumer_leave(${subscription.id}, ${consumer}, ${session}::bigint) as cursor`,
      )
      .catch((error: unknown) => {
        leaving.failed = isOutage(error);
        if (leaving.failed) leaving.until = performance.now() + partingMs;
        throw error;
      });
    leaving.failed = false;
    const cursor = rows[0]?.cursor ?? null;
    if (cursor === null) return;
    if (parting.get(key) === leaving) parting.delete(key);
    if (cursor !== "0") onReturned(Number(cursor));
    log.info({ subscription: subscription.name, consumer }, "consumer left");
  }

  async function keepMembers(): Promise<void> {
    for (const [key, leaving] of parting) {
      if (performance.now() > leaving.until) parting.delete(key);
      else if (leaving.failed) await part(key);
    }
    await forgetSilent();
  }

  async function forgetSilent(): Promise<void> {
    for (let after = 0; ; ) {
      const from = after;
      const rows = await pool.run((sql) => forgetConsumers(sql, from, forgottenAtOnce));
      if (rows.length === 0) return;
      // There may be more of the same.
      after = Number(rows[0]?.subscription_id) - 1;
      counters.silent += new Set(rows.map((row) => row.consumer)).size;
      for (const row of rows) {
        known.delete(`${row.subscription_id} ${row.consumer}`);
        // Also when it held nothing: slots of a group have moved, and what waits with them.
        onReturned(Number(row.cursor_id));
        log.info(
          { subscription: row.subscription, consumer: row.consumer, takenBack: row.taken_back },
          "consumer fell silent and was unregistered",
        );
      }
    }
  }
  const loop: Loop = startLoop("silent consumers", everyMs, keepMembers, log);

  return {
    async join(subscription, consumer) {
      const key = keyOf(subscription, consumer);
      const found = known.get(key);
      const freshMs = Math.min(subscription.consumerTimeoutMs / 4, 15_000);
      if (found !== undefined && performance.now() - found.seenAt < freshMs) return found.cursor;
      const joined =
        joining.get(key) ??
        note(subscription, consumer, (sql) => joinConsumer(sql, subscription, consumer))
          .then(({ cursor }) => cursor)
          .finally(() => {
            if (joining.get(key) === joined) joining.delete(key);
          });
      joining.set(key, joined);
      return joined;
    },
    async register(subscription, consumer, metadata, startPosition) {
      const { isNew } = await note(
        subscription,
        consumer,
        (sql) => sql<Joined[]>`
          select outcome, cursor_id from consumer_register(
            ${subscription.id}, ${consumer}, ${JSON.stringify(metadata)}::text::json, ${startPosition}::bigint)`,
      );
      return isNew;
    },
    async heartbeat(subscription, consumer) {
      const rows = await pool.run(
        (sql) => sql`
          update consumers set seen_at = clock_timestamp()
          where subscription_id = ${subscription.id} and name = ${consumer} returning name`,
      );
      if (rows.length === 0) throw consumerNotFound(subscription.name, consumer);
    },
    async remove(subscription, consumer) {
      known.delete(keyOf(subscription, consumer));
      const rows = await pool.run(
        (sql) =>
          sql<{ cursor_id: string | null }[]>`select cursor_id from consumer_remove(${subscription.id}, ${consumer})`,
      );
      if (rows.length === 0) throw consumerNotFound(subscription.name, consumer);
      counters.removed++;
      for (const { cursor_id } of rows) if (cursor_id !== null) onReturned(Number(cursor_id));
      log.info({ subscription: subscription.name, consumer }, "consumer unregistered");
    },
    async enter(subscription, consumer) {
      const key = keyOf(subscription, consumer);
      const { cursor, session } = await note(
        subscription,
        consumer,
        (sql) => sql<Joined[]>`select outcome, cursor_id, session from consumer_enter(${subscription.id}, ${consumer})`,
      );
      // Answers to two connections may come in another order than they were made.
      const before = connected.get(key) ?? { count: 0, session };
      connected.set(key, { count: before.count + 1, session: Math.max(before.session, session) });
      return cursor;
    },
    async leave(subscription, consumer) {
      const key = keyOf(subscription, consumer);
      const { count, session } = connected.get(key) ?? { count: 1, session: 0 };
      if (count > 1) connected.set(key, { count: count - 1, session });
      else connected.delete(key);
      if (count > 1 || (subscription.mode !== "consumer-group" && subscription.maxConsumers === null)) return;
      await joining.get(key)?.catch(() => {});
      if (connected.has(key)) return;
      const cursor = known.get(key)?.cursor ?? null;
      known.delete(key);
      parting.set(key, {
        subscription,
        consumer,
        session,
        cursor,
        until: performance.now() + partingMs,
        failed: false,
      });
      await part(key);
    },
    onPutBack(cursor) {
      for (const [key, leaving] of parting) {
        if (leaving.cursor !== null && leaving.cursor !== cursor) continue;
        part(key).catch((error: unknown) => log.debug({ err: error }, "a membership waits for its end"));
      }
    },
    forget(subscription, consumer) {
      known.delete(keyOf(subscription, consumer));
      joining.delete(keyOf(subscription, consumer));
    },
    counters: () => counters,
    stop: () => loop.stop(),
  };
}

function joinConsumer(sql: Sql, { id }: Subscription, consumer: string): Promise<Joined[]> {
  return sql<Joined[]>`select outcome, cursor_id from consumer_join(${id}, ${consumer}, null)`;
}

function forgetConsumers(sql: Sql, after: number, limit: number) {
  return sql<
    { subscription_id: string; subscription: string; consumer: string; cursor_id: string; taken_back: number }[]
  >`
    select f.subscription_id, s.name as subscription, f.consumer, f.cursor_id, f.taken_back
    from consumers_forget(${after}, ${limit}) f join subscriptions s on s.id = f.subscription_id`;
}
