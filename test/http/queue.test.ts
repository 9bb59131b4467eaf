// The built-in queue of an ephemeral stream: enqueue, claim, acknowledge, give back.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import {
  ack,
  claim,
  type Delivery,
  nack,
  offsets,
  post,
  put,
  queue,
  subscription,
  tokens,
} from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

let queues = 0;
async function newQueue(count: number, configuration: Record<string, unknown> = {}) {
  const name = `queue-${++queues}`;
  await put(`${service.url}/api/streams/${name}`, { type: "ephemeral", ...configuration });
  if (count > 0)
    await append(
      service.url,
      name,
      Array.from({ length: count }, (_, n) => ({ type: "Job", data: { n } })),
    );
  return { name, source: queue(service.url, name) };
}

test("what is enqueued is handed out once, in order, and is gone when it is acknowledged", async () => {
  const { source } = await newQueue(5);
  const first = await claim(source, { consumer: "a", max: 3 });
  expect(offsets(first)).toEqual([0, 1, 2]);
  expect(first.map((d) => d.attempt)).toEqual([1, 1, 1]);
  const second = await claim(source, { consumer: "b", max: 10 });
  expect(offsets(second)).toEqual([3, 4]);
  expect(await claim(source, { consumer: "c", max: 10 })).toEqual([]);
  expect(await ack(source, [...tokens(second), ...tokens(first)])).toEqual(Array(5).fill("settled"));
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
});

test("a token settles once, also when it is given twice in one list", async () => {
  const { source } = await newQueue(2);
  const [one, two] = tokens(await claim(source, { max: 2 })) as [string, string];
  expect(await ack(source, [one, one])).toEqual(["settled", "already-settled"]);
  expect(await ack(source, [one, two])).toEqual(["already-settled", "settled"]);
  expect(await ack(source, [one, two])).toEqual(["already-settled", "already-settled"]);
});

test("an unknown token, one of another queue and one that was tampered with are stale", async () => {
  const { source } = await newQueue(1);
  const { source: other } = await newQueue(1);
  const [mine] = tokens(await claim(source, { max: 1 })) as [string];
  const [foreign] = tokens(await claim(other, { max: 1 })) as [string];
  const forged = mine.replace(/\.([\w-]{20})\./, ".AAAAAAAAAAAAAAAAAAAA.");
  expect(await ack(source, ["nonsense", foreign, forged])).toEqual(["stale", "stale", "stale"]);
  expect(await ack(source, [mine])).toEqual(["settled"]);
  expect(await ack(other, [foreign])).toEqual(["settled"]);
});

test("what was extended in time is not handed out to another, though the deadline passed before that was committed", async () => {
  const { source } = await newQueue(1);
  const [token] = tokens(await claim(source, { consumer: "a", visibilityTimeout: "200ms" })) as [string];
  const sql = openSql(service.databaseUrl, 3);
  let other: Promise<Delivery[]> = Promise.resolve([]);
  await sql.begin(async (slow) => {
    const [lease] = await slow`
      select e.results from deliveries d cross join lateral delivery_extend(array[d.cursor_id], array[d.step], array[d.part], '{null}',
        '{1}', '{1}', d.positions, 60000) e where d.due > clock_timestamp() order by d.step desc limit 1`;
    expect(lease?.results).toEqual("{0}");
    other = claim(source, { consumer: "b", wait: "1s" });
    await until("the other one has to wait for it", async () => {
      const [waiting] =
        await sql`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`;
      return waiting !== undefined;
    });
  });
  expect(await other).toEqual([]);
  expect(await ack(source, [token])).toEqual(["settled"]);
  await sql.end();
});

test("acknowledgements that travel together settle, whether or not they say who they are", async () => {
  const { source } = await newQueue(200);
  const claimed = tokens(await claim(source, { consumer: "a", max: 200 }));
  // The first two are under way at once; the others wait for them, and go in one statement.
  const results = await Promise.all(
    claimed.map((token, n) => ack(source, [token], n % 2 === 0 ? { consumer: "a" } : {})),
  );
  expect(results.flat()).toEqual(Array(200).fill("settled"));
});

