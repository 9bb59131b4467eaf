// Members of groups that come and go while much waits or is out: all of it finds its way to those who are there.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { put } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

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

const members = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);

async function create(name: string, configuration: Record<string, unknown> = { slots: 16 }) {
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    mode: "consumer-group",
    from: "beginning",
    consumerTimeout: "1h",
    ...configuration,
  });
  const [row] = await sql`
    select s.id, k.id as cursor from subscriptions s left join subscription_cursors k on k.subscription_id = s.id where s.name = ${name}`;
  return { id: row?.id as string, cursor: row?.cursor as string };
}

async function join(on: postgres.Sql, id: string, names: string[]): Promise<void> {
  for (const name of names) await on`select consumer_join(${id}, ${name}, null)`;
}

/** Runs in a transaction that leaves nothing: the service does not forget whom the task does. */
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

const silence = (tx: postgres.Sql, id: string, names: string[]) => tx`
  update consumers set seen_at = seen_at - interval '2 hours' where subscription_id = ${id} and name in ${tx(names)}`;

/** Waiting events that are not with the owner of their slot, that are there twice, or in the wrong order. */
async function misplaced(tx: postgres.Sql, cursor: string): Promise<number> {
  const [row] = await tx`
    with waiting as (
      select d.owner, d.step, d.part, d.piece, u.position, u.key, u.n,
             lag(u.position) over (partition by d.step, d.part, d.piece order by u.n) as before,
             count(*) over (partition by u.position) as times
      from deliveries d cross join lateral unnest(d.positions, d.keys) with ordinality u(position, key, n)
      where d.cursor_id = ${cursor} and d.state = 'ready'
    )
    select count(*)::int as n from waiting w join group_slots g on g.cursor_id = ${cursor} and g.slot = w.key % 16
    where coalesce(g.next_owner, g.owner) <> w.owner or w.before >= w.position or w.times > 1`;
  return row?.n;
}

const waiting = async (tx: postgres.Sql, cursor: string) =>
  (
    await tx`
      select coalesce(sum(cardinality(positions)), 0)::int as n, count(*)::int as batches,
             count(*) filter (where due > clock_timestamp())::int as later
      from deliveries where cursor_id = ${cursor} and state = 'ready'`
  )[0];

test("what waits goes with its slots when members come and go", async () => {
  const { id, cursor } = await create("moving");
  await unseen(async (tx) => {
    await join(tx, id, members(3));
    // Batches of all keys, of one key each, and some that are due later.
    for (let n = 0; n < 30; n++) {
      const positions = Array.from({ length: 100 }, (_, i) => n * 100 + i);
      const keys = positions.map((position) => (n % 3 === 0 ? n : (position * 7) % 40));
      await tx`
        select delivery_wait(${cursor}, ${`{${positions}}`}::bigint[], ${`{${keys}}`}::bigint[],
          clock_timestamp() + case when ${n % 5 === 0}::boolean then interval '1 hour' else interval '0' end)`;
    }
    const later = (await waiting(tx, cursor))?.later;
    expect(later).toBeGreaterThan(0);
    for (let n = 3; n < 12; n++) {
      await join(tx, id, [`m${n}`]);
      expect(await misplaced(tx, cursor)).toBe(0);
    }
    for (let n = 0; n < 11; n++) {
      await tx`select * from consumer_remove(${id}, ${`m${n}`})`;
      expect(await misplaced(tx, cursor)).toBe(0);
    }
    const end = await waiting(tx, cursor);
    expect(end?.n).toBe(3_000);
    const [laterEvents] = await tx`
      select sum(cardinality(positions))::int as n from deliveries where cursor_id = ${cursor} and due > clock_timestamp()`;
    expect(laterEvents?.n).toBe(600);
  });
});

test("a batch whose events all go to one member only changes its owner", async () => {
  const { id, cursor } = await create("owned");
  await unseen(async (tx) => {
    await join(tx, id, ["m0"]);
    await tx`
      insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
        select ${cursor}, g, 0, 'ready', now(), array[g * 2, g * 2 + 1], array[g, g], 'm0' from generate_series(1, 2000) g`;
    await join(tx, id, ["m1"]);
    expect(await misplaced(tx, cursor)).toBe(0);
    const [row] = await tx`
      select count(*)::int as n, count(*) filter (where owner = 'm1')::int as moved from deliveries where cursor_id = ${cursor} and step <= 2000`;
    expect(row?.n).toBe(2_000);
    expect(row?.moved).toBe(1_000);
  });
});

