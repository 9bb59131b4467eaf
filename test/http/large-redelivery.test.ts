// Large events that come back, or have waited for their member: each answer is bounded, and nothing is lost by that.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append } from "../support/client.ts";
import {
  ack,
  claim,
  type Delivery,
  nack,
  offsets,
  put,
  type Source,
  subscription,
  tokens,
} from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ TRIM_INTERVAL: "100ms" });
});
afterAll(() => service.stop());

const large = "x".repeat(900_000);
const count = 30;
/** What is read for one answer, and what had been read ahead. */
const mostAtOnce = 12;
const all = Array.from({ length: count }, (_, n) => n);

let names = 0;
async function newSubscription(configuration: Record<string, unknown>, keyOf: (n: number) => string = () => "k") {
  const name = `large-${++names}`;
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, from: "beginning", backoff: { initial: "0s", max: "0s" }, ...configuration });
  const fill = async () => {
    for (const n of all) await append(service.url, name, { type: "Large", partitionkey: keyOf(n), data: large });
  };
  return { source, name, fill };
}

/** Claims until as many events have come as there are; each answer is a list. */
async function claimAll(source: Source, consumer: string, total = count): Promise<Delivery[][]> {
  const answers: Delivery[][] = [];
  for (let left = total; left > 0; left -= (answers.at(-1) as Delivery[]).length) {
    const answer = await claim(source, { consumer, max: 1_000, wait: "20s", visibilityTimeout: "1h" });
    if (answer.length === 0) throw new Error(`${left} events never came`);
    answers.push(answer);
  }
  return answers;
}
const sizes = (answers: readonly Delivery[][]) => Math.max(...answers.map((answer) => answer.length));

test("what was given back comes again over several claims, once each, and no attempt is counted for that", async () => {
  const { source, fill } = await newSubscription({ mode: "exclusive" });
  await fill();
  const held = (await claimAll(source, "a")).flat();
  expect(offsets(held)).toEqual(all);
  expect(new Set(await nack(source, tokens(held)))).toEqual(new Set(["settled"]));
  const again = await claimAll(source, "b");
  expect(sizes(again)).toBeLessThanOrEqual(mostAtOnce);
  expect(offsets(again.flat()).sort((x, y) => x - y)).toEqual(all);
  expect(new Set(again.flat().map(({ attempt }) => attempt))).toEqual(new Set([2]));
  expect(new Set(await ack(source, tokens(again.flat())))).toEqual(new Set(["settled"]));
}, 120_000);

test("claims that wait together get some of it each", async () => {
  const { source, fill } = await newSubscription({ mode: "exclusive" });
  await fill();
  await nack(source, tokens((await claimAll(source, "a")).flat()));
  const portions = await Promise.all(["a", "b", "c"].map((consumer) => claimAll(source, consumer, 6)));
  for (const portion of portions) expect(sizes(portion)).toBeLessThanOrEqual(mostAtOnce);
  const got = portions.flat(2);
  expect(new Set(offsets(got)).size).toBe(got.length);
  expect(new Set(got.map(({ attempt }) => attempt))).toEqual(new Set([2]));
}, 120_000);

test("in a group what comes again keeps its order within each key", async () => {
  const { source, fill } = await newSubscription({ mode: "consumer-group" }, (n) => `key-${n % 4}`);
  await fill();
  const held = (await claimAll(source, "a")).flat();
  await nack(source, tokens(held), { reason: "all of them" });
  const again = await claimAll(source, "a");
  expect(sizes(again)).toBeLessThanOrEqual(mostAtOnce);
  for (let key = 0; key < 4; key++)
    expect(offsets(again.flat()).filter((offset) => offset % 4 === key)).toEqual(all.filter((n) => n % 4 === key));
  expect(Math.max(...again.flat().map(({ attempt }) => attempt))).toBe(2);
  expect(new Set(await ack(source, tokens(again.flat())))).toEqual(new Set(["settled"]));
}, 120_000);

test("what waited for a member of a group comes in order, though it is given away without a lease", async () => {
  const { source, fill } = await newSubscription({ mode: "consumer-group", delivery: "at-most-once" }, (n) => `k${n}`);
  for (const consumer of ["a", "b"]) await claim(source, { consumer });
  await fill();
  const a: Delivery[] = [];
  for (;;) {
    const more = await claim(source, { consumer: "a", max: 1_000 });
    if (more.length === 0) break;
    a.push(...more);
  }
  expect(a.length).toBeGreaterThan(0);
  const b = await claimAll(source, "b", count - a.length);
  expect(sizes(b)).toBeLessThanOrEqual(mostAtOnce);
  expect(offsets(b.flat())).toEqual(offsets(b.flat()).sort((x, y) => x - y));
  expect([...offsets(a), ...offsets(b.flat())].sort((x, y) => x - y)).toEqual(all);
}, 120_000);

test("what was not read in time comes again over several claims, and is unread again when it came", async () => {
  const { source, fill, name } = await newSubscription({
    mode: "read-receipt",
    delivery: "at-most-once",
    unreadTimeout: "1h",
  });
  await fill();
  expect(offsets((await claimAll(source, "ada")).flat())).toEqual(all);
  const unread = async () => {
    const answer = await fetch(`${source.url}/consumers/ada/unread?count=true`);
    return Number(((await answer.json()) as { count: string }).count);
  };
  const sql = openSql(service.databaseUrl);
  await sql`
    update receipts r set due = clock_timestamp() from subscription_cursors c join subscriptions s on s.id = c.subscription_id
    where c.id = r.cursor_id and s.name = ${name}`;
  const again = await claimAll(source, "ada");
  expect(sizes(again)).toBeLessThanOrEqual(mostAtOnce);
  expect(offsets(again.flat()).sort((x, y) => x - y)).toEqual(all);
  const [receipts] = await sql`
    select sum(cardinality(r.positions))::int as events from receipts r join subscription_cursors c on c.id = r.cursor_id
      join subscriptions s on s.id = c.subscription_id where s.name = ${name}`;
  await sql.end();
  expect(receipts?.events).toBe(count);
  expect(await unread()).toBe(count);
}, 120_000);

test("dead letters of a stream that is empty by now are put back over several claims", async () => {
  const name = `large-${++names}`;
  const source = { url: `${service.url}/api/streams/${name}` };
  await put(source.url, { type: "ephemeral" });
  for (const _ of all) await append(service.url, name, { type: "Large", data: large });
  const held = (await claimAll(source, "a")).flat();
  await nack(source, tokens(held), { action: "dead-letter" });
  const sql = openSql(service.databaseUrl);
  await until("the stream has forgotten them", async () => {
    const [stream] = await sql`select first_offset from streams where name = ${name}`;
    return Number(stream?.first_offset) === count;
  });
  await sql.end();
  await fetch(`${source.url}/dead-letters/replay`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"all":true}',
  });
  const again = await claimAll(source, "a");
  expect(sizes(again)).toBeLessThanOrEqual(mostAtOnce);
  expect(offsets(again.flat()).sort((x, y) => x - y)).toEqual(all);
}, 120_000);
