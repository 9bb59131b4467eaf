// The consumers of a subscription as the API shows them: members, and cursors whose consumers are silent.
import { consumerNotFound } from "../../base/errors.ts";
import { nameList } from "../../storage/lists.ts";
import type { Pool, Sql } from "../../storage/pool.ts";
import { type Lag, type LagColumns, lagOf, looksEach } from "./lag.ts";
import { isPerConsumer, type Subscription } from "./subscription.ts";

/** 64-bit numbers are decimal strings. */
export type ConsumerDescription = {
  consumer: string;
  /** False: it fell silent, and only its cursor is left. */
  member: boolean;
  metadata: Readonly<Record<string, unknown>>;
  /** Null where it is no member, as the next one. */
  registeredAt: string | null;
  lastSeenAt: string | null;
  /** Where its cursor stands; in some modes all consumers share one. */
  position: string;
  /** Everything up to here is settled or does not match. */
  floor: string;
  /** Events that it holds. */
  inFlight: string;
  /** Events that wait for it alone: of its own cursor those for another attempt, in a group all of its keys that were passed. */
  waiting: string;
  /** It took nothing of what waited for it, so that its keys went to other members of the group. */
  setAside: boolean;
  lag: Lag;
  /** Events that were given up in its hands. */
  deadLetters: string;
};

type MemberRow = {
  name: string;
  metadata: string | null;
  registered_at: string | null;
  seen_at: string | null;
  set_aside: boolean | null;
};
type CursorRow = LagColumns & { consumer: string; place: string; floor: string; leased: string; waiting: string };
type CountRow = { consumer: string; count: string };

/** A page of the consumers behind a name, in the order of their names. */
export async function listConsumers(
  pool: Pool,
  subscription: Subscription,
  { after, limit }: { after: string; limit: number },
): Promise<{ consumers: ConsumerDescription[]; next: string | null }> {
  return pool.run(async (sql) => {
    const members = await sql<MemberRow[]>`
      select n.name, m.metadata, m.registered_at, m.seen_at, m.set_aside is not null as set_aside
      from (
        (select m.name from consumers m where m.subscription_id = ${subscription.id} and m.name > ${after}
         order by m.name limit ${limit + 1})
        union
        (select k.consumer from subscription_cursors k
         where k.subscription_id = ${subscription.id} and k.consumer > ${after} and k.consumer > ''
         order by k.consumer limit ${limit + 1})
      ) n left join consumers m on m.subscription_id = ${subscription.id} and m.name = n.name
      order by n.name limit ${limit + 1}`;
    const shown = members.slice(0, limit);
    return {
      consumers: await describe(sql, subscription, shown),
      next: members.length > limit ? (shown.at(-1)?.name ?? null) : null,
    };
  });
}

/** Throws `consumer-not-found`. */
export async function describeConsumer(
  pool: Pool,
  subscription: Subscription,
  consumer: string,
): Promise<ConsumerDescription> {
  return pool.run(async (sql) => {
    const members = await sql<MemberRow[]>`
      select n.name, m.metadata, m.registered_at, m.seen_at, m.set_aside is not null as set_aside
      from (select ${consumer}::text as name) n
        left join consumers m on m.subscription_id = ${subscription.id} and m.name = n.name
      where m.name is not null
        or exists (select from subscription_cursors k where k.subscription_id = ${subscription.id} and k.consumer = n.name)`;
    const [description] = await describe(sql, subscription, members);
    if (description === undefined) throw consumerNotFound(subscription.name, consumer);
    return description;
  });
}

async function describe(
  sql: Sql,
  subscription: Subscription,
  members: readonly MemberRow[],
): Promise<ConsumerDescription[]> {
  if (members.length === 0) return [];
  const names = nameList(members.map((member) => member.name));
  const isOwn = isPerConsumer(subscription.mode);
  const cursors = await sql<CursorRow[]>`
    select k.consumer, k.place, k.floor, k.leased, k.waiting,
      g.events as lag_events, g.is_least as lag_is_least, g.seconds as lag_seconds
    from cursor_states k
      cross join lateral cursor_lag(k.subscription_id, k.id, k.place, k.leased + k.waiting + k.parked,
        ${looksEach(isOwn ? members.length : 1)}) g
    where k.subscription_id = ${subscription.id} and k.consumer = any(${isOwn ? names : nameList([""])}::text[])`;
  const held = isOwn
    ? cursors.map(({ consumer, leased }) => ({ consumer, count: leased }))
    : await sql<CountRow[]>`
        select d.consumer, sum(cardinality(d.positions)) as count
        from deliveries d join subscription_cursors k on k.id = d.cursor_id
        where k.subscription_id = ${subscription.id} and k.consumer = ''
          and d.consumer > '' and d.consumer = any(${names}::text[]) and d.state = 'leased'
        group by d.consumer`;
  const waits = isOwn
    ? cursors.map(({ consumer, waiting }) => ({ consumer, count: waiting }))
    : await sql<CountRow[]>`
        select d.owner as consumer, sum(cardinality(d.positions)) as count
        from deliveries d join subscription_cursors k on k.id = d.cursor_id
        where k.subscription_id = ${subscription.id} and k.consumer = '' and d.owner >= '' and d.owner = any(${names}::text[])
        group by d.owner`;
  const dead = await sql<CountRow[]>`
    select l.consumer, count(*) as count from dead_letters l
    where l.subscription_id = ${subscription.id} and l.consumer = any(${names}::text[])
    group by l.consumer`;
  const cursorOf = new Map(cursors.map((row) => [row.consumer, row]));
  const heldBy = new Map(held.map((row) => [row.consumer, row.count]));
  const waitingFor = new Map(waits.map((row) => [row.consumer, row.count]));
  const deadOf = new Map(dead.map((row) => [row.consumer, row.count]));
  return members.flatMap(({ name, metadata, registered_at, seen_at, set_aside }) => {
    const cursor = cursorOf.get(isOwn ? name : "");
    // Its mode was changed in this very moment.
    if (cursor === undefined) return [];
    return {
      consumer: name,
      member: registered_at !== null,
      metadata: JSON.parse(metadata ?? "{}"),
      registeredAt: registered_at,
      lastSeenAt: seen_at,
      position: cursor.place,
      floor: String(Number(cursor.floor) - 1),
      inFlight: heldBy.get(name) ?? "0",
      waiting: waitingFor.get(name) ?? "0",
      setAside: set_aside === true,
      lag: lagOf(cursor),
      deadLetters: deadOf.get(name) ?? "0",
    };
  });
}
