// Leases: one holder at a time, the next one when it stops or dies, and nothing written by a holder that was passed over.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { checkLease, createLeases, type HeldLease, isLeaseLost, type Leases } from "../../src/storage/lease.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { createHeldPool } from "../support/held-pool.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: postgres.Sql;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
});
afterAll(() => sql.end());

const log = createLog("silent", "test");
const open: Leases[] = [];
afterEach(async () => {
  for (const leases of open.splice(0)) await leases.stop();
});

/** A process's leases; `away` makes its database fail. */
function start(ttlMs = 400) {
  const state = { away: false };
  const pool: Pool = {
    run: (task) => (state.away ? Promise.reject(new Error("away")) : task(sql)),
    stop: async () => {},
  };
  const leases = createLeases({ pool, ttlMs, log });
  leases.start();
  open.push(leases);
  return { leases, state };
}
/** What a holder was told, in order. */
function want({ leases }: { leases: Leases }, name: string) {
  const told = { gained: [] as HeldLease[], lost: 0, isHeld: () => told.gained.length > told.lost };
  const giveUp = leases.want(name, {
    onGained(lease, signal) {
      told.gained.push(lease);
      signal.addEventListener("abort", () => told.lost++);
    },
  });
  return { told, giveUp };
}
const check = (lease: HeldLease) =>
  sql
    .begin((tx) => checkLease(tx, lease))
    .then(
      () => "held",
      (error: unknown) => (isLeaseLost(error) ? "lost" : error),
    );

test("a lease has one holder, and the next one as soon as that stops, in a later epoch", async () => {
  const [a, b] = [start(60_000), start(60_000)];
  const first = want(a, "one");
  await until("it is held", () => first.told.isHeld());
  const second = want(b, "one");
  await a.leases.stop();
  // The second one asks again by its interval, which is long here: wanting something else makes it ask at once.
  await until("the other one has it", () => {
    want(b, `other-${Math.random()}`);
    return second.told.isHeld();
  });
  expect(first.told.lost).toBe(1);
  const [before, after] = [first.told.gained[0] as HeldLease, second.told.gained[0] as HeldLease];
  expect(after.epoch).toBe(before.epoch + 1);
  expect(await check(before)).toBe("lost");
  expect(await check(after)).toBe("held");
});

test("who cannot reach the database gives its leases up by itself, before another one has them", async () => {
  const [a, b] = [start(), start()];
  const first = want(a, "two");
  await until("it is held", () => first.told.isHeld());
  const second = want(b, "two");
  const order: string[] = [];
  a.state.away = true;
  await until("the other one has it", () => {
    if (!first.told.isHeld() && !order.includes("lost")) order.push("lost");
    if (second.told.isHeld() && !order.includes("gained")) order.push("gained");
    return order.length === 2;
  });
  expect(order).toEqual(["lost", "gained"]);
  a.state.away = false;
  expect(await check(first.told.gained[0] as HeldLease)).toBe("lost");
});

test("who lost a lease that nobody took has it again, in the same epoch", async () => {
  const a = start();
  const first = want(a, "three");
  await until("it is held", () => first.told.isHeld());
  a.state.away = true;
  await until("it is lost", () => first.told.lost === 1);
  a.state.away = false;
  await until("it is held", () => first.told.isHeld());
  expect(first.told.gained.map(({ epoch }) => epoch)).toEqual([1, 1]);
});

test("a lease that was given up is free, and its holder is not asked again", async () => {
  const a = start();
  const first = want(a, "four");
  await until("it is held", () => first.told.isHeld());
  await first.giveUp();
  expect(first.told.lost).toBe(1);
  const second = want(start(), "four");
  await until("it is held", () => second.told.isHeld());
  expect(first.told.gained).toHaveLength(1);
});

const take = async (name: string) =>
  (await sql`select 1 from lease_hold(gen_random_uuid(), ${`{${name}}`}::text[], '1 minute')`).length === 1;

