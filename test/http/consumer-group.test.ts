// Consumer groups: each key belongs to one member at a time, in order, while members come, go and fail.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem } from "../support/client.ts";
import { ack, claim, type Delivery, nack, offsets, post, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

let names = 0;
async function newGroup(configuration: Record<string, unknown> = {}) {
  const name = `group-${++names}`;
  await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    mode: "consumer-group",
    from: "beginning",
    backoff: { initial: "0s", max: "0s" },
    ...configuration,
  });
  const fill = (keys: string[]) =>
    append(
      service.url,
      name,
      keys.map((partitionkey) => ({ type: "Job", partitionkey, data: {} })),
    );
  return { source: subscription(service.url, name), fill, name };
}
const letters = (count: number, each: number) => Array.from({ length: count * each }, (_, n) => `key-${n % count}`);
const keysOf = (deliveries: readonly Delivery[]) =>
  [...new Set(deliveries.map(({ event }) => String(event.partitionkey)))].sort();

test("each key goes to one member, and its events in order", async () => {
  const { source, fill } = await newGroup();
  for (const member of ["a", "b", "c"]) await claim(source, { consumer: member });
  await fill(letters(30, 4));
  const got = await Promise.all(["a", "b", "c"].map((consumer) => claim(source, { consumer, max: 200, wait: "5s" })));
  expect(got.flatMap(offsets).sort((x, y) => x - y)).toEqual(Array.from({ length: 120 }, (_, n) => n));
  const owners = got.map(keysOf);
  expect(owners.flat().length).toBe(30);
  for (const keys of owners) expect(keys.length).toBeGreaterThan(3);
  for (const portion of got) expect(offsets(portion)).toEqual(offsets(portion).sort((x, y) => x - y));
});

test("a lone member gets everything, and hands over what it does not hold when another joins", async () => {
  const { source, fill } = await newGroup();
  await fill(letters(40, 1));
  const first = await claim(source, { consumer: "a", max: 200 });
  expect(first.length).toBe(40);
  await claim(source, { consumer: "b" });
  await fill(letters(40, 1));
  // What of a key is out keeps its slot where it is: b gets nothing that a still holds an earlier event of.
  const held = new Set(keysOf(first));
  const early = await claim(source, { consumer: "b", max: 200 });
  expect(keysOf(early).filter((key) => held.has(key))).toEqual([]);
  await ack(source, tokens(first));
  const b = await claim(source, { consumer: "b", max: 200, wait: "5s" });
  const a = await claim(source, { consumer: "a", max: 200, wait: "5s" });
  expect([...offsets(early), ...offsets(a), ...offsets(b)].sort((x, y) => x - y)).toEqual(
    Array.from({ length: 40 }, (_, n) => n + 40),
  );
  expect(keysOf(b).length).toBeGreaterThan(8);
  expect(keysOf(a).filter((key) => keysOf(b).includes(key))).toEqual([]);
});

test("when one of an event's key is given back, later ones of the key come again behind it, and their tokens are stale", async () => {
  const { source, fill } = await newGroup();
  await fill(["k", "k", "other", "k"]);
  const first = await claim(source, { consumer: "a", max: 10 });
  expect(offsets(first)).toEqual([0, 1, 2, 3]);
  const [k0, k1, other, k3] = tokens(first) as [string, string, string, string];
  expect(await ack(source, [k1])).toEqual(["settled"]);
  expect(await nack(source, [k0], { delay: "0s" })).toEqual(["settled"]);
  expect(await ack(source, [k3, other])).toEqual(["stale", "settled"]);
  const again = await claim(source, { consumer: "a", max: 10, wait: "5s" });
  expect(offsets(again)).toEqual([0, 3]);
  expect(await ack(source, tokens(again))).toEqual(["settled", "settled"]);
});

