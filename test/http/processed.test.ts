// Exactly-once: an event is marked as processed once, by who holds it, and what is marked is never handed out again.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, type ProblemBody, send } from "../support/client.ts";
import {
  ack,
  claim,
  type Delivery,
  nack,
  offsets,
  post,
  put,
  queue,
  type Source,
  subscription,
} from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type Service, spawnService, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

type Mark = { processed: true; eventId: string; consumer: string; at: string };

let names = 0;
async function work(count: number, configuration: Record<string, unknown> = {}, base = service.url) {
  const stream = `work-${++names}`;
  await put(`${base}/api/streams/${stream}`, { delivery: "exactly-once" });
  const source = subscription(base, `once-${names}`);
  const answer = await put(source.url, {
    stream,
    mode: "exclusive",
    delivery: "exactly-once",
    from: "beginning",
    ...configuration,
  });
  if (answer.status !== 201) throw new Error(answer.text);
  await append(
    base,
    stream,
    Array.from({ length: count }, (_, n) => ({ id: `job-${n}`, type: "Job", partitionkey: "k", data: { n } })),
  );
  return { stream, source };
}
const markUrl = ({ url }: Source, consumer: string, id: string) =>
  `${url}/consumers/${consumer}/processed/${encodeURIComponent(id)}`;
const mark = (source: Source, consumer: string, { event, token }: Delivery, id = event.id) =>
  put<Mark>(markUrl(source, consumer, id), { token });
const take = async (source: Source, body: Record<string, unknown> = {}) => {
  const [delivery] = await claim(source, { consumer: "a", max: 1, wait: "20s", ...body });
  if (delivery === undefined) throw new Error("nothing was handed out");
  return delivery;
};
/** Waits until nothing is out and nothing waits, which somebody's claim brings about. */
const settledAll = (source: Source) =>
  until("nothing is out", async () => {
    expect(await claim(source, { consumer: "b", max: 10 })).toEqual([]);
    const { inFlight, waiting } = (await send<{ inFlight: string; waiting: string }>(source.url)).body;
    return inFlight === "0" && waiting === "0";
  });

test("an event is marked once, the same delivery may say so again, and it can be asked for", async () => {
  const { source } = await work(1);
  const delivery = await take(source);
  expectProblem(await send(markUrl(source, "a", "job-0")), 404, "not-processed");
  const first = await mark(source, "a", delivery);
  expect(first.status).toBe(201);
  expect(first.body).toMatchObject({ processed: true, eventId: "job-0", consumer: "a" });
  const again = await mark(source, "a", delivery);
  expect([again.status, again.body]).toEqual([200, first.body]);
  // The cursor is of all consumers: each of them can see it.
  for (const consumer of ["a", "b"])
    expect((await send<Mark>(markUrl(source, consumer, "job-0"))).body).toEqual(first.body);
  expect(await ack(source, [delivery.token])).toEqual(["settled"]);
  expect((await mark(source, "a", delivery)).status).toBe(200);
});

test("a token of another consumer, another event, another subscription, or of nobody marks nothing", async () => {
  const { source } = await work(2);
  const { source: other } = await work(1);
  const [one, two] = (await claim(source, { consumer: "a", max: 2 })) as [Delivery, Delivery];
  const foreign = await take(other);
  const refused = [
    mark(source, "b", one),
    mark(source, "a", two, "job-0"),
    mark(source, "a", foreign),
    put(markUrl(source, "a", "job-0"), { token: "nonsense" }),
    put(markUrl(source, "a", "job-0"), { token: one.token.replace(/\.([\w-]{20})\./, ".AAAAAAAAAAAAAAAAAAAA.") }),
  ];
  for (const answer of await Promise.all(refused)) expectProblem(answer, 409, "stale-token");
  for (const id of ["job-0", "job-1"]) expectProblem(await send(markUrl(source, "a", id)), 404, "not-processed");
  expect((await mark(source, "a", one)).status).toBe(201);
  expectProblem(await mark(source, "b", one), 409, "stale-token");
});

test("a zombie whose event has gone to another marks nothing, also when the other has marked it", async () => {
  const { source } = await work(1);
  const zombie = await take(source, { visibilityTimeout: "100ms" });
  const holder = await take(source, { consumer: "b" });
  expect(holder.event.id).toBe(zombie.event.id);
  expectProblem(await mark(source, "a", zombie), 409, "stale-token");
  expect((await mark(source, "b", holder)).status).toBe(201);
  expectProblem(await mark(source, "a", zombie), 409, "already-processed");
  expect(await ack(source, [holder.token])).toEqual(["settled"]);
});

