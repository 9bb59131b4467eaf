// Consumers: registered, listed, described, removed; and cursors that are moved.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

type Lag = { events: string; atLeast: boolean; seconds: number };
type Consumer = {
  consumer: string;
  member: boolean;
  metadata: Record<string, unknown>;
  registeredAt: string | null;
  lastSeenAt: string | null;
  position: string;
  floor: string;
  inFlight: string;
  waiting: string;
  setAside: boolean;
  lag: Lag;
  deadLetters: string;
};
type Page = { consumers: Consumer[]; next: string | null };

let names = 0;
async function newSubscription(configuration: Record<string, unknown> = {}, count = 0) {
  const name = `sub-${++names}`;
  const stream = `stream-${names}`;
  const positions = count > 0 ? await fill(stream, count) : [];
  const answer = await put(`${service.url}/api/subscriptions/${name}`, { stream, from: "beginning", ...configuration });
  expect(answer.status).toBe(201);
  return { name, stream, source: subscription(service.url, name), positions };
}

/** Appends events of the types Even and Odd in turn; returns their positions. */
async function fill(stream: string, count: number): Promise<number[]> {
  const events = Array.from({ length: count }, (_, n) => ({ type: n % 2 === 0 ? "Even" : "Odd", data: { n } }));
  const { lastPosition } = (await append(service.url, stream, events)).body;
  return events.map((_, i) => Number(lastPosition) - count + 1 + i);
}

const get = async ({ url }: Source, consumer: string) => (await send<Consumer>(`${url}/consumers/${consumer}`)).body;
const lagOf = async ({ url }: Source) => (await send<{ lag: Lag }>(url)).body.lag;
const reset = (url: string, to: string) => post(`${url}/reset-offset`, { to });

test("a consumer is registered with metadata, described, heard of and removed", async () => {
  const { source, positions } = await newSubscription({}, 3);
  const created = await put<Consumer>(`${source.url}/consumers/a@host`, { metadata: { host: "x" } });
  expect(created.status).toBe(201);
  expect(created.body).toEqual({
    consumer: "a@host",
    member: true,
    metadata: { host: "x" },
    registeredAt: expect.any(String),
    lastSeenAt: expect.any(String),
    position: "-1",
    floor: "-1",
    inFlight: "0",
    waiting: "0",
    setAside: false,
    lag: { events: "3", atLeast: false, seconds: expect.any(Number) },
    deadLetters: "0",
  });
  const again = await put<Consumer>(`${source.url}/consumers/a@host`, { metadata: { host: "y" } });
  expect([again.status, again.body.metadata, again.body.registeredAt]).toEqual([
    200,
    { host: "y" },
    created.body.registeredAt,
  ]);
  const held = await claim(source, { consumer: "a@host", max: 2 });
  const described = await get(source, "a@host");
  expect([described.position, described.floor, described.inFlight, described.lag.events]).toEqual([
    String(positions[1]),
    String((positions[0] as number) - 1),
    "2",
    "3",
  ]);
  await ack(source, [tokens(held)[0] as string]);
  expect((await get(source, "a@host")).floor).toBe(String(positions[0]));
  const beat = await post(`${source.url}/consumers/a@host/heartbeat`);
  expect([beat.status, beat.text]).toEqual([204, ""]);
  const seen = await get(source, "a@host");
  expect(Date.parse(seen.lastSeenAt as string)).toBeGreaterThanOrEqual(Date.parse(described.lastSeenAt as string));
  expect((await send(`${source.url}/consumers/a@host`, { method: "DELETE" })).status).toBe(204);
  for (const [path, method] of [
    ["", "GET"],
    ["", "DELETE"],
    ["/heartbeat", "POST"],
  ] as const)
    expectProblem(await send(`${source.url}/consumers/a@host${path}`, { method }), 404, "consumer-not-found");
  // Its cursor is forgotten with it.
  expect(offsets(await claim(source, { consumer: "a@host", max: 10 }))).toEqual([0, 1, 2]);
});

