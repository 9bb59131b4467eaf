// An ephemeral stream forgets what all who consume it have settled: its queue and its subscriptions, the slowest of them first.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, send } from "../support/client.ts";
import { ack, claim, nack, put, queue, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: ReturnType<typeof openSql>;
beforeAll(async () => {
  service = await startService({ TRIM_INTERVAL: "50ms" });
  sql = openSql(service.databaseUrl, 1);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

let names = 0;

/** An ephemeral stream with ten events, its queue, and a subscription of it. */
async function newStream(configuration: Record<string, unknown> = {}) {
  const name = `tasks-${++names}`;
  const [own, other] = [queue(service.url, name), subscription(service.url, `${name}-too`)];
  await put(own.url, { type: "ephemeral" });
  await put(other.url, { stream: name, mode: "exclusive", from: "beginning", ...configuration });
  await append(
    service.url,
    name,
    Array.from({ length: 10 }, (_, n) => ({ type: "Task", data: { n } })),
  );
  return { name, own, other };
}
async function settle(source: Source, count: number, consumer = "a"): Promise<void> {
  const held = await claim(source, { consumer, max: count, wait: "20s" });
  if (held.length !== count) throw new Error(`${held.length} of ${count} events were handed out`);
  await ack(source, tokens(held));
}
const lengthOf = async ({ url }: Source) => Number((await send<{ length: string }>(url)).body.length);
const keeps = (stream: Source, count: number) =>
  until(`${count} events are left`, async () => (await lengthOf(stream)) === count);
/** Resolves when the service has looked for what can be forgotten, after this call, in each stream. */
async function looksAgain(): Promise<void> {
  const bystander = `bystander-${++names}`;
  const source = queue(service.url, bystander);
  await put(source.url, { type: "ephemeral" });
  for (let round = 0; round < 2; round++) {
    await append(service.url, bystander, { type: "Task" });
    await settle(source, 1);
    await keeps(source, 0);
  }
}

test("the slower of the queue and a subscription decides", async () => {
  const { own, other, name } = await newStream();
  await settle(own, 7);
  await looksAgain();
  expect(await lengthOf(own)).toBe(10);
  await settle(other, 3);
  await keeps(own, 7);
  await settle(other, 7);
  await keeps(own, 3);
  await looksAgain();
  expect(await lengthOf(own)).toBe(3);
  await settle(own, 3);
  await keeps(own, 0);
  await until("the rows are gone", async () => {
    const rows = await sql`select from events e join streams s on s.id = e.stream_id where s.name = ${name}`;
    return rows.length === 0;
  });
});

test("what is out, or waits for another attempt, holds up what was settled behind it", async () => {
  const { own, other } = await newStream();
  await settle(own, 10);
  const held = tokens(await claim(other, { consumer: "a", max: 10 }));
  await ack(other, held.slice(3));
  await looksAgain();
  expect(await lengthOf(own)).toBe(10);
  await nack(other, held.slice(1, 3), { delay: "1h" });
  await nack(other, held.slice(0, 1), { action: "drop" });
  await keeps(own, 9);
  await looksAgain();
  expect(await lengthOf(own)).toBe(9);
});

test("a dead letter holds nothing up and keeps its content; nor does a subscription that is deleted", async () => {
  const { own, other } = await newStream();
  await settle(own, 10);
  const held = tokens(await claim(other, { consumer: "a", max: 2 }));
  await nack(other, held.slice(0, 1), { action: "dead-letter" });
  await keeps(own, 9);
  const letters = await send<{ deadLetters: { event: Envelope }[] }>(`${other.url}/dead-letters`);
  expect(letters.body.deadLetters.map(({ event }) => event.data)).toEqual([{ n: 0 }]);
  await looksAgain();
  expect(await lengthOf(own)).toBe(9);
  await send(other.url, { method: "DELETE" });
  await keeps(own, 0);
});

test("each consumer of a broadcast holds up what it has not settled, until it is removed", async () => {
  const { own, other } = await newStream({ mode: "broadcast" });
  // Both are there before anything is settled: what all have settled that there are may go before another joins.
  for (const consumer of ["a", "b"]) await put(`${other.url}/consumers/${consumer}`, {});
  await settle(own, 10);
  for (const consumer of ["a", "b"]) await settle(other, consumer === "a" ? 10 : 4, consumer);
  await keeps(own, 6);
  await looksAgain();
  expect(await lengthOf(own)).toBe(6);
  expect((await send(`${other.url}/consumers/b`, { method: "DELETE" })).status).toBe(204);
  await keeps(own, 0);
});
