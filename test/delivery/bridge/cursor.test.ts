// What is noted of publishing: for each stream by itself, whatever becomes of the others.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import type postgres from "postgres";
import { writeCursors } from "../../../src/delivery/bridge/outbound/cursor.ts";
import type { Pool } from "../../../src/storage/pool.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { configure, openSql } from "../../support/sql.ts";

let sql: postgres.Sql;
let pool: Pool;
const owner = randomUUID();
beforeAll(async () => {
  sql = openSql(await createTestDatabase());
  pool = { run: (task) => task(sql), stop: async () => {} };
});
afterAll(() => sql.end());

test("a stream that was removed meanwhile keeps no other from being noted", async () => {
  await configure(sql, "stays");
  const [stays] = await sql<{ id: string }[]>`select id from streams where name = 'stays'`;
  const [removed] = await sql<{ id: string }[]>`select max(id) + 1 as id from streams`;
  const [held] = await sql<{ held_epoch: string }[]>`
    select held_epoch from lease_hold(${owner}, array['bridge'], interval '1 minute')`;
  const lease = { name: "bridge", owner, epoch: Number(held?.held_epoch) };
  const cursors = [removed, stays].map((row, n) => ({
    streamId: Number(row?.id),
    jetstream: `js-${n}`,
    created: "2026-01-01T00:00:00Z",
    sequence: 5,
    offset: 4,
    position: 4,
    logId: randomUUID(),
  }));
  for (const anew of [true, false]) {
    await sql`delete from bridge_cursors`;
    await writeCursors(pool, lease, cursors, anew);
    const rows = await sql<{ nats_stream: string }[]>`select nats_stream from bridge_cursors`;
    expect(rows.map((row) => row.nats_stream)).toEqual(["js-1"]);
  }
});
