// Read receipts: what a consumer has not read is found, counted and read, and comes back when it is not read in time.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ TRIM_INTERVAL: "50ms" });
});
afterAll(() => service.stop());

type Unread = { count: string; atLeast: boolean; events: Envelope[]; next: string | null };

let names = 0;
async function inbox(count: number, configuration: Record<string, unknown> = {}) {
  const stream = `inbox-${++names}`;
  const source = subscription(service.url, `receipts-${names}`);
  const answer = await put(source.url, { stream, mode: "read-receipt", from: "beginning", ...configuration });
  if (answer.status !== 201) throw new Error(answer.text);
  if (count > 0) await fill(stream, count);
  return { stream, source };
}
const fill = (stream: string, count: number) =>
  append(
    service.url,
    stream,
    Array.from({ length: count }, (_, n) => ({ type: n % 2 === 0 ? "Even" : "Odd", data: { n } })),
  );
/** The consumer gets events and acknowledges them. */
async function deliver(source: Source, max: number, consumer = "ada") {
  const deliveries = await claim(source, { consumer, max, wait: "20s" });
  await ack(source, tokens(deliveries));
  return deliveries;
}
const consumerUrl = (source: Source, consumer = "ada") => `${source.url}/consumers/${consumer}`;
async function unread(source: Source, query = "", consumer = "ada"): Promise<Unread> {
  const answer = await send<Unread>(`${consumerUrl(source, consumer)}/unread${query}`);
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.body;
}
const unreadOffsets = async (source: Source) => (await unread(source)).events.map((event) => Number(event.offset));
const count = async (source: Source) => (await unread(source, "?count=true")).count;
async function read(source: Source, what: Record<string, unknown>, consumer = "ada"): Promise<number> {
  const answer = await post<{ read: number }>(`${consumerUrl(source, consumer)}/read`, what);
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.body.read;
}
const idsOf = (deliveries: readonly { event: Envelope }[]) => deliveries.map(({ event }) => event.id);

test("what was delivered, what is handed out and what is yet to come is unread, in the order of the log", async () => {
  const { source } = await inbox(6);
  await deliver(source, 2);
  await claim(source, { consumer: "ada", max: 2 });
  const page = await unread(source);
  expect(page.events.map((event) => Number(event.offset))).toEqual([0, 1, 2, 3, 4, 5]);
  expect(page).toMatchObject({ count: "6", atLeast: false, next: null });
  expect(page.events[5]?.data).toEqual({ n: 5 });
  expect(await unread(source, "?count=true")).toEqual({ count: "6", atLeast: false } as Unread);
});

test("unread events come page by page, whatever has become of them", async () => {
  const { source } = await inbox(7);
  await deliver(source, 3);
  await claim(source, { consumer: "ada", max: 2 });
  const seen: number[] = [];
  let url: string | null = `${consumerUrl(source)}/unread?limit=2`;
  let pages = 0;
  while (url !== null) {
    const { body }: { body: Unread } = await send<Unread>(url);
    seen.push(...body.events.map((event) => Number(event.offset)));
    expect(body.events.length).toBeLessThanOrEqual(2);
    url = body.next === null ? null : service.url + body.next;
    pages++;
  }
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(pages).toBeLessThanOrEqual(5);
});

test("a delivered event is not in flight: the consumer has credit again, and its token is settled", async () => {
  const { source } = await inbox(4, { maxInFlight: 2 });
  const first = await deliver(source, 10);
  expect(offsets(first)).toEqual([0, 1]);
  expect(offsets(await claim(source, { consumer: "ada", max: 10 }))).toEqual([2, 3]);
  expect(await ack(source, tokens(first))).toEqual(["already-settled", "already-settled"]);
});

test("a part of a lease is delivered, the rest stays handed out", async () => {
  const { source } = await inbox(3);
  const held = await claim(source, { consumer: "ada", max: 3 });
  expect(await ack(source, [held[1]?.token as string])).toEqual(["settled"]);
  expect(await read(source, { ids: [held[1]?.event.id] })).toBe(1);
  expect(await ack(source, tokens(held))).toEqual(["settled", "already-settled", "settled"]);
  expect(await unreadOffsets(source)).toEqual([0, 2]);
});