test("another consumer's token is stale for who says who it is", async () => {
  const { source } = await newQueue(1);
  const [token] = tokens(await claim(source, { consumer: "a", max: 1 })) as [string];
  expect(await ack(source, [token], { consumer: "b" })).toEqual(["stale"]);
  expect(await ack(source, [token], { consumer: "a" })).toEqual(["settled"]);
});

test("what is not settled in time is handed out anew, and the old token is stale", async () => {
  const { source } = await newQueue(1);
  const [first] = await claim(source, { consumer: "a", visibilityTimeout: "100ms" });
  const [second] = await claim(source, { consumer: "b", wait: "20s" });
  expect(second?.event.id).toBe(first?.event.id as string);
  expect(second?.attempt).toBe(2);
  expect(await ack(source, [first?.token as string])).toEqual(["stale"]);
  expect(await ack(source, [second?.token as string])).toEqual(["settled"]);
  expect(await ack(source, [first?.token as string])).toEqual(["stale"]);
});

test("an acknowledgement after the deadline is stale, whether or not somebody has asked meanwhile", async () => {
  const { source } = await newQueue(1);
  const [late] = await claim(source, { visibilityTimeout: "100ms" });
  await until("the deadline has passed", () => Date.now() > Date.parse(late?.deadline as string) + 5);
  expect(await ack(source, [late?.token as string])).toEqual(["stale"]);
});

test("what is given back comes again, after its delay, with the attempts counted", async () => {
  const { source } = await newQueue(2, { backoff: { initial: "0s", max: "0s" } });
  const [one, two] = await claim(source, { max: 2 });
  expect(await nack(source, [one?.token as string], { delay: "1h", reason: "later" })).toEqual(["settled"]);
  expect(await nack(source, [two?.token as string])).toEqual(["settled"]);
  const again = await claim(source, { max: 2, wait: "20s" });
  expect(offsets(again)).toEqual([1]);
  expect(again[0]?.attempt).toBe(2);
  expect(await nack(source, [two?.token as string])).toEqual(["stale"]);
});

test("after as many attempts as are allowed an event is given up", async () => {
  const { source } = await newQueue(1, { maxAttempts: 2, backoff: { initial: "0s", max: "0s" } });
  for (const attempt of [1, 2]) {
    const [delivery] = await claim(source, { wait: "20s" });
    expect(delivery?.attempt).toBe(attempt);
    await nack(source, [delivery?.token as string], { reason: `no ${attempt}` });
  }
  expect(await claim(source)).toEqual([]);
});

test("a dropped event is settled, a rejected one is a dead letter at once", async () => {
  const { source } = await newQueue(2);
  const [one, two] = tokens(await claim(source, { max: 2 })) as [string, string];
  expect(await nack(source, [one], { action: "drop" })).toEqual(["settled"]);
  expect(await nack(source, [two], { action: "dead-letter", reason: "bad" })).toEqual(["settled"]);
  expect(await claim(source)).toEqual([]);
  expect(await ack(source, [one, two])).toEqual(["already-settled", "stale"]);
});

test("an extension moves the deadline of the events that it names, and of no other", async () => {
  const { source } = await newQueue(2);
  const [one, two] = await claim(source, { max: 2, visibilityTimeout: "300ms" });
  const extended = await post<{ results: string[]; deadline: string }>(`${source.url}/extensions`, {
    tokens: [one?.token],
    visibilityTimeout: "1h",
  });
  expect(extended.body.results).toEqual(["extended"]);
  expect(Date.parse(extended.body.deadline)).toBeGreaterThan(Date.parse(one?.deadline as string) + 3_000_000);
  const again = await claim(source, { max: 2, wait: "20s" });
  expect(offsets(again)).toEqual([1]);
  expect(await ack(source, [one?.token as string, two?.token as string])).toEqual(["settled", "stale"]);
});

