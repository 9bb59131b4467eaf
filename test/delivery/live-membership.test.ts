// What is stored of live connections: each connect has an epoch of its own, also of those at the same moment.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLiveMemberships } from "../../src/delivery/live/membership.ts";
import type { Pool } from "../../src/storage/pool.ts";
import { createHeldPool } from "../support/held-pool.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: ReturnType<typeof openSql>;
let pool: Pool;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
  pool = { run: (task) => task(sql), stop: async () => {} };
});
afterAll(() => sql.end());

test("a connect that is read back late has the epoch that it was given", async () => {
  const reads = createHeldPool(pool);
  const memberships = createLiveMemberships(reads, pool);
  const id = crypto.randomUUID();
  const held = reads.hold("from live_connections", "statement");
  const first = memberships.connect(id, "owner", 0);
  await until("it is stored", () => held.waiting() === 1);
  held.pass();
  const second = await memberships.connect(id, "owner", 0);
  held.release();
  expect([(await first).epoch, second.epoch]).toEqual([1, 2]);
  expect((await memberships.read(id))?.epoch).toBe(2);
});