test("events are read by their ids, wherever they are, and only once", async () => {
  const { stream, source } = await inbox(6);
  await append(service.url, stream, { id: "mine", type: "Named", data: 1 });
  const delivered = await deliver(source, 2);
  const out = await claim(source, { consumer: "ada", max: 2 });
  const [later] = (await unread(source)).events.filter((event) => event.offset === "5");
  const ids = [...idsOf(delivered.slice(1)), ...idsOf(out.slice(0, 1)), later?.id as string, "mine", "nobody's"];
  expect(await read(source, { ids })).toBe(4);
  expect(await read(source, { ids })).toBe(0);
  expect(await unreadOffsets(source)).toEqual([0, 3, 4]);
  expect(await count(source)).toBe("3");
  expect(await ack(source, tokens(out))).toEqual(["already-settled", "settled"]);
  // What was read before it was delivered never is.
  expect(offsets(await claim(source, { consumer: "ada", max: 10 }))).toEqual([4]);
  expect(await count(source)).toBe("3");
});

test("everything up to a position is read, also what was not handed out", async () => {
  const { source } = await inbox(8);
  const [held] = await claim(source, { consumer: "ada", max: 1 });
  await deliver(source, 2);
  const { events } = await unread(source);
  expect(await read(source, { upTo: events[1]?.position })).toBe(2);
  expect(await unreadOffsets(source)).toEqual([2, 3, 4, 5, 6, 7]);
  expect(await ack(source, [held?.token as string])).toEqual(["already-settled"]);
  expect(await read(source, { ids: [events[5]?.id] })).toBe(1);
  expect(await read(source, { upTo: Number(events[6]?.position) })).toBe(4);
  expect(await read(source, { upTo: events[6]?.position })).toBe(0);
  expect(await unreadOffsets(source)).toEqual([7]);
  expect(offsets(await claim(source, { consumer: "ada", max: 10 }))).toEqual([7]);
});

test("a batch that the position cuts is read up to there", async () => {
  const { source } = await inbox(4);
  const delivered = await deliver(source, 4);
  expect(await read(source, { upTo: delivered[1]?.event.position })).toBe(2);
  expect(await unreadOffsets(source)).toEqual([2, 3]);
});

test("all is read, and what comes later is unread again", async () => {
  const { stream, source } = await inbox(5, { types: ["Even"], where: "$.n >= 0" });
  await deliver(source, 1);
  expect(await read(source, { all: true })).toBe(3);
  expect(await count(source)).toBe("0");
  expect(await claim(source, { consumer: "ada", max: 10 })).toEqual([]);
  await fill(stream, 1);
  expect(await count(source)).toBe("1");
  expect(offsets(await deliver(source, 10))).toEqual([5]);
});

test("each consumer has its own unread events, and keeps them when it falls silent", async () => {
  const { source } = await inbox(3, { consumerTimeout: "1s" });
  await deliver(source, 3, "ada");
  await deliver(source, 1, "bob");
  await read(source, { all: true }, "bob");
  await until("both are forgotten as members", async () => {
    return (await send<{ consumers: number }>(source.url)).body.consumers === 0;
  });
  expect((await unread(source, "", "ada")).count).toBe("3");
  expect((await unread(source, "", "bob")).count).toBe("0");
  expectProblem(await send(`${consumerUrl(source, "eve")}/unread`), 404, "consumer-not-found");
  expectProblem(await post(`${consumerUrl(source, "eve")}/read`, { all: true }), 404, "consumer-not-found");
});

test("what is given away at most once is delivered, and unread", async () => {
  const { source } = await inbox(3, { delivery: "at-most-once" });
  expect(offsets(await claim(source, { consumer: "ada", max: 2 }))).toEqual([0, 1]);
  expect(await unreadOffsets(source)).toEqual([0, 1, 2]);
  expect(await read(source, { all: true })).toBe(3);
});