test("behind an event that waits for its next attempt its key waits, and others go on", async () => {
  const { source, fill } = await newGroup();
  await fill(["k", "k"]);
  const [first] = await claim(source, { consumer: "a", max: 1 });
  await nack(source, [first?.token as string], { delay: "400ms" });
  await fill(["k", "other"]);
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([3]);
  expect(offsets(await claim(source, { consumer: "a", max: 10, wait: "10s" }))).toEqual([0, 1, 2]);
});

test("an event that is not settled in time comes again before the later ones of its key", async () => {
  const { source, fill } = await newGroup();
  await fill(["k", "k", "k"]);
  const first = await claim(source, { consumer: "a", max: 2, visibilityTimeout: "150ms" });
  expect(offsets(first)).toEqual([0, 1]);
  await ack(source, [first[1]?.token as string]);
  const again = await claim(source, { consumer: "a", max: 10, wait: "10s" });
  expect(offsets(again)[0]).toBe(2);
  const later = await claim(source, { consumer: "a", max: 10, wait: "10s" });
  expect(offsets(later)[0]).toBe(0);
});

test("a poisoned key is paused and parked; the others go on", async () => {
  const { source, fill, name } = await newGroup({ maxAttempts: 1 });
  await fill(["bad", "bad", "good"]);
  const first = await claim(source, { consumer: "a", max: 1 });
  await nack(source, tokens(first), { reason: "poison" });
  await fill(["bad", "good"]);
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([2, 4]);
  expect(await claim(source, { consumer: "a", max: 10, wait: "200ms" })).toEqual([]);
  const describe = async () =>
    (await (await fetch(`${service.url}/api/subscriptions/${name}`)).json()) as Record<string, unknown>;
  const listed = (await (await fetch(`${service.url}/api/subscriptions/${name}/dead-letters`)).json()) as {
    deadLetters: { id: string }[];
  };
  expect(await describe()).toMatchObject({
    deadLetters: "1",
    waiting: "0",
    parked: "2",
    pausedKeys: {
      count: "1",
      keys: [
        {
          key: "bad",
          position: String(first[0]?.event.position),
          deadLetter: listed.deadLetters[0]?.id as string,
          since: expect.any(String),
        },
      ],
    },
  });
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  expect(metrics).toContain(`sluice_subscription_parked{subscription="${name}"} 2\n`);
  expect(metrics).toContain(`sluice_subscription_paused_keys{subscription="${name}"} 1\n`);
  await fetch(`${service.url}/api/subscriptions/${name}/dead-letters`, {
    method: "DELETE",
    headers: { "content-type": "application/json" },
    body: '{"all":true}',
  });
  expect(offsets(await claim(source, { consumer: "a", max: 10, wait: "10s" }))).toEqual([1, 3]);
  expect(await describe()).toMatchObject({ deadLetters: "0", parked: "0", pausedKeys: { count: "0", keys: [] } });
});

test("what waits for a member is counted, of the group and of the member", async () => {
  const { source, fill, name } = await newGroup();
  for (const member of ["a", "b"]) await claim(source, { consumer: member });
  await fill(letters(30, 1));
  const a = await claim(source, { consumer: "a", max: 100 });
  const waiting = String(30 - a.length);
  const url = `${service.url}/api/subscriptions/${name}`;
  expect(await (await fetch(url)).json()).toMatchObject({ waiting, parked: "0" });
  expect(await (await fetch(`${url}/consumers/b`)).json()).toMatchObject({ waiting, inFlight: "0", setAside: false });
  expect(await (await fetch(`${url}/consumers/a`)).json()).toMatchObject({ waiting: "0", inFlight: String(a.length) });
});

test("a group goes on when nothing is left in it but a paused key's events", async () => {
  const { source, fill } = await newGroup({ maxAttempts: 1 });
  await fill(["bad", "bad"]);
  await nack(source, tokens(await claim(source, { consumer: "a", max: 1 })));
  expect(await claim(source, { consumer: "a", max: 10, wait: "300ms" })).toEqual([]);
  await fill(["good"]);
  expect(offsets(await claim(source, { consumer: "a", max: 10, wait: "10s" }))).toEqual([2]);
});

