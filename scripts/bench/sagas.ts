// Sagas of three trivial steps, a thousand at once: how many a second are carried out, and what is left of them when the process dies.
import { setTimeout as sleep } from "node:timers/promises";
import type postgres from "postgres";
import { inTurn, median } from "./pairs.ts";
import { newFolder, root } from "./processes.ts";
import { connectTo, type Service, startService } from "./service.ts";
import type { Table } from "./table.ts";

const measurement = "sagas";
const sagas = 1_000;
const connections = 256;
const kills = 5;
const lookMs = 5;
// Whoever takes over waits no longer than this.
const env = { MODULES: `${root}scripts/bench/saga-module.ts`, LEASE_DURATION: "1s" };

export async function measureSagas(table: Table): Promise<void> {
  const service = await startService(newFolder("data"), env);
  const sql = await connectTo(service.dataDir);
  await carryOut(service, sql, "warm-up");
  let round = 0;
  const measured = await inTurn(async () => carryOut(service, sql, `round-${++round}`));
  table.add({
    measurement,
    what: `${sagas.toLocaleString("en-US")} sagas of three trivial steps, ${connections} connections`,
    unit: "sagas/s",
    service: median(measured.map(([perSecond]) => perSecond)),
    aim: { of: "service", least: 300 },
  });
  const [last, lost] = await withKills(service, sql);
  table.add({
    measurement,
    what: `sagas lost of ${sagas.toLocaleString("en-US")}, the process killed ${kills} times`,
    unit: "sagas",
    service: lost,
    aim: { of: "service", most: 0 },
  });
  await sql.end();
  await last.discard();
}

/** Sagas a second, from the first request until the last one is completed. */
async function carryOut(service: Service, sql: postgres.Sql, correlation: string): Promise<number> {
  const began = performance.now();
  await startAll(() => service.url, correlation);
  while ((await completed(sql, correlation)) < sagas) await sleep(lookMs);
  return sagas / ((performance.now() - began) / 1_000);
}

/** Kills the process five times meanwhile. Returns the last one, and how many sagas did not complete. */
async function withKills(first: Service, sql: postgres.Sql): Promise<[Service, number]> {
  let service = first;
  const correlation = "killed";
  const starting = startAll(() => service.url, correlation);
  for (let kill = 1; kill <= kills; kill++) {
    while ((await completed(sql, correlation)) < (sagas * kill) / (kills + 1)) await sleep(lookMs);
    process.kill(service.pid, "SIGKILL");
    // The embedded Postgres survives; the next process takes it over.
    service = await startService(first.dataDir, env);
  }
  await starting;
  const deadline = performance.now() + 60_000;
  while ((await completed(sql, correlation)) < sagas && performance.now() < deadline) await sleep(lookMs);
  return [service, sagas - (await completed(sql, correlation))];
}

/** Starts the sagas, each with a key, until it is answered that it is kept. */
async function startAll(url: () => string, correlation: string): Promise<void> {
  const start = async (n: number) => {
    for (;;) {
      const answer = await fetch(`${url()}/api/sagas/trivial/start`, {
        method: "POST",
        headers: { "correlation-id": correlation, "idempotency-key": `${correlation}-${n}` },
        body: JSON.stringify({ order: `o-${n}` }),
      }).catch(() => null);
      if (answer?.status === 202) return;
      await sleep(lookMs);
    }
  };
  await Promise.all(
    Array.from({ length: connections }, async (_, worker) => {
      for (let n = worker; n < sagas; n += connections) await start(n);
    }),
  );
}

async function completed(sql: postgres.Sql, correlation: string): Promise<number> {
  const [row] = await sql<{ n: string }[]>`
    select count(*) as n from sagas where correlation_id = ${correlation} and state = 'Completed'`;
  return Number(row?.n);
}
