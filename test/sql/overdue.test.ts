// What is overdue all at once, as after an outage: taken back piece by piece, each event counted once, and none forgotten.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, send } from "../support/client.ts";
import { claim, nack, post, put, type Source, subscription } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

async function create(name: string, configuration: Record<string, unknown>) {
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, from: "beginning", maxInFlight: 10_000, ...configuration });
  const [row] = await sql`
    select k.id as cursor, s.id from subscriptions s join subscription_cursors k on k.subscription_id = s.id where s.name = ${name}`;
  return { source, cursor: row?.cursor as string, id: row?.id as string };
}

/** Runs in a transaction that leaves nothing: the service does not see what is overdue there. */
async function unseen(task: (tx: postgres.Sql) => Promise<void>): Promise<void> {
  const done = new Error("done");
  await sql
    .begin(async (tx) => {
      await task(tx as unknown as postgres.Sql);
      throw done;
    })
    .catch((error: unknown) => {
      if (error !== done) throw error;
    });
}

/** Leases of `size` events each, overdue for a minute; their events are none of the log. */
const overdue = (
  tx: postgres.Sql,
  cursor: string,
  { leases = 1, size = 1, keys = 0, consumer = "ada", due = "-1 min" },
) => tx`
  insert into deliveries (cursor_id, step, part, state, consumer, due, positions, keys)
    select ${cursor}, g, 0, 'leased', ${consumer}, now() + ${due}::text::interval,
           array(select g * ${size}::int + n from generate_series(0, ${size}::int - 1) n),
           case when ${keys}::int > 0 then array(select (g * ${size}::int + n) % ${keys}::int from generate_series(0, ${size}::int - 1) n) end
    from generate_series(1, ${leases}::int) g`;

const countOf = async (tx: postgres.Sql, cursor: string, state: string) =>
  (
    await tx`
      select coalesce(sum(cardinality(positions)), 0)::int as n from deliveries where cursor_id = ${cursor} and state = ${state}`
  )[0]?.n as number;

/** One look of somebody who has no credit; whether another one must follow. */
async function look(tx: postgres.Sql, cursor: string, group: boolean): Promise<boolean> {
  const [row] = group
    ? await tx`
        select status, first_due = '-infinity' as is_rest from delivery_claim_group(
          ${cursor}, 1, -1, -1, '{}', '{}', '{eve}', '{0}', '{1000}', '{true}', 10, 1000, '{}', '{}', 0, true, '{0}', '-infinity')`
    : await tx`
        select status, first_due = '-infinity' as is_rest from delivery_claim(
          ${cursor}, 1, -1, -1, '{}', '{eve}', '{0}', '{1000}', '{true}', 10, true, '{0}', '-infinity')`;
  expect(row?.status).toBe("ok");
  return row?.is_rest === true;
}

for (const [mode, leases, size] of [
  ["exclusive", 20_000, 1],
  ["exclusive", 20, 700],
  ["consumer-group", 5_000, 1],
] as const) {
  test(`a look takes back some of ${leases} overdue leases of ${size}, further looks all of them (${mode})`, async () => {
    const { cursor } = await create(`looked-${mode}-${size}`, { mode });
    await unseen(async (tx) => {
      const keys = mode === "consumer-group" ? leases : 0;
      await overdue(tx, cursor, { leases, size, keys });
      let left = leases * size;
      for (let isRest = true; isRest; ) {
        isRest = await look(tx, cursor, keys > 0);
        const now = await countOf(tx, cursor, "leased");
        expect(now).toBeLessThan(left);
        expect(now).toBeGreaterThanOrEqual(left - 2_000);
        left = now;
        expect(isRest).toBe(left > 0);
      }
      expect(await countOf(tx, cursor, "ready")).toBe(leases * size);
      const [counted] = await tx`
        select count(*)::int as n, max(attempts) as most from delivery_failures where cursor_id = ${cursor}`;
      expect(counted).toEqual({ n: leases * size, most: 1 });
      const [revoked] = await tx`
        select sum(cardinality(positions))::int as n from revoked_deliveries where cursor_id = ${cursor}`;
      expect(revoked?.n).toBe(leases * size);
    });
  });
}