test("with onFailure skip the later events of a poisoned key go on", async () => {
  const { source, fill } = await newGroup({ maxAttempts: 1, onFailure: "skip" });
  await fill(["bad", "bad", "good"]);
  const first = await claim(source, { consumer: "a", max: 1 });
  await nack(source, tokens(first), { reason: "poison" });
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([1, 2]);
});

/** Runs a task while nobody else can lock the cursor of a group. */
async function whileLocked(name: string, task: () => Promise<void>): Promise<void> {
  const sql = openSql(service.databaseUrl);
  await sql.begin(async (held) => {
    await held`select c.id from subscription_cursors c join subscriptions s on s.id = c.subscription_id
      where s.name = ${name} for update of c`;
    await task();
  });
  await sql.end();
}

test("what a member gave up waiting for comes before the later events of its key", async () => {
  const { source, fill, name } = await newGroup();
  await claim(source, { consumer: "a" });
  await fill(["k", "k", "k"]);
  let next: Promise<Delivery[]> | null = null;
  await whileLocked(name, async () => {
    // Its answer is due while the database is still busy with it: nobody knows what it holds.
    expectProblem(await post(`${source.url}/claims`, { consumer: "a", max: 1, wait: "150ms" }), 503, "outcome-unknown");
    next = claim(source, { consumer: "a", max: 1, wait: "10s" });
  });
  expect(offsets((await next) ?? [])).toEqual([0]);
});

test("what is put back takes the later events of its key back with it", async () => {
  const { source, fill, name } = await newGroup();
  await fill(["k", "k", "other"]);
  await claim(source, { consumer: "a", max: 1 });
  const later = await claim(source, { consumer: "a", max: 10, wait: "10s" });
  expect(offsets(later)).toEqual([1, 2]);
  const sql = openSql(service.databaseUrl);
  await sql`
    select delivery_put_back(d.cursor_id, array[d.step], array[d.part]) from deliveries d
      join subscription_cursors c on c.id = d.cursor_id join subscriptions s on s.id = c.subscription_id
    where s.name = ${name} and cardinality(d.positions) = 1`;
  await sql.end();
  expect(await ack(source, tokens(later))).toEqual(["stale", "settled"]);
  const again = await claim(source, { consumer: "a", max: 10, wait: "10s" });
  expect(again.map(({ event, attempt }) => [event.offset, attempt])).toEqual([
    ["0", 1],
    ["1", 1],
  ]);
});

test("what is taken back when its slot moves comes once, though it was out in several pieces", async () => {
  const { source, fill } = await newGroup({ slots: 2, visibilityTimeout: "200ms" });
  await fill(Array.from({ length: 6 }, () => letters(8, 1)).flat());
  const held: Delivery[] = [];
  for (let n = 0; n < 6; n++) held.push(...(await claim(source, { consumer: "a", max: 8, visibilityTimeout: "1m" })));
  expect(held.length).toBe(48);
  // One of the two slots moves to b, and is taken from a when its time to drain is over.
  const moved: Delivery[] = [];
  while (moved.length < 6)
    moved.push(...(await claim(source, { consumer: "b", max: 100, wait: "10s", visibilityTimeout: "1m" })));
  expect(await claim(source, { consumer: "b", max: 100, wait: "300ms" })).toEqual([]);
  const got = offsets(moved);
  expect(got).toEqual([...new Set(got)].sort((x, y) => x - y));
  const keys = new Set(keysOf(moved));
  expect(got).toEqual(offsets(held.filter(({ event }) => keys.has(String(event.partitionkey)))));
  expect(new Set(await ack(source, tokens(moved)))).toEqual(new Set(["settled"]));
});

