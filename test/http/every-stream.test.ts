// Subscriptions to all persistent streams: by type, whatever streams there are and come to be.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { ack, claim, type Delivery, nack, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let service: Service;
let other: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  other = await startService({ DATABASE_URL: service.databaseUrl });
  url = `${service.url}/api/subscriptions`;
  await put(`${service.url}/api/streams/passing`, { type: "ephemeral" });
});
afterAll(async () => {
  await other.stop();
  await service.stop();
});

const modes = ["broadcast", "exclusive", "consumer-group", "read-receipt"] as const;
let names = 0;
/** Types of its own, and a subscription to them. */
function newKind() {
  const kind = ++names;
  const opened = `Opened${kind}`;
  const closed = `Closed${kind}`;
  const emit = (stream: string, type: string, n: number) => append(service.url, stream, { type, data: { n } });
  const emitSome = async () => {
    await emit(`cart-${kind}-${++names}`, opened, 1);
    await emit(`cart-${kind}`, `Filled${kind}`, 2);
    await emit(`cart-${kind}-${++names}`, opened, 3);
    await emit("passing", opened, 4);
    await emit(`cart-${kind}`, closed, 5);
  };
  const subscribe = async (configuration: Record<string, unknown> = {}) => {
    const name = `every-${++names}`;
    const body = { stream: "*", types: [opened, closed], from: "beginning", ...configuration };
    const answer = await put<Record<string, unknown>>(`${url}/${name}`, body);
    expect(answer.status).toBe(201);
    return { name, answer, source: subscription(service.url, name), there: subscription(other.url, name) };
  };
  return { opened, closed, emit, emitSome, subscribe };
}
const numbers = (deliveries: Delivery[]) => deliveries.map(({ event }) => (event.data as { n: number }).n);
type Described = { position: string; floor: string; lag: { events: string; atLeast: boolean }; streams: unknown };
const described = async (name: string) => (await send<Described>(`${url}/${name}`)).body;

test("in every mode it hands out what came before it, and what comes after it, of persistent streams and its types", async () => {
  for (const mode of modes) {
    const { emitSome, subscribe } = newKind();
    await emitSome();
    const { source } = await subscribe({ mode });
    const before = await claim(source, { consumer: "a", max: 100 });
    expect([mode, numbers(before)]).toEqual([mode, [1, 3, 5]]);
    await ack(source, tokens(before));
    const waiting = claim(source, { consumer: "a", max: 100, wait: "30s" });
    await emitSome();
    const after = await waiting;
    while (after.length < 3) after.push(...(await claim(source, { consumer: "a", max: 100, wait: "30s" })));
    expect([mode, numbers(after)]).toEqual([mode, [1, 3, 5]]);
  }
});

test("it says what it is, by either key, and refuses other streams beside", async () => {
  const { opened, subscribe } = newKind();
  const { answer } = await subscribe();
  expect(answer.body).toMatchObject({ streams: ["*"], correlation: null });
  expect((await subscribe({ stream: undefined, streams: ["*"] })).answer.body).toMatchObject({ streams: ["*"] });
  for (const body of [
    { streams: ["*", "orders"] },
    { stream: "*", correlation: "c" },
    { stream: "cart-*" },
    { stream: "*", delivery: "exactly-once" },
  ])
    expectProblem(await put(`${url}/refused`, { types: [opened], ...body }), 422, "invalid-configuration");
});

test("it follows by event stream, and a predicate narrows it, for history as for what comes", async () => {
  const { emitSome, subscribe } = newKind();
  await emitSome();
  const { name } = await subscribe({ mode: "exclusive", where: "$.n > 1" });
  const consumer = await openEventStream(`${url}/${name}/events?consumer=a`);
  await consumer.until("history has come", () => consumer.events().length === 2);
  await emitSome();
  await consumer.until("the rest has come", () => consumer.events().length === 4);
  expect(consumer.events().map((event) => (event.data as { n: number }).n)).toEqual([3, 5, 3, 5]);
  consumer.close();
});