test("an event that was settled without a mark cannot be marked any more", async () => {
  const { source } = await work(1);
  const delivery = await take(source);
  await ack(source, [delivery.token]);
  expectProblem(await mark(source, "a", delivery), 409, "stale-token");
});

test("a marked event whose consumer dies before it acknowledges is settled, not handed out again", async () => {
  const { source } = await work(3);
  const held = await claim(source, { consumer: "a", max: 3, visibilityTimeout: "100ms" });
  expect((await mark(source, "a", held[1] as Delivery)).status).toBe(201);
  const again = await claim(source, { consumer: "b", max: 3, wait: "20s" });
  expect(offsets(again)).toEqual([0, 2]);
  await ack(
    source,
    again.map((d) => d.token),
  );
  await settledAll(source);
  expect((await send<{ deadLetters: string }>(source.url)).body.deadLetters).toBe("0");
});

test("the last attempt of a marked event makes no dead letter of it", async () => {
  const { source } = await work(1, { maxAttempts: 1 });
  const delivery = await take(source, { visibilityTimeout: "100ms" });
  await mark(source, "a", delivery);
  await settledAll(source);
  expect((await send<{ deadLetters: string }>(source.url)).body.deadLetters).toBe("0");
});

test("a marked event that is given back does not come again, unless it is to be a dead letter", async () => {
  const { source } = await work(2, { backoff: { initial: "0s", max: "0s" } });
  const [one, two] = (await claim(source, { consumer: "a", max: 2 })) as [Delivery, Delivery];
  await mark(source, "a", one);
  await mark(source, "a", two);
  expect(await nack(source, [one.token])).toEqual(["settled"]);
  expect(await nack(source, [two.token], { action: "dead-letter" })).toEqual(["settled"]);
  await settledAll(source);
  expect((await send<{ deadLetters: string }>(source.url)).body.deadLetters).toBe("1");
});

test("what a silent consumer has marked is settled, and the rest goes to others", async () => {
  const { source } = await work(2, { consumerTimeout: "1s" });
  const [one] = (await claim(source, { consumer: "a", max: 2 })) as [Delivery, Delivery];
  await mark(source, "a", one);
  const again = await take(source, { consumer: "b", wait: "30s" });
  expect(again.event.id).toBe("job-1");
});

test("a marked event of a group is not handed out again when an earlier one of its key fails", async () => {
  const { source } = await work(3, { mode: "consumer-group", backoff: { initial: "0s", max: "0s" } });
  const held = await claim(source, { consumer: "a", max: 3, wait: "20s" });
  expect(offsets(held)).toEqual([0, 1, 2]);
  expect((await mark(source, "a", held[1] as Delivery)).status).toBe(201);
  await nack(source, [held[0]?.token as string]);
  const seen: number[] = [];
  while (seen.length < 2) {
    const next = await claim(source, { consumer: "a", max: 1, wait: "20s" });
    seen.push(...offsets(next));
    await ack(
      source,
      next.map((d) => d.token),
    );
  }
  expect(seen).toEqual([0, 2]);
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
});

test("an event that a read-receipt consumer has marked and not acknowledged is delivered, and unread", async () => {
  const { source } = await work(1, { mode: "read-receipt" });
  const delivery = await take(source, { visibilityTimeout: "100ms" });
  await mark(source, "a", delivery);
  await until("it is not out any more", async () => {
    expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
    return (await send<{ inFlight: string }>(source.url)).body.inFlight === "0";
  });
  expect((await send<{ count: string }>(`${source.url}/consumers/a/unread?count=true`)).body.count).toBe("1");
});

test("it is never settled by being sent: ack=auto is refused", async () => {
  const { source, stream } = await work(1);
  const events = await send(`${source.url}/events?consumer=a&ack=auto`);
  expect(expectProblem(events, 422, "invalid-request").errors).toEqual([
    { path: "", message: expect.stringContaining("explicit acknowledgements only") },
  ]);
  const live = `${service.url}/api/live/${crypto.randomUUID()}/subscriptions/${source.url.split("/").at(-1)}`;
  expectProblem(await put(`${live}?ack=auto`), 400, "invalid-parameter");
  // Neither has handed out anything; and one that is at-least-once when it is added settles nothing when it is exactly-once later.
  const loose = subscription(service.url, `${stream}-loose`);
  await put(loose.url, { stream, mode: "exclusive", delivery: "at-least-once" });
  const id = crypto.randomUUID();
  const flowing = await openEventStream(`${service.url}/api/live/${id}`);
  expect((await put(`${service.url}/api/live/${id}/subscriptions/${stream}-loose?ack=auto`)).status).toBe(201);
  await put(loose.url, { stream, mode: "exclusive", delivery: "exactly-once" });
  await append(service.url, stream, { type: "Job", data: {} });
  await flowing.until("it has come", () => flowing.events().length === 1);
  expect(await ack(loose, [String(flowing.events()[0]?.deliverytoken)])).toEqual(["settled"]);
  flowing.close();
  expect(offsets(await claim(source, { consumer: "b", max: 5 }))).toEqual([0, 1]);
});

