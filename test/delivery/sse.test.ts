// The writing of event streams: frames, the bounded buffer behind a response, and the hub's goodbye.
import { expect, test } from "bun:test";
import { everyone } from "../../src/base/principal.ts";
import { ByteSink } from "../../src/delivery/byte-sink.ts";
import { encodeEvents, encodeFrame } from "../../src/delivery/sse-frame.ts";
import { createSseHub } from "../../src/delivery/sse-hub.ts";
import { asStored } from "../../src/stream/schema/target.ts";
import type { Followers } from "../../src/subscription/following/follow.ts";
import { storedEvent } from "../support/events.ts";
import { everything } from "../support/followers.ts";
import { noSchemas } from "../support/schemas.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const never = new AbortController().signal;

test("a frame is one line a field, in the order that EventSource reads", () => {
  expect(text(encodeFrame({ comment: "c", retryMs: 1.6, id: -1, event: "e", data: { a: "x\ny" } }))).toBe(
    ': c\nretry: 2\nid: -1\nevent: e\ndata: {"a":"x\\ny"}\n\n',
  );
});

test("an id or a name that would break a frame is refused", () => {
  for (const broken of ["a\nb", "a\rb", "a\0b"]) {
    expect(() => encodeFrame({ id: broken })).toThrow();
    expect(() => encodeFrame({ event: broken })).toThrow();
  }
});

test("events bear their offset or their position, and their type where it is asked for", () => {
  const event = storedEvent({ position: 7, offset: 3, type: "Placed" });
  expect(text(encodeEvents([event], "offset", false, noSchemas))).toStartWith('id: 3\ndata: {"specversion"');
  expect(text(encodeEvents([event], "position", true, noSchemas))).toStartWith("id: 7\nevent: Placed\ndata: {");
  for (const type of ["error", "open", "message"]) {
    expect(text(encodeEvents([storedEvent({ position: 1, type })], "offset", true, noSchemas))).toStartWith(
      "id: 1\ndata: ",
    );
  }
});

test("an event is encoded once, for every form of frame", () => {
  const event = storedEvent({ position: 1 });
  encodeEvents([event], "offset", false, noSchemas);
  const { line } = event;
  expect(line).toBeString();
  event.line = '{"kept":true}';
  expect(text(encodeEvents([event], "position", true, noSchemas))).toEndWith('data: {"kept":true}\n\n');
});

test("a sink says when its reader has to be waited for, and when there is room again", async () => {
  const sink = new ByteSink(100, () => {});
  expect(sink.write(new Uint8Array(60))).toBe(true);
  expect(sink.write(new Uint8Array(60))).toBe(false);
  let drained = false;
  const waiting = sink.drained(never).then(() => {
    drained = true;
  });
  const reader = sink.body.getReader();
  expect(drained).toBe(false);
  await reader.read();
  await reader.read();
  await waiting;
  expect(drained).toBe(true);
});

test("a reader that has taken a little of a full buffer is waited for on", async () => {
  const sink = new ByteSink(100, () => {});
  sink.write(new Uint8Array(10));
  sink.write(new Uint8Array(200));
  let drained = false;
  const waiting = sink.drained(never).then(() => {
    drained = true;
  });
  const reader = sink.body.getReader();
  await reader.read();
  await new Promise((resolve) => setImmediate(resolve));
  expect(drained).toBe(false);
  await reader.read();
  await waiting;
});

test("a chunk that its reader takes at once leaves room, however large it is", async () => {
  const sink = new ByteSink(10, () => {});
  const reader = sink.body.getReader();
  const taken = reader.read();
  expect(sink.write(new Uint8Array(50))).toBe(true);
  expect((await taken).value?.byteLength).toBe(50);
  expect(sink.write(new Uint8Array(50))).toBe(false);
  await reader.read();
  await sink.drained(never);
});

test("what waits for its reader comes in order and whole, also when the body has ended", async () => {
  const sink = new ByteSink(4, () => {});
  const numbers = Array.from({ length: 20 }, (_, n) => n);
  for (const n of numbers.slice(0, 10)) sink.write(Uint8Array.of(n));
  const reader = sink.body.getReader();
  const found: number[] = [];
  for (let n = 0; n < 5; n++) found.push(...((await reader.read()).value ?? []));
  for (const n of numbers.slice(10)) sink.write(Uint8Array.of(n));
  sink.end();
  for (let part = await reader.read(); !part.done; part = await reader.read()) found.push(...part.value);
  expect(found).toEqual(numbers);
});

test("whoever waits for a reader is let go when its signal fires, and when the reader leaves", async () => {
  let closed = 0;
  const sink = new ByteSink(10, () => closed++);
  sink.write(new Uint8Array(20));
  const abort = new AbortController();
  const aborted = sink.drained(abort.signal);
  abort.abort(new Error("enough"));
  await expect(aborted).rejects.toThrow("enough");
  const left = sink.drained(never);
  await sink.body.cancel();
  await left;
  expect([closed, sink.write(new Uint8Array(1))]).toEqual([1, false]);
  sink.end();
  expect(closed).toBe(1);
});

test("an event stream that opens while the hub has stopped says goodbye at once", async () => {
  let stopped = 0;
  const followers: Followers = {
    follow: () => ({ cursor: () => ({ position: 0, offset: 0 }), state: () => "live", stop: () => stopped++ }),
    heartbeat() {},
    counts: () => ({ live: 0, catchingUp: 0, groups: 0 }),
    stop() {},
  };
  const hub = createSseHub({ followers, schemas: noSchemas, heartbeatMs: 60_000, retryMs: 1_000, bufferBytes: 65_536 });
  const open = () =>
    hub.open({
      selection: everything,
      target: asStored,
      idKind: "position",
      named: false,
      principal: everyone,
      start: { position: 4, offset: 4 },
      historyEnd: -1,
      logHead: -1,
      upTo: null,
      limit: null,
      total: null,
      gap: null,
      ready: { stream: null, head: "4", logId: "l" },
      signal: never,
    });
  const before = new Response(open());
  hub.stop();
  const after = new Response(open());
  for (const response of [before, after]) {
    const frames = (await response.text()).trim().split("\n\n");
    expect(frames[0]).toContain("event: sluice.ready");
    expect(frames.at(-1)).toBe('event: sluice.end\ndata: {"reason":"shutting-down"}');
  }
  expect(stopped).toBe(2);
  expect(hub.counts().connections).toBe(0);
});
