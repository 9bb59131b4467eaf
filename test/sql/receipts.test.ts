// Receipts of events that are gone: they hold up nothing, also of consumers who never ask.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, send } from "../support/client.ts";
import { ack, claim, put, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService({ TRIM_INTERVAL: "50ms" });
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

/** Events that are delivered to consumers one by one or in batches, and unread. */
async function delivered(stream: string, consumers: string[], batch: number): Promise<Source> {
  const source = subscription(service.url, `of-${stream}`);
  await put(source.url, { stream, mode: "read-receipt", from: "beginning" });
  await append(
    service.url,
    stream,
    Array.from({ length: 6 }, (_, n) => ({ type: "A", data: n })),
  );
  for (const consumer of consumers)
    for (let n = 0; n < 6; n += batch)
      await ack(source, tokens(await claim(source, { consumer, max: batch, wait: "20s" })));
  return source;
}
const receipts = async () =>
  (
    await sql`select array_agg(u order by u) as left from receipts r, unnest(r.positions) u group by r.cursor_id order by r.cursor_id`
  ).map((row) => String(row.left));

test("a sweep drops receipts of removed events, cursor by cursor, and keeps the others", async () => {
  const source = await delivered("swept", ["ada", "bob"], 4);
  await delivered("kept", ["eve"], 1);
  const before = await receipts();
  expect(before).toHaveLength(3);
  await put(`${service.url}/api/streams/swept`, { retention: { maxEvents: 1 } });
  await until("they are trimmed", async () => {
    return (await send<{ length: string }>(`${service.url}/api/streams/swept`)).body.length === "1";
  });
  const steps: unknown[] = [];
  for (let after: string | null = "-1"; after !== null; ) {
    const [row]: postgres.Row[] = await sql`select * from receipts_sweep(${after}, 2)`;
    steps.push(row?.dropped);
    after = row?.reached;
  }
  expect(steps).toEqual([10, 0]);
  const left = await receipts();
  expect(left.slice(0, 2)).toEqual(Array(2).fill(`{${before[0]?.slice(1, -1).split(",").at(-1)}}`));
  expect(left[2]).toBe(before[2] as string);
  const { floor } = (await send<{ floor: string }>(source.url)).body;
  expect(`{${Number(floor) + 1}}`).toBe(left[0] as string);
  const [again] = await sql`select * from receipts_sweep(-1, 100)`;
  expect([again?.reached, again?.dropped]).toEqual([null, 0]);
});

test("receipts that are due all at once are taken piece by piece, each once", async () => {
  const source = subscription(service.url, "due");
  await put(source.url, { stream: "due", mode: "read-receipt", from: "beginning" });
  await put(`${source.url}/consumers/ada`, {});
  const [row] = await sql`
    select k.id from subscription_cursors k join subscriptions s on s.id = k.subscription_id where s.name = 'due'`;
  const cursor = row?.id as string;
  // The service expires receipts too: it does not see these.
  await sql
    .begin(async (tx) => {
      await tx`
        insert into receipts (cursor_id, positions, delivered_at, due)
          select ${cursor}, array(select g * 5 + n from generate_series(0, 4) n), now() - interval '1 h', now() - interval '1 min'
          from generate_series(1, 3000) g`;
      const pieces: number[] = [];
      for (let events = -1; events !== 0; ) {
        const rows = await tx<{ events: number }[]>`select events from receipts_expire(1000)`;
        events = rows.reduce((sum, piece) => sum + piece.events, 0);
        pieces.push(events);
      }
      expect(Math.max(...pieces)).toBeLessThanOrEqual(3_000);
      const [counted] = await tx`
        select count(*)::int as n, max(attempts) as most from delivery_failures where cursor_id = ${cursor}`;
      expect(counted).toEqual({ n: 15_000, most: 1 });
      throw new Error("done");
    })
    .catch((error: Error) => expect(error.message).toBe("done"));
});