/** Lets some consumers of a subscription have been silent for a time. */
async function silence(name: string, consumers: string[], seconds: number): Promise<void> {
  const sql = openSql(service.databaseUrl);
  await sql`
    update consumers c set seen_at = clock_timestamp() - ${seconds} * interval '1 second' from subscriptions s
    where s.id = c.subscription_id and s.name = ${name} and c.name = any(string_to_array(${consumers.join(",")}, ','))`;
  await sql.end();
}
const members = async (name: string) => {
  const sql = openSql(service.databaseUrl);
  const rows = await sql`
    select c.name from consumers c join subscriptions s on s.id = c.subscription_id where s.name = ${name} order by c.name`;
  await sql.end();
  return rows.map((row) => row.name as string);
};

test("who works on an event of a queue for long has it until the deadline, though nothing else is heard of them", async () => {
  const { name, source } = await newQueue(3);
  const [long] = await claim(source, { consumer: "long", visibilityTimeout: "5m" });
  const [extended] = await claim(source, { consumer: "extended" });
  await post(`${source.url}/extensions`, { tokens: [extended?.token], visibilityTimeout: "5m" });
  await ack(source, tokens(await claim(source, { consumer: "idle" })));
  await silence(`$queue:${name}`, ["long", "extended", "idle"], 120);
  await until("who holds nothing is forgotten", async () => !(await members(`$queue:${name}`)).includes("idle"));
  expect(await members(`$queue:${name}`)).toEqual(["extended", "long"]);
  expect(await claim(source, { consumer: "other" })).toEqual([]);
  expect(await ack(source, [long?.token as string, extended?.token as string])).toEqual(["settled", "settled"]);
  await until("then they are silent", async () => (await members(`$queue:${name}`)).join() === "other");
});

test("of a subscription's silent consumer others get what it held, before the deadline; an extension is a sign of life", async () => {
  const name = `silent-${++queues}`;
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, mode: "exclusive", from: "beginning", consumerTimeout: "1m" });
  await append(service.url, name, [
    { type: "Job", data: 1 },
    { type: "Job", data: 2 },
  ]);
  const [extended] = await claim(source, { consumer: "extends", visibilityTimeout: "1h" });
  const [lost] = await claim(source, { consumer: "silent", visibilityTimeout: "1h" });
  await silence(name, ["extends"], 50);
  const seen = async () =>
    Date.parse((await send<{ lastSeenAt: string }>(`${source.url}/consumers/extends`)).body.lastSeenAt);
  const before = await seen();
  await post(`${source.url}/extensions`, { tokens: [extended?.token], visibilityTimeout: "1h" });
  expect(await seen()).toBeGreaterThan(before + 40_000);
  await silence(name, ["silent"], 70);
  const [taken] = await claim(source, { consumer: "other", wait: "20s" });
  expect([taken?.event.id, taken?.attempt]).toEqual([lost?.event.id as string, 2]);
  expect(await ack(source, [extended?.token as string, lost?.token as string])).toEqual(["settled", "stale"]);
});

test("a waiting claim is answered as soon as something is enqueued, and with nothing when its time is over", async () => {
  const { name, source } = await newQueue(0);
  expect(await claim(source, { wait: "50ms" })).toEqual([]);
  const waiting = claim(source, { wait: "30s", max: 10 });
  await append(service.url, name, { type: "Job", data: 1 });
  expect(offsets(await waiting)).toEqual([0]);
});

test("a claim that waits is not held up by large events of other streams that lie before its own", async () => {
  const large = "x".repeat(700_000);
  for (let i = 0; i < 4; i++) await append(service.url, "large", { type: "A", data: large });
  const { source } = await newQueue(1);
  expect(offsets(await claim(source, { wait: "600ms" }))).toEqual([0]);
});

test("claims that wait together share what comes", async () => {
  const { name, source } = await newQueue(0);
  const waiting = Array.from({ length: 4 }, (_, n) => claim(source, { consumer: `c${n}`, wait: "30s", max: 100 }));
  await until("they wait", async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    return /sluice_claims_waiting 4\b/.test(text);
  });
  await append(
    service.url,
    name,
    Array.from({ length: 8 }, () => ({ type: "Job", data: 1 })),
  );
  const portions = (await Promise.all(waiting)).map(offsets);
  expect(portions.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(portions.map((p) => p.length)).toEqual([2, 2, 2, 2]);
});

