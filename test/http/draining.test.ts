// A service that is asked to stop: who consumes is told to come back, keeps what it holds, and loses no attempt.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, send } from "../support/client.ts";
import { ack, claim, nack, offsets, put, type Source, subscription } from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

const live = crypto.randomUUID();
let env: Record<string, string>;
let after: ServiceProcess;
let exitCode: number;
let readers: Record<"stream" | "member" | "live", EventStream>;
let waiting: Awaited<ReturnType<typeof claim>>;

const url = (service: ServiceProcess, name: string): Source => subscription(service.url, name);
const tokensOf = (stream: EventStream) => stream.events().map((event) => String(event.deliverytoken));
const last = (stream: EventStream) => stream.frames.at(-1);

beforeAll(async () => {
  env = { DATABASE_URL: await createTestDatabase() };
  const before = await spawnService(env);
  const events = Array.from({ length: 4 }, (_, n) => ({ type: "Job", partitionkey: `k-${n}`, data: {} }));
  await append(before.url, "jobs", events);
  const modes = { stream: "exclusive", member: "consumer-group", live: "exclusive", idle: "exclusive" };
  for (const [name, mode] of Object.entries(modes))
    await put(url(before, name).url, { stream: "jobs", mode, from: name === "idle" ? "latest" : "beginning" });
  await put(`${before.url}/api/live/${live}/subscriptions/live`);
  readers = {
    stream: await openEventStream(`${url(before, "stream").url}/events?consumer=a`),
    member: await openEventStream(`${url(before, "member").url}/events?consumer=a`),
    live: await openEventStream(`${before.url}/api/live/${live}`),
  };
  for (const reader of Object.values(readers))
    await reader.until("all is sent", () => reader.events().length === events.length);
  const asked = claim(url(before, "idle"), { consumer: "a", wait: "60s" });
  await until("it waits", async () =>
    /sluice_claims_waiting [1-9]/.test(await (await fetch(`${before.url}/metrics`)).text()),
  );
  before.kill("SIGTERM");
  exitCode = await before.exited;
  waiting = await asked;
  for (const reader of Object.values(readers)) await reader.until("it has ended", () => reader.ended());
  after = await spawnService(env);
});
afterAll(async () => {
  after.kill("SIGTERM");
  await after.exited;
});

test("each is told that the service shuts down, and none that it shall not come back", () => {
  expect(exitCode).toBe(0);
  for (const reader of Object.values(readers)) {
    expect([last(reader)?.event, last(reader)?.data]).toEqual(["sluice.end", '{"reason":"shutting-down"}']);
    expect(reader.lastEventId()).not.toStartWith("end:");
  }
});

test("a claim that waits is answered with nothing", () => expect(waiting).toEqual([]));

test.each(["stream", "member", "live"] as const)("what was sent over %s stays its consumer's", async (name) => {
  const source = url(after, name);
  const { inFlight, waiting } = (await send<{ inFlight: string; waiting: string }>(source.url)).body;
  expect([inFlight, waiting]).toEqual(["4", "0"]);
  expect(await claim(source, { consumer: "other", max: 10 })).toEqual([]);
  const [first, ...others] = tokensOf(readers[name]);
  expect(await ack(source, others)).toEqual(["settled", "settled", "settled"]);
  // It is the first failure that is counted: the stop was none.
  expect(await nack(source, [String(first)], { delay: "0s" })).toEqual(["settled"]);
  const again = await claim(source, { consumer: name === "live" ? live : "a", max: 10, wait: "20s" });
  expect([offsets(again), again.map(({ attempt }) => attempt)]).toEqual([[0], [2]]);
});

test("a reader that comes back goes on with what is new, and is not sent again what it holds", async () => {
  await append(after.url, "jobs", { type: "Job", partitionkey: "k-9", data: {} });
  const back = await openEventStream(`${after.url}/api/live/${live}`, { "last-event-id": readers.live.lastEventId() });
  await back.until("it goes on", () => back.events().length > 0);
  expect(back.events().map(({ offset, deliveryattempt }) => [offset, deliveryattempt])).toEqual([["4", 1]]);
  back.close();
});