test("a dropped event is not unread", async () => {
  const { source } = await inbox(2);
  const held = await claim(source, { consumer: "ada", max: 2 });
  await nack(source, [held[0]?.token as string], { action: "drop" });
  expect(await unreadOffsets(source)).toEqual([1]);
});

test("an event that is not read in time is handed out again, and given up after as many attempts as are allowed", async () => {
  const { source } = await inbox(1, { unreadTimeout: "100ms", maxAttempts: 2 });
  expect((await deliver(source, 1)).map((d) => d.attempt)).toEqual([1]);
  const started = Date.now();
  expect((await deliver(source, 1)).map((d) => d.attempt)).toEqual([2]);
  // No sweep decides when: the wait is not much longer than the timeout.
  expect(Date.now() - started).toBeLessThan(3_000);
  await until("it is a dead letter", async () => {
    return (await send<{ deadLetters: string }>(source.url)).body.deadLetters === "1";
  });
  expect(await count(source)).toBe("0");
});

test("an event that is read in time does not come again", async () => {
  const { source } = await inbox(2, { unreadTimeout: "300ms" });
  const delivered = await deliver(source, 2);
  expect(await read(source, { ids: idsOf(delivered.slice(0, 1)) })).toBe(1);
  expect(offsets(await deliver(source, 10))).toEqual([1]);
});

test("what is not read in time is a dead letter at once, or dropped, where that is configured", async () => {
  const dead = await inbox(2, { unreadTimeout: "100ms", onUnreadExpired: "dead-letter" });
  const dropped = await inbox(2, { unreadTimeout: "100ms", onUnreadExpired: "drop" });
  await deliver(dead.source, 2);
  await deliver(dropped.source, 2);
  await until(
    "none is unread",
    async () => (await count(dead.source)) === "0" && (await count(dropped.source)) === "0",
  );
  expect((await send<{ deadLetters: string }>(dead.source.url)).body.deadLetters).toBe("2");
  expect((await send<{ deadLetters: string }>(dropped.source.url)).body.deadLetters).toBe("0");
  expect(await claim(dropped.source, { consumer: "ada", max: 10 })).toEqual([]);
  const sql = openSql(service.databaseUrl);
  const letters = await sql`select last_error, attempts from dead_letters order by id desc limit 2`;
  await sql.end();
  expect(letters.map((row) => [row.last_error, row.attempts])).toEqual(Array(2).fill(["not read in time", 1]));
});

test("an unread event of an ephemeral stream stays until it is read", async () => {
  const stream = `brief-${++names}`;
  await put(`${service.url}/api/streams/${stream}`, { type: "ephemeral" });
  const source = subscription(service.url, `brief-${names}`);
  await put(source.url, { stream, mode: "read-receipt", from: "beginning" });
  await fill(stream, 3);
  const delivered = await deliver(source, 3);
  const length = async () => (await send<{ length: string }>(`${service.url}/api/streams/${stream}`)).body.length;
  const { floor } = (await send<{ floor: string }>(source.url)).body;
  expect(Number(floor)).toBe(Number(delivered[0]?.event.position) - 1);
  await read(source, { ids: idsOf(delivered.slice(0, 2)) });
  await until("what is read is forgotten", async () => (await length()) === "1");
  expect((await unread(source)).events.map((event) => event.data)).toEqual([{ n: 2 }]);
  await read(source, { all: true });
  await until("all is forgotten", async () => (await length()) === "0");
});

test("what retention has removed is not unread any more", async () => {
  const { stream, source } = await inbox(4);
  await deliver(source, 3);
  await put(`${service.url}/api/streams/${stream}`, { retention: { maxEvents: 2 } });
  await until("two are left", async () => (await count(source)) === "2");
  expect(await unreadOffsets(source)).toEqual([2, 3]);
  expect(await read(source, { all: true })).toBe(2);
});

test("the count is exact up to ten thousand", async () => {
  const { stream, source } = await inbox(0);
  await claim(source, { consumer: "ada" });
  for (let n = 0; n < 10; n++) await fill(stream, 1_000);
  await deliver(source, 500);
  expect(await unread(source, "?count=true")).toEqual({ count: "10000", atLeast: false } as Unread);
  await fill(stream, 1);
  expect(await unread(source, "?count=true")).toEqual({ count: "10000", atLeast: true } as Unread);
  expect(await read(source, { all: true })).toBe(10_001);
});