test("a heartbeat keeps a silent member, what it holds and its keys; without one both go to others", async () => {
  const { source, stream } = await newSubscription({ mode: "consumer-group", consumerTimeout: "1s" });
  for (const consumer of ["steady", "silent"]) await put(`${source.url}/consumers/${consumer}`);
  const keys = Array.from({ length: 40 }, (_, n) => ({ type: "A", partitionkey: `k-${n}` }));
  await append(service.url, stream, keys);
  const steady = await claim(source, { consumer: "steady", max: 100 });
  const silent = await claim(source, { consumer: "silent", max: 100 });
  expect([steady.length > 0, silent.length > 0, steady.length + silent.length]).toEqual([true, true, 40]);
  await put(`${source.url}/consumers/third`);
  const taken: number[] = [];
  const take = async (consumer: string) => {
    taken.push(...offsets(await claim(source, { consumer, max: 100 })));
    return taken.length;
  };
  await until("what the silent one held goes to the third", async () => {
    expect((await post(`${source.url}/consumers/steady/heartbeat`)).status).toBe(204);
    return (await take("third")) > 0;
  });
  await until("and the rest of it to those who are there", async () => {
    await take("third");
    return (await take("steady")) === silent.length;
  });
  expect(taken.filter((offset) => offsets(steady).includes(offset))).toEqual([]);
  expect([...taken].sort((a, b) => a - b)).toEqual(offsets(silent).sort((a, b) => a - b));
  expect(await ack(source, tokens(steady))).toEqual(steady.map(() => "settled"));
  expect(await ack(source, tokens(silent))).toEqual(silent.map(() => "stale"));
  expect((await get(source, "steady")).member).toBe(true);
  // Of who is no member any more nothing is heard.
  expectProblem(await post(`${source.url}/consumers/nobody/heartbeat`), 404, "consumer-not-found");
});

test("what a removed consumer held goes to another one at once", async () => {
  const { source } = await newSubscription({ mode: "exclusive", backoff: { initial: "1h", max: "1h" } }, 2);
  const held = await claim(source, { consumer: "a", max: 2, visibilityTimeout: "1h" });
  const waiting = claim(source, { consumer: "b", max: 2, wait: "30s" });
  await send(`${source.url}/consumers/a`, { method: "DELETE" });
  expect(offsets(await waiting)).toEqual([0, 1]);
  expect(await ack(source, tokens(held))).toEqual(["stale", "stale"]);
});

test("no more consumers are registered than are allowed", async () => {
  const { source } = await newSubscription({ maxConsumers: 1 });
  expect((await put(`${source.url}/consumers/a`)).status).toBe(201);
  expectProblem(await put(`${source.url}/consumers/b`), 409, "too-many-consumers");
  expect((await put(`${source.url}/consumers/a`)).status).toBe(200);
  expectProblem(await send(`${source.url}/consumers/b`), 404, "consumer-not-found");
});

test("a new consumer begins where it wants to; one that has a cursor goes on where that stands", async () => {
  const { source, positions } = await newSubscription({}, 4);
  expect((await put<Consumer>(`${source.url}/consumers/a`, { from: "2" })).body.position).toBe(String(positions[1]));
  await put(`${source.url}/consumers/a`, { from: "beginning" });
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([2, 3]);
  await put(`${source.url}/consumers/b`, { from: "latest" });
  expect(await claim(source, { consumer: "b", max: 10 })).toEqual([]);
  expectProblem(await put(`${source.url}/consumers/c`, { from: "99" }), 409, "cursor-beyond-head");
  expectProblem(await put(`${source.url}/consumers/c`, { from: "soon" }), 400, "invalid-place");
  expectProblem(await send(`${source.url}/consumers/c`), 404, "consumer-not-found");
  const { source: shared } = await newSubscription({ mode: "exclusive" });
  expectProblem(await put(`${shared.url}/consumers/a`, { from: "latest" }), 422, "invalid-request");
});

