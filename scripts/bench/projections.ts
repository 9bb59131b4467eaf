// A projection that keeps a counter: built anew, beside one transaction an event; and how far it is behind the head under load.
import type postgres from "postgres";
import { filledFolder } from "./fill.ts";
import { compare, inTurn, median, percentile } from "./pairs.ts";
import { root } from "./processes.ts";
import { connectTo, type Service, startService } from "./service.ts";
import { maxEvents, seconds } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "projections";
const events = Math.min(200_000, maxEvents);
const projection = "order-counts";
const requestsPerSecond = 500;
const eventsInRequest = 4;
const lookMs = 2;

export async function measureProjections(table: Table): Promise<void> {
  const service = await startService(await filledFolder(events), {
    MODULES: `${root}scripts/bench/projection-module.ts`,
  });
  const sql = await connectTo(service.dataDir, { connections: 2 });
  await reached(sql, events - 1);
  await sql`create table if not exists bench_counter (customer text primary key, orders bigint, amount double precision)`;
  await sql`create table if not exists bench_position (position bigint)`;
  await sql`insert into bench_position values (0)`;
  const built = await inTurn(
    () => rebuild(service, sql),
    () => oneByOne(sql),
  );
  table.add({
    measurement,
    what: "a counter by a projection, built anew",
    unit: "events/s",
    beside: "one transaction an event",
    ...compare(
      built,
      ([of]) => of,
      ([, by]) => by,
    ),
    aim: { of: "ratio", least: 10 },
  });
  const lags = await inTurn(() => lagUnderLoad(service, sql));
  for (const [share, aim] of [
    [0.5, undefined],
    [0.99, { of: "service", most: 100 }],
  ] as const)
    table.add({
      measurement,
      what: `its lag behind acknowledged appends, ${requestsPerSecond * eventsInRequest} events/s, p${share * 100}`,
      unit: "ms",
      service: median(lags.map(([of]) => percentile(of, share))),
      ...(aim === undefined ? {} : { aim }),
    });
  await sql.end();
  await service.discard();
}

async function readPosition(sql: postgres.Sql): Promise<{ generation: number; position: number }> {
  const [row] = await sql<{ generation: number; position: string }[]>`
    select generation, position from projection_generations where projection = ${projection} and role = 'live'`;
  return { generation: row?.generation ?? 0, position: Number(row?.position ?? -1) };
}

async function reached(sql: postgres.Sql, position: number): Promise<void> {
  while ((await readPosition(sql)).position < position) await Bun.sleep(lookMs);
}

/** Events a second, from the request until the new tables answer. */
async function rebuild(service: Service, sql: postgres.Sql): Promise<number> {
  const { generation } = await readPosition(sql);
  const started = performance.now();
  const answer = await fetch(`${service.url}/api/projections/${projection}/rebuild`, { method: "POST" });
  if (!answer.ok) throw new Error(`the rebuild was answered ${answer.status}`);
  while ((await readPosition(sql)).generation === generation) await Bun.sleep(lookMs);
  return (events / (performance.now() - started)) * 1_000;
}

/** Events a second when each is counted in a transaction of its own, with the position. */
async function oneByOne(sql: postgres.Sql): Promise<number> {
  const started = performance.now();
  let done = 0;
  while (performance.now() - started < seconds * 1_000) {
    done++;
    await sql.begin(async (transaction) => [
      await transaction`
        insert into bench_counter values ('someone', 1, 120.5) on conflict (customer)
        do update set orders = bench_counter.orders + 1, amount = bench_counter.amount + excluded.amount`,
      await transaction`update bench_position set position = ${done}`,
    ]);
  }
  return (done / (performance.now() - started)) * 1_000;
}

/** For each request, how long behind its answer the projection had its events, in milliseconds. */
async function lagUnderLoad(service: Service, sql: postgres.Sql): Promise<number[]> {
  const lags: number[] = [];
  const waiting: { position: number; atMs: number }[] = [];
  let writing = true;
  const watching = (async () => {
    while (writing || waiting.length > 0) {
      const { position } = await readPosition(sql);
      const nowMs = performance.now();
      // Answers come in any order.
      for (let n = waiting.length - 1; n >= 0; n--) {
        const one = waiting[n] as (typeof waiting)[number];
        if (one.position > position) continue;
        lags.push(Math.max(0, nowMs - one.atMs));
        waiting.splice(n, 1);
      }
      await Bun.sleep(lookMs);
    }
  })();
  const data = { customer: "someone", amount: 120.5 };
  const body = JSON.stringify(Array.from({ length: eventsInRequest }, () => ({ type: "OrderPlaced", data })));
  const headers = { "content-type": "application/json" };
  const pending = new Set<Promise<unknown>>();
  const started = performance.now();
  for (let sent = 0; performance.now() - started < seconds * 1_000; await Bun.sleep(1)) {
    for (const due = ((performance.now() - started) / 1_000) * requestsPerSecond; sent < due; sent++) {
      const request = fetch(`${service.url}/api/streams/steady/events`, { method: "POST", headers, body })
        .then((answer) => answer.json() as Promise<{ lastPosition: string }>)
        .then(({ lastPosition }) => waiting.push({ position: Number(lastPosition), atMs: performance.now() }))
        .finally(() => pending.delete(request));
      pending.add(request);
    }
  }
  await Promise.all(pending);
  writing = false;
  await watching;
  return lags;
}