test("of the leases of one key that are overdue together the first has failed, the others wait behind it", async () => {
  const { cursor } = await create("one-key", { mode: "consumer-group" });
  await unseen(async (tx) => {
    await overdue(tx, cursor, { leases: 3, size: 2, keys: 1 });
    expect(await look(tx, cursor, true)).toBe(false);
    const failed = await tx`select position::int from delivery_failures where cursor_id = ${cursor} order by 1`;
    expect(failed.map((row) => row.position)).toEqual([2, 3]);
    expect([await countOf(tx, cursor, "leased"), await countOf(tx, cursor, "ready")]).toEqual([0, 6]);
  });
});

test("of a lease that was extended in part all pieces that are overdue have failed", async () => {
  const { cursor } = await create("extended-in-part", { mode: "consumer-group" });
  await unseen(async (tx) => {
    await overdue(tx, cursor, { leases: 1, size: 3, keys: 1 });
    await tx`update deliveries set positions = positions[2:], keys = keys[2:] where cursor_id = ${cursor}`;
    await tx`
      insert into deliveries (cursor_id, step, part, piece, state, consumer, due, positions, keys)
        select cursor_id, step, part, 1, state, consumer, due, array[positions[1] - 1], keys[1:1] from deliveries where cursor_id = ${cursor}`;
    expect(await look(tx, cursor, true)).toBe(false);
    const failed = await tx`select attempts from delivery_failures where cursor_id = ${cursor}`;
    expect(failed.map((row) => row.attempts)).toEqual([1, 1, 1]);
    expect([await countOf(tx, cursor, "leased"), await countOf(tx, cursor, "ready")]).toEqual([0, 3]);
  });
});

test("what an expiry in a group takes back does not depend on what waits for its members", async () => {
  const { cursor, id } = await create("much-waits", { mode: "consumer-group", slots: 1 });
  await unseen(async (tx) => {
    await tx`select consumer_join(${id}, 'ada', null)`;
    await tx`
      insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
        select ${cursor}, 1000 + g, 0, 'ready', now(), array[1000 + g], array[g], 'ada' from generate_series(1, 2000) g`;
    await overdue(tx, cursor, { leases: 1, size: 10, keys: 10 });
    const fetched = async () =>
      Number(
        (
          await tx`select coalesce(idx_tup_fetch, 0) + seq_tup_read as n from pg_stat_xact_user_tables where relname = 'deliveries'`
        )[0]?.n,
      );
    await tx`set local enable_seqscan = off`;
    const before = await fetched();
    await tx`select delivery_release(${cursor}, '{ada}', null, null, 'gone')`;
    expect((await fetched()) - before).toBeLessThan(100);
    expect(await countOf(tx, cursor, "leased")).toBe(0);
  });
});

test("of a consumer that has gone and held very much nothing is its own any more, and all comes back", async () => {
  const { cursor } = await create("held-much", { mode: "exclusive" });
  await unseen(async (tx) => {
    await overdue(tx, cursor, { leases: 3_000, due: "1 hour" });
    const [row] = await tx`select delivery_release(${cursor}, '{ada}', null, null, 'gone') as taken`;
    expect(row?.taken).toBeLessThanOrEqual(2_000);
    const [held] = await tx`
      select count(*)::int as n from deliveries where cursor_id = ${cursor} and state = 'leased' and due > clock_timestamp()`;
    expect(held?.n).toBe(0);
    while (await look(tx, cursor, false));
    expect(await countOf(tx, cursor, "ready")).toBe(3_000);
    const [counted] = await tx`
      select count(*)::int as n, max(attempts) as most from delivery_failures where cursor_id = ${cursor}`;
    expect(counted).toEqual({ n: 3_000, most: 1 });
  });
});

test("of leases of which most are settled the others are taken back, however many were named", async () => {
  const { cursor } = await create("mostly-settled", { mode: "exclusive" });
  await unseen(async (tx) => {
    await overdue(tx, cursor, { leases: 700, due: "1 hour" });
    await tx`delete from deliveries where cursor_id = ${cursor} and step < 700`;
    const [row] = await tx`
      select delivery_release(${cursor}, null, array_agg(n), array_agg(0::smallint), 'gone') as taken from generate_series(1, 700) n`;
    expect(row?.taken).toBe(1);
    expect([await countOf(tx, cursor, "leased"), await countOf(tx, cursor, "ready")]).toEqual([0, 1]);
  });
});

