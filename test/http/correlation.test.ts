// Subscriptions by correlation: the events of one process in all persistent streams, whenever they came.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append } from "../support/client.ts";
import { ack, claim, type Delivery, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  url = `${service.url}/api/subscriptions`;
  await put(`${service.url}/api/streams/passing`, { type: "ephemeral" });
});
afterAll(() => service.stop());

const modes = ["broadcast", "exclusive", "consumer-group", "read-receipt"] as const;
let names = 0;
/** A correlation of its own: events of it, and subscriptions to it. */
function newWorkflow() {
  const correlation = `wf-${++names}`;
  const emit = (stream: string, type: string, data: unknown = {}, correlationid = correlation) =>
    append(service.url, stream, { type, data, correlationid });
  /** Five events of it in three streams, between others of another workflow. */
  const emitSome = async () => {
    await emit("orders", "OrderPlaced", { amount: 5 });
    await emit("orders", "OrderPlaced", { amount: 500 }, `${correlation}-other`);
    await emit("payments", "PaymentTaken", { amount: 50 });
    await emit("parcels", "ParcelSent", { amount: 500 });
    await append(service.url, "orders", { type: "OrderPlaced", data: { amount: 500 } });
    await emit("passing", "OrderPlaced", { amount: 500 });
    await emit("orders", "OrderPlaced", { amount: 600 });
    await emit("payments", "PaymentTaken", { amount: 5 });
  };
  const subscribe = async (configuration: Record<string, unknown> = {}) => {
    const name = `of-${correlation}-${++names}`;
    const answer = await put(`${url}/${name}`, { correlation, from: "beginning", ...configuration });
    expect(answer.status).toBe(201);
    return { name, source: subscription(service.url, name) };
  };
  return { correlation, emit, emitSome, subscribe };
}
const all = ["orders 5", "payments 50", "parcels 500", "orders 600", "payments 5"];
const amountOf = (event: Record<string, unknown>) => (event.data as { amount: number }).amount;
const summary = (deliveries: Delivery[]) =>
  deliveries.map(({ event }) => `${event.stream as string} ${amountOf(event)}`);

test("in every mode it hands out what came before it, and what comes after it, in the order of the log", async () => {
  for (const mode of modes) {
    const { emitSome, subscribe } = newWorkflow();
    await emitSome();
    const { source } = await subscribe({ mode });
    const before = await claim(source, { consumer: "a", max: 100 });
    expect([mode, summary(before)]).toEqual([mode, all]);
    await ack(source, tokens(before));
    const waiting = claim(source, { consumer: "a", max: 100, wait: "30s" });
    await emitSome();
    const after = await waiting;
    while (after.length < 5) after.push(...(await claim(source, { consumer: "a", max: 100, wait: "30s" })));
    expect([mode, summary(after)]).toEqual([mode, all]);
  }
});

test("it can be there before the first event of its correlation, and follow it by event stream", async () => {
  const { emitSome, subscribe } = newWorkflow();
  const { name } = await subscribe({ from: "latest" });
  const consumer = await openEventStream(`${url}/${name}/events?consumer=a`);
  await consumer.until("it is ready", () => consumer.frames.length > 0);
  await emitSome();
  await consumer.until("everything has come", () => consumer.events().length === 5);
  expect(consumer.events().map((event) => `${event.stream as string} ${amountOf(event)}`)).toEqual(all);
  consumer.close();
});

test("types and a predicate narrow it, for history as for what comes", async () => {
  const { emitSome, subscribe } = newWorkflow();
  await emitSome();
  const cases: [Record<string, unknown>, string[]][] = [
    [{ types: ["PaymentTaken"] }, ["payments 50", "payments 5"]],
    [{ where: "$.amount >= 50" }, ["payments 50", "parcels 500", "orders 600"]],
    [{ types: ["OrderPlaced", "ParcelSent"], where: "$.amount >= 50" }, ["parcels 500", "orders 600"]],
  ];
  const subscriptions = await Promise.all(cases.map(([configuration]) => subscribe(configuration)));
  for (const [i, { source }] of subscriptions.entries())
    expect(summary(await claim(source, { consumer: "a", max: 100 }))).toEqual(cases[i]?.[1] as string[]);
  await emitSome();
  for (const [i, { source }] of subscriptions.entries())
    expect(summary(await claim(source, { consumer: "a", max: 100 }))).toEqual(cases[i]?.[1] as string[]);
});

test("its consumer goes on where it was, whatever came while it was away", async () => {
  const { emit, emitSome, subscribe } = newWorkflow();
  const { name } = await subscribe();
  await emitSome();
  const first = await openEventStream(`${url}/${name}/events?consumer=a&ack=auto`);
  await first.until("everything has come", () => first.events().length === 5);
  first.close();
  await emit("orders", "OrderPlaced", { amount: 7 });
  const second = await openEventStream(`${url}/${name}/events?consumer=a&ack=auto`);
  await second.until("the missed event has come", () => second.events().length > 0);
  expect(second.events().map(amountOf)).toEqual([7]);
  second.close();
});
