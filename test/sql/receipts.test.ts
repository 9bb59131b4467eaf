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