test("what waits in very many small batches that are divided stays whole", async () => {
  const { id, cursor } = await create("divided");
  await unseen(async (tx) => {
    await join(tx, id, ["m0"]);
    // All due at times of their own, so that none of them can be put together.
    await tx`
      insert into deliveries (cursor_id, step, part, state, due, positions, keys, owner)
        select ${cursor}, g, 0, 'ready', now() + interval '1 h' + g * interval '1 ms', array[g * 2, g * 2 + 1], array[0, 15], 'm0'
        from generate_series(1, 20000) g`;
    await join(tx, id, ["m1"]);
    expect(await misplaced(tx, cursor)).toBe(0);
    expect((await waiting(tx, cursor))?.n).toBe(40_000);
  });
});

test("silent members of a group are forgotten all at once, subscription by subscription", async () => {
  const one = await create("silent-1");
  const two = await create("silent-2");
  await unseen(async (tx) => {
    for (const { id, cursor } of [one, two]) {
      await join(tx, id, members(150));
      await tx`
        insert into deliveries (cursor_id, step, part, state, consumer, due, positions, keys)
          select ${cursor}, g, 0, 'leased', 'm' || g % 150, now() + interval '1 h', array[g], array[g] from generate_series(0, 299) g`;
      await silence(tx, id, members(149));
    }
    for (const { id, cursor } of [one, two]) {
      const rows = await tx`select * from consumers_forget(${Number(id) - 1}, 10)`;
      expect(rows).toHaveLength(149);
      expect(new Set(rows.map((row) => row.subscription_id))).toEqual(new Set([id]));
      expect(rows.every((row) => row.taken_back === 2)).toBe(true);
      const owners =
        await tx`select distinct owner from group_slots where cursor_id = ${cursor} and next_owner is null`;
      expect(owners.map((row) => row.owner)).toEqual(["m149"]);
      expect((await waiting(tx, cursor))?.n).toBe(298);
    }
    expect(await tx`select * from consumers_forget(${two.id}, 10)`).toHaveLength(0);
  });
});

test("silent consumers with cursors of their own are forgotten some at a time", async () => {
  const { id } = await create("silent-each", { mode: "broadcast" });
  await unseen(async (tx) => {
    await join(tx, id, members(25));
    await silence(tx, id, members(24));
    const counts: number[] = [];
    for (let count = -1; count !== 0; ) {
      count = (await tx`select * from consumers_forget(${Number(id) - 1}, 10)`).length;
      counts.push(count);
    }
    expect(counts).toEqual([10, 10, 4, 0]);
  });
});

test("what is still out when the slots of a new member should be its own is taken back in pieces, each event once", async () => {
  const { id, cursor } = await create("drained");
  await unseen(async (tx) => {
    await join(tx, id, ["m0"]);
    await tx`
      insert into deliveries (cursor_id, step, part, state, consumer, due, positions, keys)
        select ${cursor}, g, 0, 'leased', 'm0', now() + interval '1 h', array[g * 4, g * 4 + 1, g * 4 + 2, g * 4 + 3],
               array[g * 4, g * 4 + 1, g * 4 + 2, g * 4 + 3] from generate_series(1, 1000) g`;
    await join(tx, id, ["m1"]);
    await tx`update group_slots set drain_deadline = now() where cursor_id = ${cursor} and next_owner is not null`;
    const [moving] = await tx`
      select array_agg(slot)::text as slots, count(*)::int as n from group_slots where cursor_id = ${cursor} and next_owner is not null`;
    expect(moving?.n).toBe(8);
    const out = async () =>
      (
        await tx`
          select count(*)::int as n from deliveries d cross join lateral unnest(d.keys) u(key)
          where d.cursor_id = ${cursor} and d.state = 'leased' and u.key % 16 = any(${moving?.slots}::int[])`
      )[0]?.n as number;
    let left = await out();
    expect(left).toBe(2_000);
    for (let isRest = true; isRest; ) {
      const [row] = await tx`
        select first_due = '-infinity' as is_rest from delivery_claim_group(
          ${cursor}, 1, -1, -1, '{}', '{}', '{m1}', '{0}', '{1000}', '{true}', 10, 1000, '{}', '{}', 0, true, '{0}', '-infinity')`;
      isRest = row?.is_rest;
      const now = await out();
      expect(now).toBeLessThan(left);
      expect(now).toBeGreaterThanOrEqual(left - 1_000);
      left = now;
      expect(isRest).toBe(left > 0);
    }
    expect(await tx`select from group_slots where cursor_id = ${cursor} and next_owner is not null`).toHaveLength(0);
    const [failed] = await tx`
      select count(*)::int as n, max(attempts) as most from delivery_failures where cursor_id = ${cursor}`;
    expect(failed).toEqual({ n: 2_000, most: 1 });
    expect((await waiting(tx, cursor))?.n).toBe(2_000);
    expect(await misplaced(tx, cursor)).toBe(0);
    const [kept] = await tx`
      select sum(cardinality(positions))::int as n from deliveries where cursor_id = ${cursor} and state = 'leased'`;
    expect(kept?.n).toBe(2_000);
  });
});