test("a member that held very much when it left is none any more", async () => {
  const { cursor, id } = await create("left-much", { mode: "consumer-group" });
  await unseen(async (tx) => {
    await tx`select consumer_enter(${id}, 'ada')`;
    await overdue(tx, cursor, { leases: 3_000, keys: 100_000, due: "1 hour" });
    await tx`select delivery_release(${cursor}, '{ada}', null, null, 'gone')`;
    const [row] = await tx`select consumer_leave(${id}, 'ada', 9223372036854775807) as cursor`;
    expect(row?.cursor).toBe(cursor);
    expect((await tx`select from consumers where subscription_id = ${id}`).length).toBe(0);
  });
});

test("nothing is owed to a member all of whose keys wait for another attempt", async () => {
  const { cursor, id } = await create("owes-nothing", { mode: "consumer-group" });
  await unseen(async (tx) => {
    await tx`select consumer_join(${id}, 'ada', null)`;
    const waiting = (due: string, from: number) => tx`
      insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
        select ${cursor}, ${from}::int + n, 0, 'ready', now() + ${due}::text::interval, array[${from}::int + n], array[(n * 7919) % 1000003], 'ada'
        from generate_series(1, 200) n`;
    await waiting("1 hour", 0);
    await waiting("-1 min", 1_000);
    const owes = async () => (await tx`select group_owes(${cursor}, 'ada') as owes`)[0]?.owes;
    expect(await owes()).toBe(false);
    await tx`update deliveries set due = now() where cursor_id = ${cursor} and step = 77`;
    expect(await owes()).toBe(true);
  });
});

/** Events that ada holds in leases of one event, all of them overdue. */
async function holdOverdue(source: Source, stream: string, cursor: string, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1000)
    await append(
      service.url,
      stream,
      Array.from({ length: 1000 }, () => ({ type: "A", data: {} })),
    );
  await append(service.url, stream, { type: "A", data: {} });
  const [first] = await claim(source, { consumer: "ada", visibilityTimeout: "1h" });
  for (let left = count; left > 0; )
    left -= (await claim(source, { consumer: "ada", max: 1000, wait: "20s", visibilityTimeout: "1h" })).length;
  await sql`
    with gone as (delete from deliveries where cursor_id = ${cursor} and cardinality(positions) > 1 returning *)
    insert into deliveries (cursor_id, step, part, piece, state, consumer, due, positions)
      select cursor_id, step, part, u.n, state, consumer, clock_timestamp(), array[u.position]
      from gone cross join lateral unnest(positions) with ordinality u(position, n)`;
  // From which the service learns that it has to look.
  await nack(source, [first?.token as string], { action: "drop" });
}

test("who asks after an outage gets all that was out, without a wait", async () => {
  const { source, cursor } = await create("asked", { mode: "exclusive" });
  await holdOverdue(source, "asked", cursor, 4_000);
  const seen = new Set<string>();
  while (seen.size < 4_000) {
    const got = await claim(source, { consumer: "bob", max: 1000 });
    expect(got.length).toBeGreaterThan(0);
    for (const delivery of got) {
      expect(delivery.attempt).toBe(2);
      seen.add(delivery.event.offset);
    }
  }
});

test("who asks when all that was out is given up is answered when all of it is", async () => {
  const { source, cursor } = await create("given-up", { mode: "exclusive", maxAttempts: 1 });
  await holdOverdue(source, "given-up", cursor, 3_000);
  expect((await post<{ deliveries: unknown[] }>(`${source.url}/claims`, { consumer: "bob" })).body.deliveries).toEqual(
    [],
  );
  expect((await send<{ deadLetters: string }>(source.url)).body.deadLetters).toBe("3000");
});

test("what is overdue where nobody asks is taken back in the background, however much it is", async () => {
  const { source, cursor } = await create("unasked", { mode: "exclusive" });
  await holdOverdue(source, "unasked", cursor, 3_000);
  await until("all of it waits", async () => {
    const { inFlight, waiting } = (await send<{ inFlight: string; waiting: string }>(source.url)).body;
    return inFlight === "0" && waiting === "3000";
  });
});
