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

test("when something was confirmed last is told of confirmations alone", async () => {
  await configure(sql, "told");
  const [stream] = await sql<{ id: string }[]>`select id from streams where name = 'told'`;
  await sql`insert into cross_service_streams (stream_id, nats_stream, nats_subject) values (${stream?.id as string}, 'js', 'js.>')`;
  const [held] = await sql<{ held_epoch: string }[]>`
    select held_epoch from lease_hold(${owner}, array['bridge'], interval '1 minute')`;
  const lease = { name: "bridge", owner, epoch: Number(held?.held_epoch) };
  const note = async (sequence: number, offset: number, anew: boolean, created = "2026-01-01T00:00:00Z") => {
    const place = { jetstream: "js", created, sequence, offset, position: offset, logId: randomUUID() };
    await writeCursors(pool, lease, [{ streamId: Number(stream?.id), ...place }], anew);
    const [row] = await sql<{ at: string | null }[]>`
      select confirmed_at::text as at from stream_publications where stream = 'told'`;
    return row?.at ?? null;
  };
  expect(await note(0, -1, true)).toBeNull();
  // What retention has removed is no confirmation.
  expect(await note(0, 3, false)).toBeNull();
  const first = await note(1, 4, false);
  expect(first).not.toBeNull();
  for (const sequence of [1, 7]) expect(await note(sequence, 4, true)).toBe(first);
  const second = await note(8, 5, false);
  expect(second).not.toBe(first);
  // What JetStream has lost.
  expect(await note(7, 4, true)).toBe(second);
  expect(await note(0, -1, true, "2026-01-02T00:00:00Z")).toBeNull();
  expect(await note(1, 0, false, "2026-01-02T00:00:00Z")).not.toBeNull();
});
