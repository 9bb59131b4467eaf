import { afterEach, expect, test } from "bun:test";
import postgres from "postgres";
import { isOutage, StalledConnection } from "../../src/storage/pg-errors.ts";
import { createPool, type Pool } from "../../src/storage/pool.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const pools: Pool[] = [];
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.stop()));
});

function open(url: string, size: number, timeLimitMs = 10_000): { pool: Pool; connects: () => number } {
  let connects = 0;
  const pool = createPool({
    connect(max) {
      connects++;
      return postgres(url, { max, fetch_types: false });
    },
    size,
    timeLimitMs,
  });
  pools.push(pool);
  return { pool, connects: () => connects };
}

test("no more tasks run at once than there are connections, and all come to their turn", async () => {
  const { pool } = open(await createTestDatabase(), 2);
  let running = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 10 }, () =>
      pool.run(async (sql) => {
        most = Math.max(most, ++running);
        await sql`select 1`;
        running--;
      }),
    ),
  );
  expect(most).toBe(2);
});

test("a task that waits for its turn leaves when its signal fires, and takes no place", async () => {
  const { pool } = open(await createTestDatabase(), 1);
  let finish = () => {};
  const busy = pool.run(
    () =>
      new Promise<void>((resolve) => {
        finish = resolve;
      }),
  );
  const abort = new AbortController();
  let ran = false;
  const waiting = pool.run(async () => {
    ran = true;
  }, abort.signal);
  abort.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  finish();
  await busy;
  await pool.run((sql) => sql`select 1`);
  expect(ran).toBe(false);
});

test("a task that fails gives its place back", async () => {
  const { pool } = open(await createTestDatabase(), 1);
  for (let n = 0; n < 3; n++) await expect(pool.run((sql) => sql`select nonsense`)).rejects.toThrow("nonsense");
  expect([...(await pool.run((sql) => sql`select 1 as one`))]).toEqual([{ one: 1 }]);
});

test("a connection that gives no answer is given up, and new ones serve", async () => {
  const url = new URL(await createTestDatabase());
  const proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  const { pool, connects } = open(url.href, 2, 200);
  await pool.run((sql) => sql`select 1`);
  await proxy.set("half-open");
  const failures = await Promise.allSettled([1, 2].map(() => pool.run((sql) => sql`select 1`)));
  const reasons = failures.map((failure) => (failure.status === "rejected" ? failure.reason : null));
  // Whoever notices first gives the connections up, and the other one is told by its own time limit or by that.
  expect(reasons.some((reason) => reason instanceof StalledConnection)).toBe(true);
  expect(reasons.map((reason) => isOutage(reason))).toEqual([true, true]);
  // Two tasks met the same dead connections: they are replaced once.
  expect(connects()).toBe(2);
  await proxy.set("pass");
  await until("the new connections serve", () =>
    pool
      .run((sql) => sql`select 1`)
      .then(
        () => true,
        () => false,
      ),
  );
  await proxy.stop();
});