test("what is appended by many at two processes is handed out once, none left out, retries among it", async () => {
  const { opened, closed, subscribe } = newKind();
  const { name, source, there } = await subscribe({ mode: "exclusive", backoff: { initial: "10ms" } });
  const wanted = 300;
  const settled: string[] = [];
  const consume = async (from: typeof source, consumer: string) => {
    for (let turn = 0; settled.length < wanted; turn++) {
      const held = await claim(from, { consumer, max: 7, wait: "200ms" });
      if (held.length === 0) continue;
      // Now and then it gives back what it got.
      if (turn % 5 === 4) {
        await nack(from, tokens(held), { action: "requeue" });
        continue;
      }
      const results = await ack(from, tokens(held));
      for (const [n, result] of results.entries())
        if (result === "settled") settled.push((held[n] as Delivery).event.id);
    }
  };
  const stored: string[] = [];
  const produce = async ({ url: base }: Service, of: string) => {
    for (let n = 0; n < wanted / 6; n++) {
      const events = [opened, "Else", closed, opened].map((type) => ({ type, data: { n } }));
      const answer = await append(base, `${of}-${name}-${n % 9}`, events);
      const ids = (answer.body as unknown as { events: { id: string }[] }).events.map(({ id }) => id);
      stored.push(...ids.filter((_, i) => i !== 1));
    }
  };
  await Promise.all([consume(source, "a"), consume(there, "b"), produce(service, "left"), produce(other, "right")]);
  expect(settled.toSorted()).toEqual(stored.toSorted());
  const { lag } = await described(name);
  expect(lag.events).toBe("0");
});

test("its cursor moves over what does not match while its consumer waits, and its lag counts what does", async () => {
  const { opened, emit, emitSome, subscribe } = newKind();
  const { name, source } = await subscribe({ mode: "exclusive" });
  await emitSome();
  expect((await described(name)).lag).toMatchObject({ events: "3", atLeast: false });
  await ack(source, tokens(await claim(source, { consumer: "a", max: 10 })));
  expect((await described(name)).lag.events).toBe("0");
  const waiting = claim(source, { consumer: "a", wait: "60s" });
  const { lastPosition } = (await append(service.url, "elsewhere", { type: "Else" })).body as { lastPosition: string };
  await until("the cursor has passed it", async () => Number((await described(name)).floor) >= Number(lastPosition));
  await emit("cart-late", opened, 7);
  expect(numbers(await waiting)).toEqual([7]);
});

test("what it holds of a stream that is deleted is taken out of its ledger", async () => {
  const { emit, opened, subscribe } = newKind();
  const { name, source } = await subscribe({ mode: "exclusive" });
  await emit(`gone-${name}`, opened, 1);
  await emit(`stays-${name}`, opened, 2);
  expect(numbers(await claim(source, { consumer: "a", max: 10 }))).toEqual([1, 2]);
  await send(`${service.url}/api/streams/gone-${name}`, { method: "DELETE" });
  await until("one is left", async () => (await described(name)).lag.events === "1");
});

test("it can come to name a stream, and all of them again, going on from where it stands", async () => {
  const { opened, emit, subscribe } = newKind();
  const { name, source } = await subscribe({ mode: "exclusive" });
  await emit(`one-${name}`, opened, 1);
  expect(numbers(await claim(source, { consumer: "a", max: 10 }))).toEqual([1]);
  await put(`${url}/${name}`, { stream: `one-${name}`, types: [opened], mode: "exclusive" });
  expect((await described(name)).streams).toEqual([`one-${name}`]);
  await emit(`two-${name}`, opened, 2);
  await emit(`one-${name}`, opened, 3);
  expect(numbers(await claim(source, { consumer: "a", max: 10 }))).toEqual([3]);
  await put(`${url}/${name}`, { stream: "*", types: [opened], mode: "exclusive" });
  await emit(`two-${name}`, opened, 4);
  expect(numbers(await claim(source, { consumer: "a", max: 10 }))).toEqual([4]);
});

test("it is completed by a terminal event in any stream", async () => {
  const { opened, closed, emit, subscribe } = newKind();
  const { source } = await subscribe({ mode: "exclusive", types: [opened], terminal: [closed] });
  await emit(`last-${++names}`, opened, 1);
  await emit(`last-${++names}`, closed, 2);
  await emit(`last-${++names}`, opened, 3);
  const held = await claim(source, { consumer: "a", max: 10 });
  expect(numbers(held)).toEqual([1, 2]);
  await ack(source, tokens(held));
  await until("it is completed", async () => {
    const answer = await send<{ completed?: boolean }>(`${source.url}/claims`, { method: "POST", body: "{}" });
    return answer.body.completed === true;
  });
});