test("consumers are listed page by page; one that fell silent is shown by its cursor alone", async () => {
  const { source } = await newSubscription({ consumerTimeout: "1s" }, 2);
  await claim(source, { consumer: "silent", max: 1 });
  await until("it fell silent", async () => !(await get(source, "silent")).member);
  for (const name of ["c", "a", "b"]) await put(`${source.url}/consumers/${name}`);
  const first = (await send<Page>(`${source.url}/consumers?limit=3`)).body;
  expect(first.consumers.map((c) => c.consumer)).toEqual(["a", "b", "c"]);
  const second = (await send<Page>(`${service.url}${first.next}`)).body;
  expect(second.next).toBeNull();
  expect(second.consumers).toMatchObject([
    {
      consumer: "silent",
      member: false,
      metadata: {},
      registeredAt: null,
      lastSeenAt: null,
      inFlight: "0",
      lag: { events: "2" },
    },
  ]);
  // It comes back to its own place.
  expect((await put(`${source.url}/consumers/silent`)).status).toBe(201);
  expect(offsets(await claim(source, { consumer: "silent", max: 10, wait: "20s" }))).toContain(1);
});

test("consumers that share a cursor are told apart by what they hold", async () => {
  const { source } = await newSubscription({ mode: "exclusive", maxAttempts: 1 }, 5);
  const held = await claim(source, { consumer: "a", max: 3 });
  await claim(source, { consumer: "b", max: 1 });
  await nack(source, [tokens(held)[0] as string]);
  const { consumers } = (await send<Page>(`${source.url}/consumers`)).body;
  expect(consumers.map((c) => [c.consumer, c.inFlight, c.deadLetters, c.lag.events])).toEqual([
    ["a", "2", "1", "4"],
    ["b", "1", "0", "4"],
  ]);
});

test("the lag counts what matches and is not settled, and says how old it is", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive" }, 4);
  const held = await claim(source, { max: 3 });
  expect((await lagOf(source)).events).toBe("4");
  await ack(source, tokens(held));
  expect((await lagOf(source)).events).toBe("1");
  const rest = await claim(source, { max: 3 });
  await until("the rest has aged", async () => (await lagOf(source)).seconds > 0.05);
  await ack(source, tokens(rest));
  expect(await lagOf(source)).toEqual({ events: "0", atLeast: false, seconds: 0 });
  const { source: filtered } = await newSubscription({ stream, types: ["Even"], where: "$.n > 0" });
  expect(await lagOf(filtered)).toMatchObject({ events: "1", atLeast: false });
  await append(service.url, `${stream}-c`, { type: "A", correlationid: "lag-c", data: 1 });
  await put(`${service.url}/api/subscriptions/lag-c`, { correlation: "lag-c", from: "beginning" });
  expect((await lagOf(subscription(service.url, "lag-c"))).events).toBe("1");
});

test("a filter that would have to look at many events gives a lower bound", async () => {
  const { source, stream } = await newSubscription({ types: ["Odd"], from: "beginning" });
  for (let i = 0; i < 11; i++) await fill(stream, 500);
  const lag = await lagOf(source);
  expect(lag).toMatchObject({ events: "2500", atLeast: true });
  expect((await put<Consumer>(`${source.url}/consumers/a`)).body.lag).toMatchObject({ events: "2500", atLeast: true });
});

test("a cursor is moved back: all is handed out again as if for the first time, and older tokens are stale", async () => {
  const { source, positions } = await newSubscription({ mode: "exclusive", backoff: { initial: "0s", max: "0s" } }, 4);
  const [one, two, three] = await claim(source, { consumer: "a", max: 3 });
  await ack(source, [one?.token as string]);
  await nack(source, [two?.token as string], { delay: "1h" });
  const answer = await post<{ floor: string; inFlight: string; waiting: string; lag: Lag }>(
    `${source.url}/reset-offset`,
    { to: "1" },
  );
  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ floor: String(positions[0]), inFlight: "0", waiting: "0", lag: { events: "3" } });
  const again = await claim(source, { consumer: "b", max: 10 });
  expect(again.map((d) => [Number(d.event.offset), d.attempt])).toEqual([
    [1, 1],
    [2, 1],
    [3, 1],
  ]);
  expect(await ack(source, [two?.token as string, three?.token as string])).toEqual(["stale", "stale"]);
  expect(await ack(source, tokens(again))).toEqual(Array(3).fill("settled"));
});

