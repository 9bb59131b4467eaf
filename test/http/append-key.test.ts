// Idempotency-Key: a repeated request has the answer of the first, whatever happened in between.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createPool } from "../../src/storage/pool.ts";
import { createUpkeep } from "../../src/stream/upkeep.ts";
import { type Answer, type AppendAnswer, append, expectProblem, readAll, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let other: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  other = await startService({ DATABASE_URL: service.databaseUrl });
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await other.stop();
  await service.stop();
});

const keyed = (base: string, stream: string, key: string, body: unknown, headers: Record<string, string> = {}) =>
  append(base, stream, body, { "idempotency-key": key, ...headers });

function expectSameAnswer(again: Answer<AppendAnswer>, first: Answer<AppendAnswer>): void {
  expect([again.status, again.text, again.headers.get("etag")]).toEqual([
    first.status,
    first.text,
    first.headers.get("etag"),
  ]);
}

test("a repeated request has the first answer, on this service, on another one, and after a restart", async () => {
  const body = [{ type: "A" }, { type: "B", data: 1 }];
  const first = await keyed(service.url, "keys", "k-1", body);
  expect(first.status).toBe(201);
  await append(service.url, "keys", { type: "Later" });
  expectSameAnswer(await keyed(service.url, "keys", "k-1", body), first);
  expectSameAnswer(await keyed(other.url, "keys", "k-1", body), first);
  const restarted = await startService({ DATABASE_URL: service.databaseUrl });
  expectSameAnswer(await keyed(restarted.url, "keys", "k-1", body), first);
  await restarted.stop();
  expect(await readAll(service.url, "keys")).toHaveLength(3);
});

test("a repeated request has the first answer though its expected version has gone stale", async () => {
  const first = await keyed(service.url, "stale", "k", { type: "A" }, { "if-none-match": "*" });
  await append(service.url, "stale", { type: "Later" });
  expectSameAnswer(await keyed(service.url, "stale", "k", { type: "A" }, { "if-none-match": "*" }), first);
});

test("another body, type of content or expected version under a key is refused", async () => {
  await keyed(service.url, "reused", "k", { type: "A" });
  const requests = [
    keyed(service.url, "reused", "k", { type: "B" }),
    keyed(other.url, "reused", "k", '{"type": "A"}'),
    keyed(service.url, "reused", "k", { type: "A" }, { "if-match": '"0"' }),
    keyed(service.url, "reused", "k", "", { "ce-specversion": "1.0", "ce-type": "A" }),
  ];
  for (const answer of await Promise.all(requests)) {
    // Requests under one key that run at the same time on one service are told so instead.
    if (answer.status !== 409) expectProblem(answer, 422, "idempotency-key-reused");
  }
  const alone = await keyed(service.url, "reused", "k", { type: "B" });
  expect(expectProblem(alone, 422, "idempotency-key-reused").key).toBe("k");
  expect(await readAll(service.url, "reused")).toHaveLength(1);
});

test("attributes in headers belong to the request that a key stands for", async () => {
  const binary = (subject: string) =>
    keyed(service.url, "headers", "k", "{}", { "ce-specversion": "1.0", "ce-type": "A", "ce-subject": subject });
  expect((await binary("one")).status).toBe(201);
  expect((await binary("one")).status).toBe(201);
  expectProblem(await binary("two"), 422, "idempotency-key-reused");
});

test("a key at once on two services is stored once; who is not answered is told that it runs", async () => {
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      keyed(i % 2 ? service.url : other.url, "burst", "k", [{ type: "A" }, { type: "B" }]),
    ),
  );
  const stored = answers.filter((answer) => answer.status === 201);
  expect(stored.length).toBeGreaterThan(0);
  expect(new Set(stored.map((answer) => answer.text)).size).toBe(1);
  for (const answer of answers.filter((a) => a.status !== 201)) expectProblem(answer, 409, "idempotency-key-in-use");
  expect(await readAll(service.url, "burst")).toHaveLength(2);
});

test("a key belongs to its stream: the same one on other streams, at once on two services, stands for other requests", async () => {
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        keyed(i % 2 ? service.url : other.url, `scope-${i}`, `k-${round}`, { type: "A" }),
      ),
    );
    expect(answers.map((answer) => answer.status)).toEqual(Array<number>(8).fill(201));
  }
  expect(await readAll(service.url, "scope-3")).toHaveLength(5);
  const [a, b] = [await readAll(service.url, "scope-0"), await readAll(service.url, "scope-1")];
  expect(a[0]?.id).not.toBe(b[0]?.id as string);
});

