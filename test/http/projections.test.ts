// /api/projections: read models by pages, by key and by what their modules make of them; how they stand; what people decide.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ProjectionStatus } from "../../src/workflow/projections/status.ts";
import { append, expectProblem, send } from "../support/client.ts";
import { post } from "../support/consume.ts";
import { switches } from "../support/modules/shop.ts";
import { documented } from "../support/openapi.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

const module = new URL("../support/modules/shop.ts", import.meta.url).pathname;

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService({ MODULES: module });
  url = `${service.url}/api/projections`;
});
afterAll(() => service.stop());

type Rows = { projection: string; position: string; rows: Record<string, unknown>[]; next: string | null };
let orders = 0;
const place = (country: string, cents: number) =>
  append(service.url, "orders", { type: "OrderPlaced", data: { id: `o-${++orders}`, country, cents } });
const status = async (name: string) => (await send<ProjectionStatus>(`${url}/${name}/status`)).body;
const reached = (name: string, position: string) =>
  until(`${name} has come to ${position}`, async () => Number((await status(name)).position) >= Number(position));
const rowsOf = async (name: string, query = "") => (await send<Rows>(`${url}/${name}${query}`)).body;

test("a read model is read by pages in the order of its keys, each as of a position, or by one key", async () => {
  for (const [country, cents] of [
    ["FR", 5],
    ["DE", 10],
    ["ES", 1],
    ["DE", 7],
  ] as const)
    await place(country, cents);
  const { body } = await place("IT", 3);
  await reached("orders-by-country", body.lastPosition);
  const first = await send<Rows>(`${url}/orders-by-country?limit=2`);
  expect(first.body).toEqual({
    projection: "orders-by-country",
    position: body.lastPosition,
    rows: [
      { country: "DE", orders: 2, cents: 17 },
      { country: "ES", orders: 1, cents: 1 },
    ],
    next: "/api/projections/orders-by-country?limit=2&after=ES",
  });
  expect(first.headers.get("projection-position")).toBe(body.lastPosition);
  const second = (await send<Rows>(`${service.url}${first.body.next}`)).body;
  expect([second.rows.map(({ country }) => country), second.next]).toEqual([["FR", "IT"], null]);
  expect((await send<unknown>(`${url}/orders-by-country?key=DE`)).body).toEqual({
    projection: "orders-by-country",
    position: body.lastPosition,
    row: { country: "DE", orders: 2, cents: 17 },
  });
  expectProblem(await send(`${url}/orders-by-country?key=XX`), 404, "projection-row-not-found");
  expectProblem(await send(`${url}/orders-by-country?limit=0`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/orders-by-country?country=DE`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/orders-by-country?key=%00`), 400, "invalid-parameter");
});

test("keys of several parts are JSON arrays", async () => {
  await reached("orders-by-number", (await place("DE", 2)).body.lastPosition);
  const { rows, next } = await rowsOf("orders-by-number", "?limit=1");
  expect(rows).toEqual([{ country: "DE", n: 2 }]);
  expect(new URL(next as string, url).searchParams.get("after")).toBe('["DE",2]');
  const following = (await send<Rows>(`${service.url}${next}`)).body.rows.map(({ country, n }) => `${country} ${n}`);
  expect(following).toEqual(["DE 7", "DE 10", "ES 1", "FR 5", "IT 3"].slice(0, 1));
  const all = (await rowsOf("orders-by-number", `?after=${encodeURIComponent('["DE",2]')}`)).rows;
  expect(all.map(({ country, n }) => `${country} ${n}`)).toEqual(["DE 7", "DE 10", "ES 1", "FR 5", "IT 3"]);
  for (const key of ["DE", '["DE"]', '["DE","2"]', '["DE",2.5]', "{}", "[null,1]"])
    expectProblem(await send(`${url}/orders-by-number?key=${encodeURIComponent(key)}`), 400, "invalid-parameter");
});