test("a cursor is moved forward over what it has not handed out, never beyond the head", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive" }, 4);
  await claim(source, { max: 1 });
  expect((await reset(source.url, "3")).status).toBe(200);
  expect(offsets(await claim(source, { max: 10 }))).toEqual([3]);
  expectProblem(await reset(source.url, "99"), 409, "cursor-beyond-head");
  await reset(source.url, "latest");
  expect(await claim(source, { max: 10 })).toEqual([]);
  const waiting = claim(source, { max: 10, wait: "30s" });
  await fill(stream, 1);
  expect(offsets(await waiting)).toEqual([4]);
  await put(`${service.url}/api/subscriptions/${stream}-two`, { streams: [stream, `${stream}-b`], mode: "exclusive" });
  expectProblem(await reset(`${service.url}/api/subscriptions/${stream}-two`, "99999999"), 409, "cursor-beyond-head");
});

test("whoever waits at a cursor is handed out what a reset brings back", async () => {
  const { source } = await newSubscription({ mode: "exclusive" }, 3);
  await ack(source, tokens(await claim(source, { max: 3 })));
  const waiting = claim(source, { max: 10, wait: "30s" });
  await reset(source.url, "beginning");
  expect(offsets(await waiting)).toEqual([0, 1, 2]);
});

test("each consumer of a broadcast has its cursor moved by itself", async () => {
  const { source } = await newSubscription({}, 3);
  for (const consumer of ["a", "b"]) await ack(source, tokens(await claim(source, { consumer, max: 3 })));
  const answer = await post<Consumer>(`${source.url}/consumers/a/reset-offset`, { to: "1" });
  expect(answer.body).toMatchObject({ consumer: "a", lag: { events: "2" } });
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([1, 2]);
  expect(await claim(source, { consumer: "b", max: 10 })).toEqual([]);
  expectProblem(await reset(`${source.url}/consumers/nobody`, "0"), 404, "consumer-not-found");
  expectProblem(await reset(source.url, "0"), 409, "cursor-elsewhere");
  const { source: shared } = await newSubscription({ mode: "exclusive" }, 1);
  await claim(shared, { consumer: "a" });
  expectProblem(await reset(`${shared.url}/consumers/a`, "0"), 409, "cursor-elsewhere");
});

test("resets amid claims and acknowledgements never leave two valid tokens for one event", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive" }, 200);
  const sql = openSql(service.databaseUrl);
  let resets = 0;
  const worker = async (consumer: string) => {
    while (resets < 20) {
      const got = await claim(source, { consumer, max: 7 });
      if (got.length > 0) await ack(source, tokens(got).slice(0, 5));
    }
  };
  const resetter = async () => {
    for (; resets < 20; resets++) {
      await reset(source.url, String(resets * 3));
      const twice = await sql`
        select p from deliveries d join subscription_cursors k on k.id = d.cursor_id join subscription_streams t using (subscription_id),
          unnest(d.positions) p where t.stream = ${stream} group by p having count(*) > 1`;
      expect([...twice]).toEqual([]);
    }
  };
  await Promise.all([worker("a"), worker("b"), resetter()]);
  await sql.end();
  await reset(source.url, "190");
  expect(offsets(await claim(source, { max: 100 }))).toEqual([190, 191, 192, 193, 194, 195, 196, 197, 198, 199]);
});

