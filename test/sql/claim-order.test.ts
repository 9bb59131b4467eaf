// What a claim hands out together is one batch, in order, whatever it is made of.
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

test("what is put back and lies behind what comes by itself is handed out in order, and counts for the floor", async () => {
  await put(`${service.url}/api/subscriptions/mixed`, { stream: "mixed", mode: "exclusive", from: "beginning" });
  const [found] = await sql`
    select k.id from subscriptions s join subscription_cursors k on k.subscription_id = s.id where s.name = 'mixed'`;
  const cursor = found?.id as string;
  // As after a reset: the cursor stands before what was put back.
  await sql`
    insert into delivery_failures (cursor_id, position, attempts, first_error, first_at, last_error, last_at)
      values (${cursor}, 12, 3, 'x', now(), 'x', now())`;
  await sql`select delivery_wait(${cursor}, '{11,12}', null, clock_timestamp())`;
  const [claimed] = await sql`
    select positions::text, attempts::text, counts::text from delivery_claim(
      ${cursor}, 1, -1, 20, '{1,2,15}', '{ada,bob}', '{3,2}', '{3600000,3600000}', '{true,true}', 100, true, '{0,0}', '-infinity')`;
  expect(claimed as unknown).toEqual({ positions: "{1,2,11,12,15}", attempts: "{1,1,1,4,1}", counts: "{3,2}" });
  const leases = await sql`
    select consumer, positions::text, retried from deliveries where cursor_id = ${cursor} order by consumer`;
  expect([...leases] as unknown).toEqual([
    { consumer: "ada", positions: "{1,2,11}", retried: true },
    { consumer: "bob", positions: "{12,15}", retried: true },
  ]);
  const [row] = await sql`select cursor_floor(${cursor})::int as floor`;
  expect(row?.floor).toBe(1);
});
