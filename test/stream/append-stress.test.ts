// Two processes under load for a moment: everything acknowledged is there, once, in one order.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { type AppendAnswer, append } from "../support/client.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../support/service.ts";
import { logDefects, openSql } from "../support/sql.ts";

const loadMs = 2_000;
const writersPerProcess = 12;

let processes: ServiceProcess[];
let sql: postgres.Sql;
beforeAll(async () => {
  const databaseUrl = await createTestDatabase();
  const env = { DATABASE_URL: databaseUrl, LOG_LEVEL: "info", PARTITION_SIZE: "1000" };
  processes = await Promise.all([spawnService(env), spawnService(env)]);
  sql = openSql(databaseUrl);
});
afterAll(async () => {
  await sql.end();
  for (const service of processes) service.kill("SIGTERM");
  expect(await Promise.all(processes.map((service) => service.exited))).toEqual([0, 0]);
});

test("load from two processes leaves a log without gap, duplicate or loss", async () => {
  const until = Date.now() + loadMs;
  const acknowledged: AppendAnswer[] = [];
  const statuses = new Map<number, number>();
  let refusedIds = 0;

  async function write(writer: number): Promise<void> {
    const base = processes[writer % 2]?.url as string;
    for (let i = 0; Date.now() < until; i++) {
      const stream = i % 5 === 0 ? `own-${writer}-${i}` : `shared-${(writer + i) % 6}`;
      const kind = i % 4;
      const events = Array.from({ length: 1 + (i % 3) }, (_, n) => ({
        type: "Loaded",
        // Some ids are used by two writers of different processes, with the same content.
        ...(kind === 1 ? { id: `${writer >> 1}-${i}-${n}` } : {}),
        data: { i, n },
      }));
      const headers: Record<string, string> = kind === 2 ? { "idempotency-key": `${writer >> 1}-${i}` } : {};
      if (kind === 3) headers["if-match"] = `"${i}"`;
      const { status, body } = await append(
        base,
        kind === 1 || kind === 2 ? `pair-${writer >> 1}` : stream,
        events,
        headers,
      );
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status === 201 || status === 200) acknowledged.push(body);
      else refusedIds++;
    }
  }
  await Promise.all(Array.from({ length: 2 * writersPerProcess }, (_, writer) => write(writer)));

  expect([...statuses.keys()].filter((status) => ![200, 201, 409, 412].includes(status))).toEqual([]);
  expect(statuses.get(201) ?? 0).toBeGreaterThan(100);
  expect(refusedIds).toBeGreaterThan(0);
  expect(await logDefects(sql)).toEqual([]);

  const rows = await sql<{ name: string; offset: string; id: string }[]>`
    select s.name, e."offset", e.id from events e join streams s on s.id = e.stream_id`;
  const log = new Map(rows.map((row) => [`${row.name}/${row.offset}`, row.id]));
  const told = new Map<string, string>();
  for (const answer of acknowledged) {
    for (const event of answer.events) told.set(`${answer.stream}/${event.offset}`, event.id);
  }
  // Nothing acknowledged is missing or elsewhere, and nothing else is there: every request had an answer.
  expect(told).toEqual(log);
  const named = rows.map((row) => `${row.name}/${row.id}`);
  expect(new Set(named).size).toBe(named.length);
}, 120_000);
