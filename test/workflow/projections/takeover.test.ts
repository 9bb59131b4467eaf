// Services that are killed while they project: another one takes over, and each event is in the read model once.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, send } from "../../support/client.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

const module = new URL("../../support/modules/shop.ts", import.meta.url).pathname;
const kills = 4;

let env: Record<string, string>;
let sql: postgres.Sql;
beforeAll(async () => {
  env = { DATABASE_URL: await createTestDatabase(), MODULES: module, LEASE_DURATION: "1s", LOG_LEVEL: "info" };
  sql = openSql(env.DATABASE_URL as string);
});
const open: ServiceProcess[] = [];
afterAll(async () => {
  for (const service of open) service.kill("SIGKILL");
  await sql.end();
});
async function spawn(): Promise<ServiceProcess> {
  const service = await spawnService(env);
  open.push(service);
  return service;
}

type Rows = { rows: { country: string; orders: number; cents: number }[]; position: string };

test("two services start at once, whoever runs the projections is killed again and again, and nothing is lost or counted twice", async () => {
  let services: ServiceProcess[] = await Promise.all([spawn(), spawn()]);
  let sent = 0;
  let ending = false;
  const countries = ["DE", "FR", "ES"];
  const orders = new Map<string, number>();
  /** Writes on, at whichever service answers; the key makes it safe to repeat. */
  const writing = async (writer: number) => {
    for (let n = 0; !ending; n++) {
      const country = countries[(writer + n) % 3] as string;
      const data = { id: `${writer}-${n}`, country, cents: 1 };
      for (;;) {
        const { url } = services[n % services.length] as ServiceProcess;
        const answer = await append(
          url,
          "orders",
          { type: "OrderPlaced", data },
          { "idempotency-key": `${writer}-${n}` },
        ).catch(() => null);
        if (answer !== null && answer.status < 300) break;
      }
      sent++;
      orders.set(country, (orders.get(country) ?? 0) + 1);
    }
  };
  const writers = [0, 1, 2, 3].map(writing);
  const readRows = async () => {
    const { body } = await send<Rows>(`${(services[0] as ServiceProcess).url}/api/projections/orders-by-country`);
    return body.rows;
  };
  const counted = (rows: Rows["rows"]) => rows.reduce((sum, row) => sum + row.orders, 0);
  for (let round = 0; round < kills; round++) {
    const before = sent;
    await until("some are written", () => sent > before + 50);
    // The one that has run longest: it holds the leases, or the other one does.
    const [killed, ...others] = services as [ServiceProcess, ...ServiceProcess[]];
    const started = spawn();
    killed.kill("SIGKILL");
    await killed.exited;
    services = others;
    services = [...others, await started];
    await until("they are counted on", async () => counted(await readRows()) > before);
  }
  ending = true;
  await Promise.all(writers);
  const rows = await until("all are counted", async () => {
    const found = await readRows();
    return counted(found) >= sent ? found : null;
  });
  expect(Object.fromEntries(rows.map(({ country, orders }) => [country, orders]))).toEqual(Object.fromEntries(orders));
  const entries = async () =>
    Number((await sql<{ n: string }[]>`select count(*) as n from event_streaming_read.ledger__entries`)[0]?.n);
  await until("all are in the ledger", async () => (await entries()) >= sent);
  expect(await entries()).toBe(sent);
  const [fold] = await sql<{ n: string }[]>`
    select count(*) as n from events e join streams s on s.id = e.stream_id where s.name = 'orders'`;
  expect(Number(fold?.n)).toBe(sent);
  // Whoever held the lease and was not killed is the next one to be: every second kill at least took the lease from its holder.
  const [lease] = await sql<{ epoch: string }[]>`select epoch from leases where name = 'projection:orders-by-country'`;
  expect(Number(lease?.epoch)).toBeGreaterThan(kills / 2);
  for (const service of services) service.kill("SIGTERM");
  expect(await Promise.all(services.map(({ exited }) => exited))).toEqual(services.map(() => 0));
}, 120_000);