test("ids of any form can be marked", async () => {
  const { source, stream } = await work(0);
  const id = "a/b c?d#e%2F ü";
  await append(service.url, stream, { id, type: "Job", data: 1 });
  const delivery = await take(source);
  expect((await mark(source, "a", delivery)).body.eventId).toBe(id);
  expect((await send<Mark>(markUrl(source, "a", id))).body.eventId).toBe(id);
});

test("of many who mark at the same time one is the first", async () => {
  const { source } = await work(1);
  const delivery = await take(source);
  const answers = await Promise.all(Array.from({ length: 8 }, () => mark(source, "a", delivery)));
  expect(answers.map((answer) => answer.status).sort()).toEqual([...Array(7).fill(200), 201]);
});

test("a mark that races with the end of its lease is refused, or the event does not come again", async () => {
  const { source } = await work(30);
  const held = await claim(source, { consumer: "a", max: 30, visibilityTimeout: "150ms" });
  const marked = new Set<string>();
  const again: string[] = [];
  await Promise.all([
    ...held.map(async (delivery, n) => {
      await new Promise((resolve) => setTimeout(resolve, 120 + n * 2));
      if ((await mark(source, "a", delivery)).status === 201) marked.add(delivery.event.id);
    }),
    (async () => {
      const deadline = Date.now() + 400;
      while (Date.now() < deadline)
        for (const delivery of await claim(source, { consumer: "b", max: 30, wait: "50ms" })) {
          again.push(delivery.event.id);
          await ack(source, [delivery.token]);
        }
    })(),
  ]);
  for (const delivery of await claim(source, { consumer: "b", max: 30 })) again.push(delivery.event.id);
  expect(again.filter((id) => marked.has(id))).toEqual([]);
  expect(new Set([...again, ...marked]).size).toBe(30);
});

test("a mark outlives a service that is killed", async () => {
  const env = { DATABASE_URL: await createTestDatabase(), LOG_LEVEL: "info" };
  const first = await spawnService(env);
  const { source } = await work(2, {}, first.url);
  const held = await claim(source, { consumer: "a", max: 2, visibilityTimeout: "300ms" });
  expect((await mark(source, "a", held[0] as Delivery)).status).toBe(201);
  first.kill("SIGKILL");
  await first.exited;
  const second = await spawnService(env);
  try {
    const again = subscription(second.url, source.url.split("/").at(-1) as string);
    expect((await send<Mark>(markUrl(again, "a", "job-0"))).status).toBe(200);
    expect(offsets(await claim(again, { consumer: "b", max: 2, wait: "20s" }))).toEqual([1]);
    expect((await mark(again, "a", held[0] as Delivery)).status).toBe(200);
  } finally {
    second.kill("SIGTERM");
    await second.exited;
  }
});

test("marks are forgotten after their window, but not before their leases", async () => {
  const own = await startService({ PROCESSED_WINDOW: "1s" });
  const { source } = await work(2, {}, own.url);
  const [acknowledged, held] = (await claim(source, { consumer: "a", max: 2, visibilityTimeout: "1h" })) as [
    Delivery,
    Delivery,
  ];
  await mark(source, "a", acknowledged);
  await mark(source, "a", held);
  await ack(source, [acknowledged.token]);
  await until("the first is forgotten", async () => (await send(markUrl(source, "a", "job-0"))).status === 404);
  expect((await send(markUrl(source, "a", "job-1"))).status).toBe(200);
  const sql = openSql(own.databaseUrl);
  await sql`update deliveries set due = clock_timestamp()`;
  await sql.end();
  await settledAll(source);
  await until("the other is forgotten", async () => (await send(markUrl(source, "a", "job-1"))).status === 404);
  await own.stop();
});

