// Leases: one holder at a time, the next one when it stops or dies, and nothing written by a holder that was passed over.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { checkLease, createLeases, type HeldLease, isLeaseLost, type Leases } from "../../src/storage/lease.ts";
import type { Pool } from "../../src/storage/pool.ts";
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

test("who checks its lease in a transaction holds it until the transaction ends", async () => {
  const a = start(60_000);
  const first = want(a, "five");
  await until("it is held", () => first.told.isHeld());
  const lease = first.told.gained[0] as HeldLease;
  const order: string[] = [];
  await sql`update leases set until = '-infinity' where name = 'five'`;
  await sql.begin(async (tx) => {
    await checkLease(tx, lease);
    const taking = sql`select * from lease_hold(gen_random_uuid(), '{five}', '1 minute')`.then(() =>
      order.push("taken"),
    );
    await until("the other one waits", async () => {
      const waiting =
        await sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%lease_hold%'`;
      return waiting.length > 0;
    });
    order.push("written");
    void taking;
  });
  await until("both are done", () => order.length === 2);
  expect(order).toEqual(["written", "taken"]);
  expect(await check(lease)).toBe("lost");
});