test("at-most-once: what is handed out is settled before it is sent", async () => {
  const { source } = await newQueue(3, { delivery: "at-most-once" });
  const taken = await claim(source, { max: 2, visibilityTimeout: "100ms" });
  expect(offsets(taken)).toEqual([0, 1]);
  expect(taken.map((d) => d.deadline)).toEqual([null, null]);
  expect(await ack(source, tokens(taken))).toEqual(["already-settled", "already-settled"]);
  expect(offsets(await claim(source, { max: 2, wait: "200ms" }))).toEqual([2]);
  expect(await claim(source, { max: 2, wait: "200ms" })).toEqual([]);
});

test("a queue goes by the settings that its stream has now", async () => {
  const { name, source } = await newQueue(3, { visibilityTimeout: "1m" });
  const before = await claim(source);
  await put(`${service.url}/api/streams/${name}`, { type: "ephemeral", visibilityTimeout: "1h", maxAttempts: 1 });
  const [after] = await claim(source);
  expect(Date.parse(after?.deadline as string) - Date.parse(before[0]?.deadline as string)).toBeGreaterThan(3_000_000);
  await nack(source, [...tokens(before), after?.token as string]);
  expect((await send<{ deadLetters: string }>(source.url)).body.deadLetters).toBe("2");
});

test("a persistent stream is no queue, and a stream that is not there has none", async () => {
  await append(service.url, "plain", { type: "A", data: 1 });
  expectProblem(await post(`${service.url}/api/streams/plain/claims`), 409, "not-a-queue");
  expectProblem(await post(`${service.url}/api/streams/nowhere/claims`), 404, "stream-not-found");
});

test("a body that is not what it should be is answered with what is wrong", async () => {
  const { source } = await newQueue(0);
  const bad: [string, unknown, string][] = [
    ["claims", { max: 0 }, "/max"],
    ["claims", { max: 1_001 }, "/max"],
    ["claims", { wait: "soon" }, "/wait"],
    ["claims", { wait: "61s" }, "/wait"],
    ["claims", { visibilityTimeout: "1ms" }, "/visibilityTimeout"],
    ["claims", { consumer: "a b" }, "/consumer"],
    ["claims", { some: 1 }, "/some"],
    ["acks", {}, "/tokens"],
    ["acks", { tokens: [1] }, "/tokens/0"],
    ["nacks", { tokens: ["x"], action: "explode" }, "/action"],
    ["nacks", { tokens: ["x"], delay: "-1s" }, "/delay"],
    ["extensions", { tokens: ["x"], visibilityTimeout: "13h" }, "/visibilityTimeout"],
  ];
  for (const [path, body, at] of bad) {
    const problem = expectProblem(await post(`${source.url}/${path}`, body), 422, "invalid-request");
    expect((problem.errors as { path: string }[]).map((error) => error.path)).toEqual([at]);
  }
});

test("nothing can be acknowledged, as a consumer does that was handed nothing", async () => {
  const { source } = await newQueue(0);
  expect(await ack(source, tokens(await claim(source, { max: 5 })))).toEqual([]);
});

test("claims that came at different times share what comes", async () => {
  const { name, source } = await newQueue(0);
  const waitingClaims = (count: number) =>
    until(`${count} wait`, async () =>
      new RegExp(`sluice_claims_waiting ${count}\\b`).test(await (await fetch(`${service.url}/metrics`)).text()),
    );
  const early = claim(source, { consumer: "early", wait: "30s", max: 100 });
  await waitingClaims(1);
  const late = claim(source, { consumer: "late", wait: "30s", max: 100 });
  await waitingClaims(2);
  await append(
    service.url,
    name,
    Array.from({ length: 6 }, () => ({ type: "Job", data: 1 })),
  );
  expect([offsets(await early).length, offsets(await late).length]).toEqual([3, 3]);
});