test("readers and acknowledgements at the same time count each event once", async () => {
  const { source } = await inbox(200);
  const held = await claim(source, { consumer: "ada", max: 100 });
  const ids = idsOf(held);
  const results = await Promise.all([
    ...held.map((delivery) => ack(source, [delivery.token]).then(() => 0)),
    ...Array.from({ length: 10 }, (_, n) => read(source, { ids: ids.slice(n * 10, n * 10 + 10) })),
    ...Array.from({ length: 10 }, (_, n) => read(source, { ids: ids.slice(n * 10, n * 10 + 10) })),
    read(source, { upTo: held[49]?.event.position }),
  ]);
  expect(results.reduce((a, b) => a + b)).toBe(100);
  expect((await unread(source, "?limit=1000")).events.map((e) => Number(e.offset))).toEqual(
    Array.from({ length: 100 }, (_, n) => n + 100),
  );
});

test("unread events survive a restart of the service", async () => {
  const first = await startService();
  const source = subscription(first.url, "kept");
  await put(source.url, { stream: "kept", mode: "read-receipt", from: "beginning" });
  await append(
    first.url,
    "kept",
    [1, 2, 3].map((data) => ({ type: "A", data })),
  );
  const delivered = await deliver(source, 2);
  await read(source, { ids: idsOf(delivered.slice(0, 1)) });
  await first.stop();
  const second = await startService({ DATABASE_URL: first.databaseUrl });
  const again = subscription(second.url, "kept");
  expect((await unread(again)).events.map((event) => event.data)).toEqual([2, 3]);
  expect(await read(again, { all: true })).toBe(2);
  await second.stop();
});

test("metrics tell what is unread, read and expired", async () => {
  const own = await startService();
  const source = subscription(own.url, "measured");
  await put(source.url, { stream: "measured", mode: "read-receipt", from: "beginning" });
  await append(
    own.url,
    "measured",
    [1, 2, 3].map((data) => ({ type: "A", data })),
  );
  await deliver(source, 3);
  await read(source, { all: true });
  await append(
    own.url,
    "measured",
    [4, 5].map((data) => ({ type: "A", data })),
  );
  await deliver(source, 2);
  const text = await (await fetch(`${own.url}/metrics`)).text();
  expect(text).toMatch(/sluice_receipts_read_total 3\b/);
  expect(text).toMatch(/sluice_receipts_requeued_total 0\b/);
  expect(text).toContain('sluice_unread_events{subscription="measured"} 2');
  await own.stop();
});

test("a request that is not as it should be says what is wrong", async () => {
  const { source } = await inbox(1);
  await deliver(source, 1);
  const bad: [unknown, string][] = [
    [{}, ""],
    [{ all: true, upTo: "1" }, ""],
    [{ all: false }, "/all"],
    [{ ids: [] }, "/ids"],
    [{ ids: ["a\u0000"] }, "/ids/0"],
    [{ upTo: "soon" }, "/upTo"],
    [{ upTo: -1 }, "/upTo"],
  ];
  for (const [body, path] of bad) {
    const problem = expectProblem(await post(`${consumerUrl(source)}/read`, body), 422, "invalid-request");
    expect((problem.errors as { path: string }[])[0]?.path).toBe(path);
  }
  expectProblem(await send(`${consumerUrl(source)}/unread?limit=0`), 400, "invalid-parameter");
  expectProblem(await send(`${consumerUrl(source)}/unread?count=maybe`), 400, "invalid-parameter");
  expectProblem(await send(`${consumerUrl(source, "a%20b")}/unread`), 400, "invalid-parameter");
  const other = subscription(service.url, `plain-${++names}`);
  await put(other.url, { stream: "plain", mode: "broadcast" });
  expectProblem(await send(`${consumerUrl(other)}/unread`), 409, "no-receipts");
  expectProblem(
    await send(`${service.url}/api/subscriptions/nowhere/consumers/ada/unread`),
    404,
    "subscription-not-found",
  );
});