test("with ids of the client's the key gives the same answer, duplicates within included", async () => {
  await append(service.url, "ids", { id: "i-1", type: "A" });
  const body = [{ id: "i-2", type: "B" }, { type: "C" }, { id: "i-1", type: "A" }];
  const first = await keyed(service.url, "ids", "k", body);
  expect(first.status).toBe(201);
  expect(first.body.events.map((event) => event.duplicate)).toEqual([false, false, true]);
  expectSameAnswer(await keyed(other.url, "ids", "k", body), first);
  const repeated = await append(service.url, "ids", body[0]);
  expect(repeated.status).toBe(200);
});

test("a request of nothing but duplicates under a new key is remembered as such", async () => {
  await append(service.url, "dups", { id: "d-1", type: "A" });
  const first = await keyed(service.url, "dups", "k", { id: "d-1", type: "A" });
  expect(first.status).toBe(200);
  expectSameAnswer(await keyed(service.url, "dups", "k", { id: "d-1", type: "A" }), first);
  expectProblem(await keyed(service.url, "dups", "k", { id: "d-1", type: "B" }), 422, "idempotency-key-reused");
});

test("a key whose request was refused can be used again", async () => {
  expectProblem(
    await keyed(service.url, "failed", "k", { type: "A" }, { "if-match": '"0"' }),
    412,
    "wrong-expected-version",
  );
  await append(service.url, "failed", { type: "First" });
  expect((await keyed(service.url, "failed", "k", { type: "A" }, { "if-match": '"0"' })).status).toBe(201);
});

test("a key is 1 to 255 visible ASCII characters", async () => {
  for (const key of ["", "has space", "a".repeat(256), "ümlaut"]) {
    const answer = await keyed(service.url, "grammar", key, { type: "A" });
    expect(expectProblem(answer, 400, "invalid-parameter").parameter).toBe("Idempotency-Key");
  }
  expect((await keyed(service.url, "grammar", "~!".padEnd(255, "x"), { type: "A" })).status).toBe(201);
});

test("expired keys are forgotten, yet ids derived from them are still known", async () => {
  const body = [{ type: "A" }, { type: "B" }];
  const first = await keyed(service.url, "expired", "k", body);
  await sql`update idempotency_keys set recorded_at = recorded_at - interval '2 hours' where key like '%expired%'`;
  const upkeep = createUpkeep({
    pool: createPool({ connect: () => sql, size: 1, timeLimitMs: 10_000 }),
    head: () => 100,
    partitionSize: 4_000_000,
    idempotencyKeysMs: 3_600_000,
    log: createLog("silent", "test"),
  });
  await upkeep.start();
  await until("the key is forgotten", async () => {
    const rows = await sql`select from idempotency_keys where key like '%expired%'`;
    return rows.length === 0;
  });
  await upkeep.stop();
  expect((await sql`select from idempotency_keys where key like '%failed%'`).length).toBe(1);
  const late = await keyed(service.url, "expired", "k", body);
  expect(late.status).toBe(200);
  expect(late.body.events).toEqual(first.body.events.map((event) => ({ ...event, duplicate: true })));
  expect(await readAll(service.url, "expired")).toHaveLength(2);
  // Its key means nothing any more: under it another request is another one, and no conflict of ids.
  await sql`delete from idempotency_keys where key like '%expired%'`;
  const changed = await keyed(service.url, "expired", "k", [{ type: "A" }, { type: "C" }]);
  expect([changed.status, changed.body.events.map((event) => event.duplicate)]).toEqual([201, [false, false]]);
});

test("a deleted stream forgets the answers to its keys: the same request is stored anew", async () => {
  const key = { "idempotency-key": "refill" };
  expect((await append(service.url, "refilled", { type: "A" }, key)).status).toBe(201);
  await send(`${service.url}/api/streams/refilled`, { method: "DELETE" });
  const again = await append(service.url, "refilled", { type: "A" }, key);
  expect([again.status, again.body.firstOffset, again.body.events[0]?.duplicate]).toEqual([201, "1", false]);
  expect((await readAll(service.url, "refilled")).map((event) => event.offset)).toEqual(["1"]);
  expect((await append(service.url, "refilled", { type: "A" }, key)).body).toEqual(again.body);
});

test("If-Match: * asks for the stream's present life", async () => {
  await append(service.url, "lives", { type: "A" });
  await send(`${service.url}/api/streams/lives`, { method: "DELETE" });
  expect((await append(service.url, "lives", { type: "B" }, { "if-match": "*" })).status).toBe(412);
});
