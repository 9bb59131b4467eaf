// Cursors that are removed: with all that is under them, at a cost that does not grow with what others have.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, send } from "../support/client.ts";
import { claim, put, subscription } from "../support/consume.ts";
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

/** A subscription with so many cursors, under each of which there is something of everything. */
async function create(name: string, cursors: number): Promise<string> {
  await put(`${service.url}/api/subscriptions/${name}`, { stream: name, mode: "read-receipt", from: "beginning" });
  const [row] = await sql`select id from subscriptions where name = ${name}`;
  const id = row?.id as string;
  await sql`
    insert into consumers (subscription_id, name, metadata, seen_at)
      select ${id}, 'c' || g, '{}', now() from generate_series(1, ${cursors}::int) g`;
  await sql`
    insert into subscription_cursors (subscription_id, consumer, start_position)
      select ${id}, 'c' || g, -1 from generate_series(1, ${cursors}::int) g`;
  const under = sql`from subscription_cursors k cross join generate_series(1, 3) g where k.subscription_id = ${id}`;
  await sql`
    insert into deliveries (cursor_id, step, part, state, consumer, due, positions)
      select k.id, g, 0, 'leased', k.consumer, now() + interval '1 h', array[g] ${under}`;
  await sql`insert into receipts (cursor_id, positions, delivered_at) select k.id, array[10 + g], now() ${under}`;
  await sql`insert into cursor_steps (cursor_id, step, position) select k.id, g, g ${under}`;
  await sql`insert into early_reads (cursor_id, position) select k.id, 20 + g ${under}`;
  await sql`insert into revoked_deliveries (cursor_id, step, part, positions, revoked_at) select k.id, g, 0, '{1}', now() ${under}`;
  await sql`
    insert into delivery_failures (cursor_id, position, attempts, first_error, first_at, last_error, last_at)
      select k.id, g, 1, 'x', now(), 'x', now() ${under}`;
  return id;
}

const tables = [
  "deliveries",
  "receipts",
  "cursor_steps",
  "early_reads",
  "revoked_deliveries",
  "delivery_failures",
] as const;

/** How many rows there are whose cursor there is not. */
async function orphans(on: postgres.Sql): Promise<number> {
  let sum = 0;
  for (const table of tables) {
    const [row] = await on`
      select count(*)::int as n from ${sql(table)} t where not exists (select from subscription_cursors k where k.id = t.cursor_id)`;
    sum += row?.n;
  }
  return sum;
}

test("removing a consumer's cursor reads nothing of what others have", async () => {
  await create("others", 1000);
  const id = await create("one", 1);
  await sql.begin(async (transaction) => {
    const tx = transaction as unknown as postgres.Sql;
    await tx`set local enable_seqscan = off`;
    const read = async () =>
      Number(
        (
          await tx`
            select sum(coalesce(idx_tup_fetch, 0) + seq_tup_read) as n from pg_stat_xact_user_tables
            where relname in ('deliveries', 'receipts', 'cursor_steps')`
        )[0]?.n,
      );
    const before = await read();
    expect(await tx`select * from consumer_remove(${id}, 'c1')`).toHaveLength(1);
    expect((await read()) - before).toBeLessThan(30);
    expect(await orphans(tx)).toBe(0);
    const left = await tx`select from subscription_cursors where subscription_id = ${id}`;
    expect(left).toHaveLength(0);
  });
});

test("a deleted subscription is cleared in pieces, and nothing of it is left", async () => {
  const id = await create("cleared", 250);
  const count = async (tx: postgres.Sql) =>
    (await tx`select count(*)::int as n from subscription_cursors where subscription_id = ${id}`)[0]?.n as number;
  // The service clears too: it does not see that this is deleted.
  const done = new Error("done");
  await sql
    .begin(async (transaction) => {
      const tx = transaction as unknown as postgres.Sql;
      await tx`select subscription_delete('cleared')`;
      let calls = 0;
      for (let was = true, left = await count(tx); was; calls++) {
        was = (await tx`select subscription_clear(120) as was`)[0]?.was;
        const now = await count(tx);
        expect(left - now).toBeLessThanOrEqual(100);
        left = now;
      }
      expect(calls).toBeGreaterThan(30);
      expect(await tx`select from subscriptions where id = ${id}`).toHaveLength(0);
      expect(await tx`select from consumers where subscription_id = ${id}`).toHaveLength(0);
      expect(await orphans(tx)).toBe(0);
      throw done;
    })
    .catch((error: unknown) => {
      if (error !== done) throw error;
    });
});

test("a subscription with very many consumers is deleted at once, and its name is free", async () => {
  const id = await create("many", 2_000);
  expect((await send(`${service.url}/api/subscriptions/many`, { method: "DELETE" })).status).toBe(204);
  expect((await send(`${service.url}/api/subscriptions/many`)).status).toBe(404);
  const source = subscription(service.url, "many");
  expect((await put(source.url, { stream: "many", mode: "read-receipt", from: "beginning" })).status).toBe(201);
  await append(service.url, "many", { type: "A", data: 1 });
  expect(await claim(source, { consumer: "c1" })).toHaveLength(1);
  await until("the rows of the old one are gone", async () => {
    return (await sql`select from subscriptions where id = ${id}`).length === 0;
  });
  expect(await orphans(sql)).toBe(0);
  expect((await send<{ consumers: number }>(source.url)).body.consumers).toBe(1);
}, 120_000);
