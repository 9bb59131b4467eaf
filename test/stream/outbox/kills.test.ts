// Two processes that are killed at random times while transactions insert: every committed row is one event, in its writer's order.
import { afterAll, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../../crash/random.ts";
import { readAll } from "../../support/client.ts";
import { insertRow, outboxState } from "../../support/outbox.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../../support/service.ts";
import { logDefects, openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

const firstSeed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
const runs = Number(process.env.RUNS ?? 1);
const kills = 8;
const writers = 4;
const streams = 3;

const running = new Set<ServiceProcess>();
afterAll(async () => {
  for (const process of running) {
    process.kill("SIGKILL");
    await process.exited;
  }
});

async function run(seed: number): Promise<void> {
  const random = createRandom(seed);
  const databaseUrl = await createTestDatabase();
  const sql = openSql(databaseUrl, writers + 1);
  const start = async () => {
    const process = await spawnService({ DATABASE_URL: databaseUrl, LEASE_DURATION: "300ms", LOG_LEVEL: "info" });
    running.add(process);
    return process;
  };
  const processes = [await start(), await start()];
  let over = false;

  /** What the writer has committed, in order. */
  async function write(w: number): Promise<{ stream: string; data: string }[]> {
    const mine = random.fork(`writer ${w}`);
    const committed: { stream: string; data: string }[] = [];
    for (let n = 0; !over; n++) {
      const rows = Array.from({ length: mine.between(1, 5) }, (_, i) => ({
        stream: `s-${mine.between(1, streams)}`,
        data: `${w}-${n}-${i}`,
      }));
      const rollsBack = mine.chance(0.1);
      await sql
        .begin(async (tx) => {
          for (const row of rows) {
            await insertRow(tx, row);
            if (mine.chance(0.1)) await sleep(mine.between(1, 20));
          }
          if (rollsBack) throw new Error("rolled back");
        })
        .then(
          () => committed.push(...rows),
          () => {},
        );
      await sleep(mine.between(0, 5));
    }
    return committed;
  }

  const writing = Array.from({ length: writers }, (_, w) => write(w));
  for (let n = 0; n < kills; n++) {
    await sleep(random.between(50, 900));
    const at = random.between(0, 1);
    const doomed = processes[at] as ServiceProcess;
    doomed.kill("SIGKILL");
    await doomed.exited;
    running.delete(doomed);
    processes[at] = await start();
  }
  over = true;
  const committed = await Promise.all(writing);
  await until("nothing waits", async () => (await outboxState(sql)).waiting === 0);
  let found = 0;
  for (let s = 1; s <= streams; s++) {
    const stream = `s-${s}`;
    const data = (await readAll((processes[0] as ServiceProcess).url, stream)).map((event) => event.data);
    found += data.length;
    for (const [w, mine] of committed.entries()) {
      const expected = mine.filter((row) => row.stream === stream).map((row) => row.data);
      expect({ seed, rows: data.filter((text) => String(text).startsWith(`${w}-`)) }).toEqual({ seed, rows: expected });
    }
  }
  expect({ seed, found }).toEqual({ seed, found: committed.flat().length });
  expect(found).toBeGreaterThan(kills);
  expect(await outboxState(sql)).toEqual({ waiting: 0, failures: [] });
  expect(await logDefects(sql)).toEqual([]);
  for (const process of processes) {
    process.kill("SIGTERM");
    await process.exited;
    running.delete(process);
  }
  await sql.end();
}

test("whoever is killed and whenever, each committed row becomes one event", async () => {
  for (let n = 0; n < runs; n++) await run(firstSeed + n);
}, 600_000);
