// The AsyncAPI document against what is sent: each frame of each event stream is a message of its channel.
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  type AsyncApi,
  type DocumentedChannel,
  expectDocumentedFrame,
  readAsyncApi,
  type Validate,
  validatorOf,
} from "../support/asyncapi.ts";
import { append, send } from "../support/client.ts";
import { put } from "../support/consume.ts";
import { number, object, registerVersions } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";

let service: Service;
let url: string;
let document: AsyncApi;
let validate: Validate;
beforeAll(async () => {
  service = await startService({ HEARTBEAT: "200ms" });
  url = service.url;
  await registerVersions(url, "Placed", [
    object({ amount: number }),
    { ...object({ amount: number }), title: "second" },
  ]);
  document = await readAsyncApi(url);
  validate = validatorOf(document);
});
afterAll(() => service.stop());

const events = [
  { type: "Placed", data: { amount: 1 }, subject: "o-1", correlationid: "c", tenant: "acme", urgent: true },
  { type: "Placed", data: { amount: 2 }, schemaversion: "2" },
  { type: "Unregistered", data: [1, null] },
  { type: "Printed", datacontenttype: "image/png", data_base64: "iVBORw0KGgo=" },
];

/** Checks what has come, and returns the names of the messages that it was. */
function documentedIn(channel: string, stream: EventStream): string[] {
  const frames = stream.frames.filter(({ data }) => data !== null);
  return [...new Set(frames.map((frame) => expectDocumentedFrame(document, validate, channel, frame)))].sort();
}

const ended = (stream: EventStream) => stream.until("it has ended", () => stream.ended());
const caughtUp = (stream: EventStream) =>
  stream.until("it has caught up", ({ frames }) => frames.some(({ event }) => event === "sluice.caught-up"));

test("what follows a stream, the log or a workflow is told is documented", async () => {
  await append(url, "orders", events);
  const bounded = await openEventStream(`${url}/api/streams/orders/events?from=0&to=3&progress=true`);
  await ended(bounded);
  expect(documentedIn("streamEvents", bounded)).toEqual([
    "Placed.v1",
    "Placed.v2",
    "event",
    "follow.sluice.end",
    "follow.sluice.progress",
    "follow.sluice.ready",
  ]);
  for (const [channel, path] of [
    ["streamEvents", "/api/streams/orders/events?from=0&named=true"],
    ["logEvents", "/api/events?from=0&schema=latest"],
    ["workflowEvents", "/api/workflows/c/events?from=0"],
  ] as const) {
    const live = await openEventStream(url + path);
    await caughtUp(live);
    const names = documentedIn(channel, live);
    expect(names).toEqual(expect.arrayContaining(["follow.sluice.ready", "follow.sluice.caught-up"]));
    expect(names.length).toBeGreaterThan(2);
    live.close();
  }
});

test("a gap, a reset and a problem are documented", async () => {
  await put(`${url}/api/streams/quiet`, { replay: false });
  await append(url, "quiet", [{ type: "A" }, { type: "B" }]);
  const gap = await openEventStream(`${url}/api/streams/quiet/events`, { "last-event-id": "0" });
  await caughtUp(gap);
  expect(documentedIn("streamEvents", gap)).toContain("follow.sluice.gap");
  gap.close();
  const reset = await openEventStream(`${url}/api/streams/quiet/events`, { "last-event-id": "999" });
  await ended(reset);
  expect(documentedIn("streamEvents", reset)).toEqual(["follow.sluice.end", "follow.sluice.reset"]);
  const crowded = await startService({ DATABASE_URL: service.databaseUrl, MAX_EVENT_STREAMS: "1" });
  const first = await openEventStream(`${crowded.url}/api/events`);
  await first.until("it is open", ({ frames }) => frames.length > 0);
  const refused = await openEventStream(`${crowded.url}/api/events`);
  await ended(refused);
  expect(documentedIn("logEvents", refused)).toEqual(["follow.sluice.problem"]);
  const consumer = await openEventStream(`${crowded.url}/api/live/${crypto.randomUUID()}`);
  await ended(consumer);
  expect(documentedIn("liveConnection", consumer)).toEqual(["live.sluice.problem"]);
  await crowded.stop();
  expect(documentedIn("logEvents", first)).toContain("follow.sluice.end");
});

test("what a consumer is handed is documented, to the end of its subscription", async () => {
  await append(url, "work", events);
  await put(`${url}/api/subscriptions/billing`, { stream: "work", from: "beginning", mode: "exclusive" });
  const consumer = await openEventStream(`${url}/api/subscriptions/billing/events?consumer=c1`);
  await caughtUp(consumer);
  expect(consumer.events()[0]).toMatchObject({ deliverytoken: expect.any(String), deliveryattempt: 1 });
  await send(`${url}/api/subscriptions/billing`, { method: "DELETE" });
  await ended(consumer);
  expect(documentedIn("subscriptionEvents", consumer)).toEqual([
    "Placed.v1",
    "Placed.v2",
    "consume.sluice.caught-up",
    "consume.sluice.end",
    "consume.sluice.problem",
    "consume.sluice.ready",
    "event",
  ]);
});

test("what flows on a live connection is documented, until it is removed", async () => {
  const id = crypto.randomUUID();
  await append(url, "flowing", events);
  await put(`${url}/api/streams/flowing-quiet`, { replay: false });
  await put(`${url}/api/subscriptions/live-work`, { stream: "flowing", from: "beginning" });
  const live = await openEventStream(`${url}/api/live/${id}`);
  await put(`${url}/api/live/${id}/streams/flowing?from=beginning`);
  await put(`${url}/api/live/${id}/subscriptions/live-work`);
  await caughtUp(live);
  await live.until("all has come, and been handed out", () => live.events().length === 8);
  expect(live.events().filter((event) => event.deliverysubscription === "live-work")).toHaveLength(4);
  await send(`${url}/api/subscriptions/live-work`, { method: "DELETE" });
  await live.until("the subscription is gone", ({ frames }) => frames.some(({ event }) => event === "sluice.problem"));
  await send(`${url}/api/live/${id}`, { method: "DELETE" });
  await ended(live);
  expect(documentedIn("liveConnection", live)).toEqual([
    "Placed.v1",
    "Placed.v2",
    "event",
    "live.sluice.caught-up",
    "live.sluice.end",
    "live.sluice.problem",
    "live.sluice.ready",
  ]);
  const lost = await openEventStream(`${url}/api/live/${id}`, { "last-event-id": "99999" });
  await ended(lost);
  expect(documentedIn("liveConnection", lost)).toEqual(["live.sluice.end", "live.sluice.reset"]);
});

test("every name of a frame that the service writes is a message", async () => {
  const sources = await Array.fromAsync(new Bun.Glob("src/{delivery,http}/**/*.ts").scan("."));
  const written = new Set<string>();
  for (const path of sources.filter((source) => !source.includes("/openapi/") && !source.includes("/asyncapi/")))
    for (const [, name] of (await Bun.file(path).text()).matchAll(/event: "(sluice\.[a-z-]+)"/g))
      written.add(name as string);
  const documented = Object.values(document.components.messages).map(({ name }) => name);
  expect(written.size).toBeGreaterThan(6);
  for (const name of written) expect(documented).toContain(name);
  const { messages } = document.channels.streamEvents as DocumentedChannel;
  expect(Object.keys(messages).filter((name) => name.startsWith("follow."))).toHaveLength(7);
});
