// The outbox over HTTP: how it stands, what failed, trying again and discarding; and its metrics.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { expectProblem, readAll, send } from "../support/client.ts";
import { insertRow, outboxState } from "../support/outbox.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  sql = openSql(service.databaseUrl, 3);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

type Outbox = { waiting: { count: string; atLeast: boolean; since: string | null }; failed: { count: string } };
type Page = { failures: { id: string; stream: string; failure: string }[]; next: string | null };
const get = async () => (await send<Outbox>(`${service.url}/api/outbox`)).body;
const failures = (query = "") => send<Page>(`${service.url}/api/outbox/failures${query}`);
const change = (method: string, path: string, body: unknown) =>
  send<{ retried: number; discarded: number }>(`${service.url}/api/outbox/failures${path}`, {
    method,
    body: JSON.stringify(body),
  });
const figure = async (name: string) => {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  const found = new RegExp(`^sluice_outbox_${name} (\\S+)`, "m").exec(text)?.[1];
  return found === undefined ? null : Number(found);
};

async function fail(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++)
    ids.push(String(await insertRow(sql, { stream: `bad-${n % 2}`, attributes: { Bad: n } })));
  await until("nothing waits", async () => (await outboxState(sql)).waiting === 0);
  return ids;
}

test("what failed is listed by pages, tried again when it is mended, and discarded", async () => {
  expect(await get()).toEqual({
    waiting: { count: "0", atLeast: false, since: null },
    failed: { count: "0", atLeast: false },
  } as Outbox);
  const ids = await fail(5);
  expect((await get()).failed.count).toBe("5");
  const first = (await failures("?limit=3")).body;
  expect(first.failures.map(({ id }) => id)).toEqual(ids.slice(0, 3));
  expect(first.failures[0]).toMatchObject({
    stream: "bad-0",
    type: "A",
    eventId: null,
    failure: expect.stringContaining("/Bad"),
  });
  const rest = (await send<Page>(service.url + first.next)).body;
  expect([rest.failures.map(({ id }) => id), rest.next]).toEqual([ids.slice(3), null]);
  await sql`update outbox set attributes = '{"good": true}' where id = any(${`{${ids.slice(0, 2).join(",")}}`}::bigint[])`;
  expect((await change("POST", "/retry", { ids: [...ids.slice(0, 3), "999999"] })).body).toEqual({
    retried: 3,
  } as never);
  await until("two are events", async () => {
    const all = [...(await readAll(service.url, "bad-0")), ...(await readAll(service.url, "bad-1"))];
    return all.length === 2 && all.every((event) => event.good === true);
  });
  await until("the third has failed again", async () => (await get()).failed.count === "3");
  expect((await change("DELETE", "", { ids: ids.slice(2, 3) })).body).toEqual({ discarded: 1 } as never);
  expect((await change("DELETE", "", { all: true })).body).toEqual({ discarded: 2 } as never);
  expect((await failures()).body).toEqual({ failures: [], next: null });
});

test("a request that is none is refused", async () => {
  expectProblem(await change("POST", "/retry", {}), 422, "invalid-request");
  expectProblem(await change("POST", "/retry", { ids: ["1"], all: true }), 422, "invalid-request");
  expectProblem(await change("DELETE", "", { ids: ["x"] }), 422, "invalid-request");
  expectProblem(await failures("?limit=0"), 400, "invalid-parameter");
});

test("the metrics say what was relayed, what failed, and for how long something has waited", async () => {
  const before = { relayed: await figure("relayed_total"), aside: await figure("set_aside_total") };
  await insertRow(sql, { stream: "measured" });
  await fail(2);
  await until("they are counted", async () => (await figure("failed")) === 2);
  expect(await figure("relayed_total")).toBe((before.relayed ?? 0) + 1);
  expect(await figure("set_aside_total")).toBe((before.aside ?? 0) + 2);
  expect(await figure("relays")).toBe(1);
  await sql.begin(async (tx) => {
    // Behind which its append waits.
    await tx`select 1 from streams where name = 'measured' for update`;
    await insertRow(sql, { stream: "measured" });
    await until("it is seen to wait", async () => (await figure("waiting")) === 1);
    await until("and for how long", async () => ((await figure("waiting_seconds")) ?? 0) > 0.1);
  });
  await until("it waits no more", async () => (await figure("waiting")) === 0);
  await change("DELETE", "", { all: true });
});

test("a database that is slow costs a scrape these gauges, and nothing else", async () => {
  await sql.begin(async (tx) => {
    await tx`lock table outbox in access exclusive mode`;
    await until("they are missing", async () => (await figure("waiting")) === null);
    expect(await figure("relayed_total")).not.toBeNull();
  });
  await until("they are back", async () => (await figure("waiting")) !== null);
});

test("what is inserted and announced is relayed at once, by whichever process relays", async () => {
  const env = { OUTBOX_INTERVAL: "60s", DATABASE_URL: await createTestDatabase() };
  const one = await startService(env);
  const other = await startService(env);
  const own = openSql(one.databaseUrl, 1);
  await until("one relays", async () => (await own`select 1 from leases where name = 'outbox'`)[0]);
  for (let n = 1; n <= 3; n++) {
    await insertRow(own, { stream: "told", data: n });
    await own`select pg_notify('sluice_event_streaming', 'outbox')`;
    await until("it is there", async () => (await readAll(other.url, "told")).length === n);
  }
  await own.end();
  await one.stop();
  await other.stop();
});