test("what a member held goes to the others when its connection closes, in order", async () => {
  const { source, fill, name } = await newGroup();
  const consume = (member: string) =>
    openEventStream(`${service.url}/api/subscriptions/${name}/events?consumer=${member}`);
  const a = await consume("a");
  const b = await consume("b");
  await a.until("both are ready", () => a.frames.length > 0 && b.frames.length > 0);
  await fill(letters(20, 2));
  await a.until("all has come", () => a.events().length + b.events().length === 40);
  const lost = a.events().map((event) => Number(event.offset));
  expect(lost.length).toBeGreaterThan(0);
  await ack(
    source,
    b.events().map((event) => String(event.deliverytoken)),
  );
  const before = b.events().length;
  a.close();
  await b.until("the rest has come", () => b.events().length === before + lost.length);
  expect(
    b
      .events()
      .slice(before)
      .map((event) => Number(event.offset)),
  ).toEqual(lost.sort((x, y) => x - y));
  b.close();
});

test("a member that comes back while one of its keys waits for another attempt catches up, and is sent what comes for others", async () => {
  const { source, fill, name } = await newGroup();
  await fill(["k", "k", "other"]);
  const first = await claim(source, { consumer: "a", max: 10 });
  await nack(source, [first[0]?.token as string], { delay: "1h" });
  await ack(source, [first[2]?.token as string]);
  const a = await openEventStream(`${service.url}/api/subscriptions/${name}/events?consumer=a`);
  await a.until("it has caught up", () => a.frames.some((frame) => frame.event === "sluice.caught-up"));
  await fill(["k", "other"]);
  await a.until("the other key goes on", () => a.events().length > 0);
  expect(a.events().map((event) => event.offset)).toEqual(["4"]);
  a.close();
});

test("a member catches up while what waits for it belongs to a slot that has not moved yet, and is sent it then", async () => {
  const { source, fill, name } = await newGroup({ slots: 2 });
  await fill(letters(8, 1));
  const held = await claim(source, { consumer: "a", max: 100 });
  await claim(source, { consumer: "b" });
  await fill(letters(8, 1));
  const kept = await claim(source, { consumer: "a", max: 100 });
  const moving = 8 - kept.length;
  expect(moving).toBeGreaterThan(0);
  const b = await openEventStream(`${service.url}/api/subscriptions/${name}/events?consumer=b`);
  await b.until("it has caught up", () => b.frames.some((frame) => frame.event === "sluice.caught-up"));
  expect(b.events()).toEqual([]);
  await ack(source, tokens(held));
  await b.until("what waited has come", () => b.events().length === moving);
  b.close();
});

test("what a member has no credit for comes before it has caught up", async () => {
  const { source, fill, name } = await newGroup();
  await fill(["k", "k", "k"]);
  const first = await claim(source, { consumer: "a", max: 10 });
  await put(source.url, { stream: name, mode: "consumer-group", maxInFlight: 1 });
  await nack(source, tokens(first), { delay: "0s" });
  const a = await openEventStream(`${service.url}/api/subscriptions/${name}/events?consumer=a`);
  for (let count = 1; count <= 3; count++) {
    await a.until(`event ${count}`, () => a.events().length === count);
    await ack(source, [String(a.events().at(-1)?.deliverytoken)]);
  }
  await a.until("it has caught up", () => a.frames.some((frame) => frame.event === "sluice.caught-up"));
  expect(a.frames.slice(1).map((frame) => frame.event)).toEqual([null, null, null, "sluice.caught-up"]);
  a.close();
});

test("events without a key have no order to keep: all members get some", async () => {
  const { source, name } = await newGroup();
  for (const member of ["a", "b"]) await claim(source, { consumer: member });
  await append(
    service.url,
    name,
    Array.from({ length: 60 }, () => ({ type: "Job", data: {} })),
  );
  const got = await Promise.all(["a", "b"].map((consumer) => claim(source, { consumer, max: 100, wait: "5s" })));
  expect(got.flatMap(offsets).length).toBe(60);
  for (const portion of got) expect(portion.length).toBeGreaterThan(15);
});