test("a module says itself how its read model is read: its query is checked, and it can only read", async () => {
  const { lastPosition } = (await place("FR", 1)).body;
  await reached("order-totals", lastPosition);
  const totals = await send<{ total: number; countries: number }>(`${url}/order-totals`);
  expect(totals.headers.get("projection-position")).toBe(lastPosition);
  expect(totals.body).toEqual({ total: orders, countries: 4 });
  expect((await send<unknown>(`${url}/order-totals?least=3`)).body).toEqual({ total: 3, countries: 4 });
  expect((await send<unknown>(`${url}/order-totals?country=FR`)).body).toEqual({ country: "FR", orders: 2 });
  expectProblem(await send(`${url}/order-totals?country=XX`), 404, "projection-row-not-found");
  const refused = expectProblem(await send(`${url}/order-totals?country=x`), 400, "invalid-parameter");
  expect(refused.parameter).toBe("country");
  expectProblem(await send(`${url}/order-totals?least=many`), 400, "invalid-parameter");
  for (const least of ["1e30", "99999999999999999999", "9007199254740993"])
    expect(expectProblem(await send(`${url}/order-totals?least=${least}`), 400, "invalid-parameter").parameter).toBe(
      "least",
    );
  for (const how of ["%00", "a%00b"])
    expect(expectProblem(await send(`${url}/order-totals?how=${how}`), 400, "invalid-parameter").parameter).toBe("how");
  expectProblem(await send(`${url}/order-totals?other=1`), 400, "invalid-parameter");
  expect(expectProblem(await send(`${url}/order-totals?how=rejects`), 400, "invalid-parameter").detail).toBe(
    "there is no such thing",
  );
  expectProblem(await send(`${url}/order-totals?how=throws`), 500, "internal-error");
  expectProblem(await send(`${url}/order-totals?how=writes`), 500, "internal-error");
  expectProblem(await send(`${url}/order-totals?how=hangs`), 500, "internal-error");
  expect((await send<unknown>(`${url}/order-totals?least=3`)).status).toBe(200);
});

