// Named locks: taken, held, renewed, released, waited for; their fencing tokens rise for ever.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectProblem, send } from "../support/client.ts";
import { post, put } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  url = `${service.url}/api/locks`;
});
afterAll(() => service.stop());

type Lock = { key: string; token: string; expiresAt: string; owner?: string | null };
let keys = 0;
const newKey = () => `key-${++keys}`;
const take = (key: string, more: Record<string, unknown> = {}) => post<Lock>(url, { key, ttl: "1h", ...more });
const release = (key: string, token: string) => send(`${url}/${key}?token=${token}`, { method: "DELETE" });
const renew = (key: string, token: string, ttl: string) => put<Lock>(`${url}/${key}`, { token, ttl });
const waiting = async () =>
  /sluice_locks_waiting (\d+)/.exec(await (await fetch(`${service.url}/metrics`)).text())?.[1];

test("a lock is held by one, told to others, and free when it is released", async () => {
  const key = newKey();
  expectProblem(await send(`${url}/${key}`), 404, "lock-not-found");
  const first = await take(key, { owner: "ada" });
  expect(first.status).toBe(201);
  expect(first.body.key).toBe(key);
  expect((await send<Lock>(`${url}/${key}`)).body).toMatchObject({ ...first.body, owner: "ada" });
  const refused = await take(key, { owner: "ada" });
  const problem = expectProblem(refused, 409, "lock-held");
  expect(problem).toMatchObject({ key, owner: "ada", expiresAt: first.body.expiresAt, retryable: true });
  expect(Number(refused.headers.get("retry-after"))).toBeWithin(3_500, 3_601);
  expect((await release(key, first.body.token)).status).toBe(204);
  expectProblem(await send(`${url}/${key}`), 404, "lock-not-found");
  const second = await take(key);
  expect(BigInt(second.body.token)).toBeGreaterThan(BigInt(first.body.token));
});

test("a token that does not hold the lock neither renews nor releases it", async () => {
  const key = newKey();
  const first = (await take(key)).body.token;
  await release(key, first);
  const second = (await take(key)).body.token;
  expectProblem(await renew(key, first, "1h"), 409, "stale-token");
  expectProblem(await release(key, first), 409, "stale-token");
  expectProblem(await release(newKey(), first), 409, "stale-token");
  expect((await send<Lock>(`${url}/${key}`)).body.token).toBe(second);
});

test("releasing again is answered as the first time", async () => {
  const key = newKey();
  const { token } = (await take(key)).body;
  const body = JSON.stringify({ token });
  for (let i = 0; i < 2; i++) expect((await send(`${url}/${key}`, { method: "DELETE", body })).status).toBe(204);
});

test("a lock that ran out is free, and its former holder's token is stale", async () => {
  const key = newKey();
  const { token } = (await take(key, { ttl: "100ms" })).body;
  const next = (await take(key, { wait: "20s" })).body;
  expect(BigInt(next.token)).toBeGreaterThan(BigInt(token));
  expectProblem(await renew(key, token, "1h"), 409, "stale-token");
  expectProblem(await release(key, token), 409, "stale-token");
});

test("its holder holds it for longer", async () => {
  const key = newKey();
  const { token, expiresAt } = (await take(key, { ttl: "5s" })).body;
  const renewed = await renew(key, token, "1h");
  expect(renewed.status).toBe(200);
  expect(renewed.body.token).toBe(token);
  expect(Date.parse(renewed.body.expiresAt)).toBeGreaterThan(Date.parse(expiresAt) + 3_000_000);
  expectProblem(await take(key), 409, "lock-held");
});

test("those who wait get it one after the other, in the order of asking", async () => {
  const key = newKey();
  const { token } = (await take(key)).body;
  const order: string[] = [];
  const queue: Promise<void>[] = [];
  for (const name of ["a", "b", "c"]) {
    queue.push(
      take(key, { owner: name, wait: "30s" }).then(async ({ status, body }) => {
        expect(status).toBe(201);
        order.push(name);
        await release(key, body.token);
      }),
    );
    await until("it waits", async () => (await waiting()) === String(queue.length));
  }
  expectProblem(await take(key), 409, "lock-held");
  await release(key, token);
  await Promise.all(queue);
  expect(order).toEqual(["a", "b", "c"]);
});

test("who has waited long enough is told that it is held, and who has left gets nothing", async () => {
  const key = newKey();
  const { token } = (await take(key)).body;
  expectProblem(await take(key, { wait: "50ms" }), 409, "lock-held");
  const abort = new AbortController();
  const left = fetch(url, {
    method: "POST",
    body: JSON.stringify({ key, ttl: "1h", wait: "30s" }),
    signal: abort.signal,
  });
  await until("it waits", async () => (await waiting()) === "1");
  abort.abort();
  await expect(left).rejects.toThrow();
  await until("it has left", async () => (await waiting()) === "0");
  await release(key, token);
  expectProblem(await send(`${url}/${key}`), 404, "lock-not-found");
});

test("a request that is not as it should be says where", async () => {
  const bad: [Record<string, unknown>, string][] = [
    [{ ttl: "1s" }, "/key"],
    [{ key: "", ttl: "1s" }, "/key"],
    [{ key: "a\nb", ttl: "1s" }, "/key"],
    [{ key: "a\u0085b", ttl: "1s" }, "/key"],
    [{ key: "a\ud800b", ttl: "1s" }, "/key"],
    [{ key: "..", ttl: "1s" }, "/key"],
    [{ key: "x".repeat(513), ttl: "1s" }, "/key"],
    [{ key: "a" }, "/ttl"],
    [{ key: "a", ttl: "1ms" }, "/ttl"],
    [{ key: "a", ttl: "25h" }, "/ttl"],
    [{ key: "a", ttl: "1s", wait: "31s" }, "/wait"],
    [{ key: "a", ttl: "1s", owner: "x\u0000" }, "/owner"],
  ];
  for (const [body, path] of bad) {
    const problem = expectProblem(await post(url, body), 422, "invalid-request");
    expect((problem.errors as { path: string }[])[0]?.path).toBe(path);
  }
  expectProblem(await put(`${url}/a`, { ttl: "1s", token: "x" }), 422, "invalid-request");
  expectProblem(await send(`${url}/a`, { method: "DELETE" }), 422, "invalid-request");
  expectProblem(await send(`${url}/a?token=x`, { method: "DELETE" }), 400, "invalid-parameter");
  expectProblem(await send(`${url}/a%0Ab`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/${"x".repeat(513)}`), 400, "invalid-parameter");
});

test("whatever is an event's id can be locked, also with a prefix", async () => {
  const stream = "locked-events";
  const ids = ["a/b c?d#e%2F ü", "%", "a b", "🔒".repeat(128), "'; drop", '"\\', "ü".repeat(256), "x".repeat(256)];
  for (const id of ids) {
    const appended = await send(`${service.url}/api/streams/${stream}/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ id, type: "A" }),
    });
    expect(appended.status).toBe(201);
    for (const key of [id, `${stream} ${id}`]) {
      const path = encodeURIComponent(key);
      const taken = await take(key);
      expect([taken.status, taken.body.key]).toEqual([201, key]);
      expectProblem(await take(key), 409, "lock-held");
      expect((await send<Lock>(`${url}/${path}`)).body).toMatchObject({ ...taken.body, key });
      expect((await renew(path, taken.body.token, "2h")).status).toBe(200);
      expect((await release(path, taken.body.token)).status).toBe(204);
    }
  }
});