test("who checks its lease in a transaction holds it until the transaction ends, also when it has run out", async () => {
  const a = start(60_000);
  const first = want(a, "five");
  await until("it is held", () => first.told.isHeld());
  const lease = first.told.gained[0] as HeldLease;
  await sql`update leases set until = '-infinity' where name = 'five'`;
  await sql.begin(async (tx) => {
    await checkLease(tx, lease);
    expect(await take("five")).toBeFalse();
    expect(await check(lease)).toBe("held");
  });
  expect(await take("five")).toBeTrue();
  expect(await check(lease)).toBe("lost");
});

test("a statement that changes the epoch waits for those who check the lease, whatever else it is", async () => {
  const a = start(60_000);
  const first = want(a, "six");
  await until("it is held", () => first.told.isHeld());
  const lease = first.told.gained[0] as HeldLease;
  const order: string[] = [];
  await sql.begin(async (tx) => {
    await checkLease(tx, lease);
    // As a process of an earlier version takes a lease.
    const taking = sql`
      insert into leases as l (name, owner, epoch, until) values ('six', gen_random_uuid(), 1, 'infinity')
      on conflict (name) do update set owner = excluded.owner, epoch = l.epoch + 1, until = 'infinity'`.then(() =>
      order.push("taken"),
    );
    await until("the other one waits", async () => {
      const waiting = await sql`
        select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into leases%'`;
      return waiting.length > 0;
    });
    order.push("written");
    void taking;
  });
  await until("both are done", () => order.length === 2);
  expect(order).toEqual(["written", "taken"]);
  expect(await check(lease)).toBe("lost");
});

/** Until when a lease lasts, in milliseconds. */
const lasts = async (name: string) => {
  const [row] = await sql<{ ms: number }[]>`
    select (extract(epoch from until) * 1000)::float8 as ms from leases where name = ${name}`;
  return row?.ms as number;
};

test("leases are renewed beside a transaction that checks one of them for long", async () => {
  const ttlMs = 400;
  const a = start(ttlMs);
  const names = ["checked", "beside"];
  const held = names.map((name) => want(a, name));
  for (const { told } of held) await until("it is held", () => told.isHeld());
  await sql.begin(async (tx) => {
    await checkLease(tx, held[0]?.told.gained[0] as HeldLease);
    const before = await lasts("checked");
    for (const name of names)
      await until(
        `${name} is renewed`,
        async () => (await lasts(name)) > before + 2 * ttlMs || held.some(({ told }) => told.lost > 0),
      );
    expect(held.map(({ told }) => told.lost)).toEqual([0, 0]);
  });
  expect(held.map(({ told }) => told.gained.length)).toEqual([1, 1]);
});

test("a lease whose row somebody has locked outright takes no other with it", async () => {
  const ttlMs = 400;
  const a = start(ttlMs);
  const [locked, beside] = [want(a, "locked"), want(a, "beside-locked")];
  for (const { told } of [locked, beside]) await until("it is held", () => told.isHeld());
  await sql.begin(async (tx) => {
    await tx`select 1 from leases where name = 'locked' for update`;
    const before = await lasts("beside-locked");
    await until(
      "it is renewed",
      async () => (await lasts("beside-locked")) > before + 2 * ttlMs || beside.told.lost > 0,
    );
    expect([locked.told.lost, beside.told.lost]).toEqual([1, 0]);
  });
  await until("it is held again", () => locked.told.isHeld());
  expect(locked.told.gained.map(({ epoch }) => epoch)).toEqual([1, 1]);
});

test("a lease that is given up while it is asked for stays with nobody", async () => {
  const pool = createHeldPool({ run: (task) => task(sql), stop: async () => {} });
  const hold = pool.hold("lease_hold", "answer");
  const leases = createLeases({ pool, ttlMs: 600_000, log });
  open.push(leases);
  leases.start();
  const giveUp = leases.want("fleeting", { onGained() {} });
  await until("the answer is on its way", () => hold.waiting() === 1);
  await giveUp();
  hold.release();
  const other = start(600_000);
  const { told } = want(other, "fleeting");
  await until("another process holds it, long before it would run out", () => {
    want(other, `other-${Math.random()}`);
    return told.isHeld();
  });
});