test("a reset of a group lets paused keys go on, in the order of the log", async () => {
  const { source, stream } = await newSubscription({ mode: "consumer-group" });
  await append(
    service.url,
    stream,
    [1, 2, 3].map((data) => ({ type: "A", partitionkey: "k", data })),
  );
  const [first] = await claim(source, { consumer: "a", max: 10 });
  await nack(source, [first?.token as string], { action: "dead-letter" });
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
  await reset(source.url, "1");
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([1, 2]);
});

test("a reset forgets what is unread, and what was read or marked as processed behind the place", async () => {
  const { source } = await newSubscription({ mode: "read-receipt", delivery: "at-least-once" }, 4);
  const unread = async () => (await send<{ count: string }>(`${source.url}/consumers/a/unread`)).body.count;
  await ack(source, tokens(await claim(source, { consumer: "a", max: 2 })));
  await post(`${source.url}/consumers/a/read`, { all: true });
  expect(await unread()).toBe("0");
  await reset(`${source.url}/consumers/a`, "1");
  expect(await unread()).toBe("3");
  const again = await claim(source, { consumer: "a", max: 10 });
  expect(offsets(again)).toEqual([1, 2, 3]);
  await ack(source, tokens(again));
  await reset(`${source.url}/consumers/a`, "latest");
  expect(await unread()).toBe("0");
  const { source: exact } = await newSubscription({ mode: "exclusive" }, 1);
  const mark = async () => {
    const [got] = await claim(exact, { consumer: "a" });
    const marked = await put(`${exact.url}/consumers/a/processed/${got?.event.id}`, { token: got?.token });
    await ack(exact, [got?.token as string]);
    return marked.status;
  };
  const first = await mark();
  await reset(exact.url, "beginning");
  expect([first, await mark()]).toEqual([201, 201]);
});

test("a reset that meets settlements in another order is done all the same", async () => {
  const { source, name } = await newSubscription({ mode: "exclusive" }, 2);
  await claim(source, { max: 1, visibilityTimeout: "1m" });
  await claim(source, { max: 1, visibilityTimeout: "2m" });
  const sql = openSql(service.databaseUrl);
  let done: Promise<{ status: number }> = Promise.resolve({ status: 0 });
  await sql.begin(async (other) => {
    // It is the service that notices the deadlock, and is broken off.
    await other`set local deadlock_timeout = '1min'`;
    const leases = await other<{ cursor_id: string; step: string }[]>`
      select d.cursor_id, d.step from deliveries d join subscription_cursors k on k.id = d.cursor_id
        join subscriptions s on s.id = k.subscription_id where s.name = ${name} order by d.due`;
    const [first, second] = leases as unknown as [(typeof leases)[0], (typeof leases)[0]];
    await other`select from deliveries where cursor_id = ${second.cursor_id} and step = ${second.step} for update`;
    done = reset(source.url, "beginning");
    await until("it waits", async () => {
      const [row] = await sql`select count(*)::int as n from pg_locks where not granted`;
      return row?.n === 1;
    });
    // Each waits for the other now.
    await other`select from deliveries where cursor_id = ${first.cursor_id} and step = ${first.step} for update`;
  });
  expect((await done).status).toBe(200);
  await sql.end();
  expect(offsets(await claim(source, { max: 10 }))).toEqual([0, 1]);
});

test("requests that are not what they should be are told so", async () => {
  const { source } = await newSubscription();
  expectProblem(await send(`${source.url}/consumers/a%20b`), 400, "invalid-parameter");
  expectProblem(await send(`${source.url}/consumers?limit=0`), 400, "invalid-parameter");
  expectProblem(await put(`${source.url}/consumers/a`, { colour: "red" }), 422, "invalid-request");
  expectProblem(
    await put(`${source.url}/consumers/a`, { metadata: { t: "x".repeat(20_000) } }),
    422,
    "invalid-request",
  );
  expectProblem(await post(`${source.url}/reset-offset`, {}), 422, "invalid-request");
  expectProblem(await send(`${service.url}/api/subscriptions/none/consumers`), 404, "subscription-not-found");
});