test("a request that is not as it should be says what is wrong", async () => {
  const { source } = await work(0);
  expectProblem(await put(markUrl(source, "a", "x"), {}), 422, "invalid-request");
  expectProblem(await send(markUrl(source, "a", "x\u0001")), 400, "invalid-parameter");
  expectProblem(await send(markUrl(source, "a b", "x")), 400, "invalid-parameter");
  expectProblem(
    await post(`${service.url}/api/subscriptions/nowhere/consumers/a/processed/x`, { token: "x" }, "PUT"),
    404,
    "subscription-not-found",
  );
});

async function queueOf(count: number, configuration: Record<string, unknown> = {}) {
  const name = `marked-queue-${++names}`;
  await put(`${service.url}/api/streams/${name}`, {
    type: "ephemeral",
    delivery: "exactly-once",
    backoff: { initial: "0s", max: "0s" },
    ...configuration,
  });
  await append(
    service.url,
    name,
    Array.from({ length: count }, (_, n) => ({ id: `job-${n}`, type: "Job", data: { n } })),
  );
  return { name, source: queue(service.url, name) };
}

test("a queue has marks as a subscription has: once, asked for by anybody, refused without its lease", async () => {
  const { source } = await queueOf(2);
  const { source: other } = await queueOf(1);
  const [one, two] = (await claim(source, { consumer: "a", max: 2 })) as [Delivery, Delivery];
  const foreign = await take(other);
  expectProblem(await send(markUrl(source, "a", "job-0")), 404, "not-processed");
  const first = await mark(source, "a", one);
  expect(first.status).toBe(201);
  expect(first.body).toMatchObject({ processed: true, eventId: "job-0", consumer: "a" });
  expect((await mark(source, "a", one)).status).toBe(200);
  for (const consumer of ["a", "b"])
    expect((await send<Mark>(markUrl(source, consumer, "job-0"))).body).toEqual(first.body);
  for (const answer of await Promise.all([
    mark(source, "b", two),
    mark(source, "a", two, "job-0"),
    mark(source, "a", foreign),
    put(markUrl(source, "a", "job-1"), { token: "nonsense" }),
  ]))
    expectProblem(answer, 409, "stale-token");
  expect(await ack(source, [one.token])).toEqual(["settled"]);
  expect((await mark(source, "a", one)).status).toBe(200);
});

test("what is marked of a queue never comes again, whether its lease runs out or it is given back", async () => {
  const { source } = await queueOf(3, { maxAttempts: 1 });
  const held = (await claim(source, { consumer: "a", max: 3, visibilityTimeout: "1s" })) as [
    Delivery,
    Delivery,
    Delivery,
  ];
  await mark(source, "a", held[0]);
  await mark(source, "a", held[1]);
  expect(await nack(source, [held[0].token])).toEqual(["settled"]);
  await until("only the one without a mark is given up", async () => {
    const { pending, deadLetters } = (await send<{ pending: string; deadLetters: string }>(source.url)).body;
    return pending === "0" && deadLetters === "1";
  });
  const { deadLetters } = (await send<{ deadLetters: { event: { id: string } }[] }>(`${source.url}/dead-letters`)).body;
  expect(deadLetters.map(({ event }) => event.id)).toEqual(["job-2"]);
});

test("a zombie of a queue is told that somebody else was there, and where", async () => {
  const { name, source } = await queueOf(1);
  const zombie = await take(source, { visibilityTimeout: "100ms" });
  const holder = await take(source, { consumer: "b" });
  expect((await mark(source, "b", holder)).status).toBe(201);
  const refused = await mark(source, "a", zombie);
  expectProblem(refused, 409, "already-processed");
  expect(refused.body).toMatchObject({ stream: name, eventId: "job-0" });
});

test("asking for a mark is no use of a queue, and a stream that is none says so", async () => {
  const { source, name } = await queueOf(1);
  const unknown = await send<ProblemBody>(markUrl(source, "a", "job-0"));
  expectProblem(unknown, 404, "not-processed");
  expect(unknown.body).toMatchObject({ stream: name, eventId: "job-0" });
  expectProblem(await put(markUrl(source, "a", "job-0"), { token: "x" }), 409, "stale-token");
  expectProblem(await put(markUrl(source, "a", "job-0"), {}), 422, "invalid-request");
  const sql = openSql(service.databaseUrl);
  expect(await sql`select from subscriptions where queue_of = ${name}`).toHaveLength(0);
  await sql.end();
  const { stream } = await work(0);
  await put(`${service.url}/api/streams/${stream}`, {});
  expectProblem(await send(markUrl(queue(service.url, stream), "a", "x")), 409, "not-a-queue");
  expectProblem(await send(markUrl(queue(service.url, "nowhere"), "a", "x")), 404, "stream-not-found");
});