test("a read model that a module answers is an operation of the document, with its parameters", async () => {
  type Read = { get: { operationId: string; parameters: { name: string; required?: boolean; schema: object }[] } };
  const { paths } = (await send<{ paths: Record<string, Read> }>(`${service.url}/openapi.json`)).body;
  expect(paths["/api/projections/order-totals"]?.get.operationId).toBe("readOrderTotalsProjection");
  expect(paths["/api/projections/order-totals"]?.get.parameters).toMatchObject([
    { name: "country", in: "query", schema: { type: "string", pattern: "^[A-Z]{2}$" } },
    { name: "least", in: "query", schema: { type: "integer", minimum: 0, default: 0 } },
    { name: "how", in: "query", schema: { type: "string" } },
  ]);
  expect(paths["/api/projections/order-totals"]?.get.parameters.map(({ required }) => required)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(paths["/api/projections/ledger"]).toBeUndefined();
});

test("a projection in SQL answers by which views it is read", async () => {
  await reached("ledger", (await place("FR", 1)).body.lastPosition);
  const { body } = await send<{ views: string[] }>(`${url}/ledger`);
  expect(body.views).toEqual(["event_streaming_read.ledger__entries"]);
  expectProblem(await send(`${url}/ledger?key=1`), 400, "invalid-parameter");
});

test("projections are listed with how they stand", async () => {
  const { lastPosition } = (await place("FR", 1)).body;
  for (const name of ["orders-by-country", "orders-by-number", "order-totals", "ledger"])
    await reached(name, lastPosition);
  const all = (await send<{ projections: ProjectionStatus[]; next: string | null }>(url)).body;
  expect(all.projections.map(({ name }) => name)).toEqual([
    "ledger",
    "order-totals",
    "orders-by-country",
    "orders-by-number",
  ]);
  expect(all.projections[2]).toEqual({
    name: "orders-by-country",
    description: "Orders and their sums, by country",
    form: "fold",
    streams: ["orders"],
    types: ["OrderPlaced"],
    state: "running",
    paused: false,
    version: 1,
    generation: 1,
    position: lastPosition,
    head: lastPosition,
    lag: "0",
    lagSeconds: 0,
    eventsProcessed: String(orders),
    failures: "0",
    failedPosition: null,
    attempts: 0,
    lastError: null,
    lastErrorAt: null,
    skipped: [],
    rebuild: null,
    snapshots: [],
    snapshotRequested: false,
    snapshotError: null,
  });
  const page = (await send<{ projections: ProjectionStatus[]; next: string }>(`${url}?limit=2`)).body;
  expect(page.next).toBe("/api/projections?limit=2&after=order-totals");
  const next = (await send<{ projections: ProjectionStatus[]; next: null }>(`${service.url}${page.next}`)).body;
  expect([next.projections.map(({ name }) => name), next.next]).toEqual([
    ["orders-by-country", "orders-by-number"],
    null,
  ]);
  for (const name of ["nobody", "A", "%00", "x".repeat(100)])
    for (const path of ["", "/status"]) expectProblem(await send(`${url}/${name}${path}`), 404, "projection-not-found");
});

test("a projection stops at an event with its reason shown; it is skipped by its position alone", async () => {
  switches.failing = true;
  const bad = (await place("DE", -5)).body.lastPosition;
  const behind = (await place("DE", 5)).body.lastPosition;
  const failed = await until("it has stopped", async () => {
    const found = await status("orders-by-country");
    return found.state === "failed" ? found : null;
  });
  expect(failed).toMatchObject({
    position: String(Number(bad) - 1),
    failedPosition: bad,
    attempts: 2,
    lastError: "nobody pays less than nothing",
  });
  expect(Number(failed.lag)).toBeGreaterThanOrEqual(2);
  expect(failed.lagSeconds).toBeGreaterThan(0);
  expect(Date.parse(failed.lastErrorAt as string)).toBeGreaterThan(Date.now() - 60_000);
  const scraped = await (await fetch(`${service.url}/metrics`)).text();
  expect(scraped).toContain('sluice_projection_failed{projection="orders-by-country"} 1');
  expect(scraped).toContain('sluice_projection_failures_total{projection="orders-by-country"} 2');
  expect(scraped).toContain('sluice_projection_paused{projection="orders-by-country"} 0');
  expect(scraped).toMatch(/sluice_projection_lag_events\{projection="orders-by-country"\} [1-9]/);
  const skip = (position: unknown) => post<ProjectionStatus>(`${url}/orders-by-country/skip`, { position });
  expectProblem(await skip(behind), 409, "projection-not-failed");
  expectProblem(await skip(Number(bad)), 422, "invalid-request");
  expectProblem(await skip("-1"), 422, "invalid-request");
  const skipped = await skip(bad);
  expect([skipped.status, skipped.body.skipped, skipped.body.failedPosition]).toEqual([200, [bad], null]);
  expectProblem(await skip(bad), 409, "projection-not-failed");
  await reached("orders-by-country", behind);
  expect((await rowsOf("orders-by-country")).rows[0]).toMatchObject({ country: "DE", cents: 17 + 2 + 5 });
  switches.failing = false;
});

test("a projection is paused and resumed, and rebuilt beside what answers", async () => {
  const paused = await post<ProjectionStatus>(`${url}/orders-by-country/pause`);
  expect([paused.status, paused.body.state, paused.body.paused]).toEqual([200, "paused", true]);
  const { lastPosition } = (await place("PT", 1)).body;
  await reached("ledger", lastPosition);
  expect((await status("orders-by-country")).position).toBe(paused.body.position);
  const resumed = await post<ProjectionStatus>(`${url}/orders-by-country/resume`);
  expect([resumed.status, resumed.body.state]).toEqual([200, "running"]);
  await reached("orders-by-country", lastPosition);

  const before = await rowsOf("orders-by-country");
  const { generation } = await status("orders-by-country");
  const isSwapped = async (than: number | null) => ((await status("orders-by-country")).generation ?? 0) > (than ?? 0);
  const asked = await post<ProjectionStatus>(`${url}/orders-by-country/rebuild`);
  expect([asked.status, asked.body.rebuild?.state]).toEqual([202, expect.stringMatching(/^(requested|running)$/)]);
  await until("it is swapped", () => isSwapped(generation));
  const after = await rowsOf("orders-by-country");
  // What was skipped is tried again: it does not fail any more.
  expect(after.rows.map(({ country, cents }) => [country, Number(cents)])).toEqual(
    before.rows.map(({ country, cents }) => [country, Number(cents) - (country === "DE" ? 5 : 0)]),
  );
  expectProblem(await post(`${url}/orders-by-country/rebuild`, { from: "snapshot" }), 409, "no-projection-snapshot");
  expectProblem(await post(`${url}/orders-by-country/rebuild`, { from: "17" }), 422, "invalid-request");
  const snapshot = await post<ProjectionStatus>(`${url}/orders-by-country/snapshots`);
  expect([snapshot.status, snapshot.body.snapshotRequested]).toEqual([202, true]);
  const [taken] = await until("it is taken", async () => {
    const { snapshots } = await status("orders-by-country");
    return snapshots.length > 0 ? snapshots : null;
  });
  expect(taken?.position).toBe(after.position);
  expect((await post(`${url}/orders-by-country/rebuild`, { from: "snapshot" })).status).toBe(202);
  await until("it is swapped", () => isSwapped(taken?.generation ?? null));
  expect((await rowsOf("orders-by-country")).rows).toEqual(after.rows);
  for (const decision of ["pause", "resume", "rebuild", "snapshots"])
    expectProblem(await post(`${url}/nobody/${decision}`), 404, "projection-not-found");
});

test("each operation of projections is documented", () => {
  const paths = documented.filter(({ path }) => path.startsWith("/api/projections")).map(({ path }) => path);
  expect(paths).toHaveLength(9);
});

test("what is decided at a process that does not run the projection is done by the one that does", async () => {
  const beside = await startService({ DATABASE_URL: service.databaseUrl });
  const there = `${beside.url}/api/projections`;
  // It has no modules: what it answers it knows from the tables.
  expect((await send<Rows>(`${there}/orders-by-country`)).body.rows).toEqual((await rowsOf("orders-by-country")).rows);
  expect((await send<Rows>(`${there}/order-totals`)).body.rows.length).toBe(5);
  switches.failing = true;
  const bad = (await place("DE", -1)).body.lastPosition;
  await until("it has stopped", async () => (await status("orders-by-country")).state === "failed");
  const startedMs = performance.now();
  expect((await post(`${there}/orders-by-country/skip`, { position: bad })).status).toBe(200);
  await reached("orders-by-country", (await place("DE", 1)).body.lastPosition);
  // By a wake-up: it looks every 5 s by itself.
  expect(performance.now() - startedMs).toBeLessThan(4_000);
  switches.failing = false;
  expectProblem(await send(`${there}/ledger`, { method: "DELETE" }), 409, "projection-attended");
  await beside.stop();
});

test("a projection that nobody runs any more can be read, and removed with all that it has", async () => {
  const own = await startService({ MODULES: module });
  const { lastPosition } = (
    await append(own.url, "orders", { type: "OrderPlaced", data: { id: "1", country: "DE", cents: 1 } })
  ).body;
  const at = (base: string, name: string) => `${base}/api/projections/${name}`;
  await until("it is counted", async () => {
    const { body } = await send<ProjectionStatus>(`${at(own.url, "orders-by-country")}/status`);
    return body.position === lastPosition;
  });
  await own.stop();
  const without = await startService({ DATABASE_URL: own.databaseUrl });
  expect((await send<ProjectionStatus>(`${at(without.url, "orders-by-country")}/status`)).body.state).toBe(
    "unattended",
  );
  expect((await send<Rows>(at(without.url, "orders-by-country"))).body.rows).toHaveLength(1);
  expect((await send(at(without.url, "orders-by-country"), { method: "DELETE" })).status).toBe(204);
  expectProblem(await send(at(without.url, "orders-by-country")), 404, "projection-not-found");
  const sql = openSql(own.databaseUrl);
  const left = await sql`
    select nspname from pg_namespace where nspname like 'event_streaming_p_orders_by_country%'
    union all select relname from pg_class where relname = 'orders_by_country'`;
  expect([...left]).toEqual([]);
  await sql.end();
  await without.stop();
  // It is made anew by whoever has the module.
  const again = await startService({ MODULES: module, DATABASE_URL: own.databaseUrl });
  await until("it is there again", async () => {
    const { body } = await send<Rows>(at(again.url, "orders-by-country"));
    return body.rows?.length === 1;
  });
  await again.stop();
});
