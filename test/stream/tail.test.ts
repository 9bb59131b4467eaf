// The tail over a log in memory: whatever comes in whatever order, it passes on every position once, in order.
import { afterEach, expect, test } from "bun:test";
import fc from "fast-check";
import { createLog } from "../../src/base/log.ts";
import { controlStream, type StoredEvent, sizeOf } from "../../src/stream/event.ts";
import { createTail, type Tail, type TailBatch, type TailOptions } from "../../src/stream/tail.ts";
import { storedEvent } from "../support/events.ts";
import { until } from "../support/until.ts";

const tails: Tail[] = [];
afterEach(async () => {
  await Promise.all(tails.splice(0).map((tail) => tail.stop()));
});

type Rig = {
  tail: Tail;
  /** What is committed. */
  log: StoredEvent[];
  passed: TailBatch[];
  positions: () => number[];
  reads: [after: number, upTo: number][];
  /** Called before each read of the log. */
  before: { read: (() => Promise<void>) | null };
};

/** Resolves when what the tail has by now has been passed on: that is done in a turn of the event loop of its own. */
const passedOn = () => new Promise<void>((resolve) => setImmediate(resolve));

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const events = (from: number, to: number) => range(from, to).map((position) => storedEvent({ position }));

/** A tail that never polls, unless told to; one page of its log has at most `pageRows` events. */
async function start(options: Partial<TailOptions> & { stored?: number; pageRows?: number } = {}): Promise<Rig> {
  const { stored = 0, pageRows = 1_000, ...tailOptions } = options;
  const log = events(0, stored - 1);
  const reads: Rig["reads"] = [];
  const before: Rig["before"] = { read: null };
  const tail = createTail({
    readHead: async () => log.length - 1,
    async readRange(after, upTo, limit) {
      reads.push([after, upTo]);
      await before.read?.();
      const found = log.filter((event) => event.position > after && event.position <= upTo);
      const page = found.slice(0, Math.min(limit, pageRows));
      return { events: page, reached: page.length < found.length ? (page.at(-1)?.position ?? upTo) : upTo };
    },
    ringBytes: 1_000_000,
    pollMs: 1e8,
    log: createLog("silent", "test"),
    ...tailOptions,
  });
  tails.push(tail);
  await tail.start();
  const passed: TailBatch[] = [];
  tail.subscribe((batch) => passed.push(batch));
  reads.length = 0;
  return { tail, log, passed, positions: () => passed.flatMap((b) => b.events.map((e) => e.position)), reads, before };
}

test("batches that are offered in order are in the ring at once, and passed on together, without a read", async () => {
  const { tail, passed, reads } = await start();
  const [first, second] = [events(0, 2), events(3, 3)];
  tail.offer(first);
  tail.offer(second);
  expect(tail.head()).toBe(3);
  expect(tail.since(-1, 1e9)?.events).toEqual([...first, ...second]);
  // Who appends them is answered first.
  expect(passed).toEqual([]);
  await passedOn();
  expect(passed).toEqual([{ after: -1, upTo: 3, events: [...first, ...second] }]);
  expect(reads).toEqual([]);
});

test("a batch that is offered too early waits for the one before it", async () => {
  const { tail, log, positions, reads } = await start();
  log.push(...events(0, 5));
  tail.offer(events(3, 5));
  expect(positions()).toEqual([]);
  expect(tail.lag()).toBe(6);
  tail.offer(events(0, 2));
  await passedOn();
  expect(positions()).toEqual(range(0, 5));
  expect(tail.lag()).toBe(0);
  expect(reads).toEqual([]);
});

test("a hole that does not close by itself is read, and nothing but the hole", async () => {
  const { tail, log, positions, reads } = await start();
  log.push(...events(0, 5));
  tail.offer(events(3, 5));
  await until("the hole is read", () => tail.head() === 5);
  await passedOn();
  expect(positions()).toEqual(range(0, 5));
  expect(reads).toEqual([[-1, 2]]);
});

test("what waits before a hole is bounded; the rest is read from the log again", async () => {
  const { tail, log, positions, reads } = await start({ ringBytes: 5 * sizeOf(storedEvent({ position: 0 })) });
  log.push(...events(0, 29));
  for (let first = 10; first < 30; first += 2) tail.offer(events(first, first + 1));
  await until("the tail has arrived", () => tail.head() === 29);
  await passedOn();
  expect(positions()).toEqual(range(0, 29));
  // Two batches of two fit: they were kept, everything else was read.
  expect(reads).toEqual([
    [-1, 9],
    [13, 29],
  ]);
  log.push(...events(30, 33));
  tail.offer(events(32, 33));
  tail.offer(events(30, 31));
  expect(tail.head()).toBe(33);
  expect(reads.length).toBe(2);
});

test("a page that ends within a batch which is offered meanwhile does not stop the tail", async () => {
  const { tail, log, positions, before } = await start({ pageRows: 4 });
  log.push(...events(0, 5));
  before.read = async () => {
    before.read = null;
    tail.offer(events(2, 5));
  };
  tail.wake(5);
  await until("the tail has arrived", () => tail.head() === 5);
  await passedOn();
  expect(positions()).toEqual(range(0, 5));
  tail.offer(events(6, 7));
  await passedOn();
  expect(positions()).toEqual(range(0, 7));
  expect(tail.lag()).toBe(0);
});

test("a batch that was read from the log already is not passed on again", async () => {
  const { tail, log, positions } = await start();
  log.push(...events(0, 3));
  tail.wake(3);
  await until("the log is read", () => tail.head() === 3);
  tail.offer(events(2, 3));
  tail.offer(events(4, 4));
  await passedOn();
  expect(positions()).toEqual(range(0, 4));
});

test("a wake-up in the moment in which a read ends is not lost", async () => {
  const { tail, log, before } = await start();
  log.push(...events(0, 0));
  let depth = 0;
  // Every step of the event loop between the read and its end gets a wake-up of its own.
  before.read = async () => {
    if (depth >= 20) return;
    const next = () => {
      log.push(...events(log.length, log.length));
      tail.wake(log.length - 1);
      if (++depth < 20) queueMicrotask(next);
    };
    queueMicrotask(next);
  };
  tail.wake(0);
  await until("the tail has arrived", () => depth >= 20 && tail.head() === log.length - 1);
});

test("without a wake-up, a poll finds what others appended", async () => {
  const { tail, log, positions } = await start({ pollMs: 5 });
  log.push(...events(0, 2));
  await until("the poll has found them", () => tail.head() === 2);
  await passedOn();
  expect(positions()).toEqual([0, 1, 2]);
});

test("a read that fails is tried again at the next poll", async () => {
  const { tail, log, positions, before } = await start({ pollMs: 5 });
  let failures = 3;
  before.read = async () => {
    if (failures-- > 0) throw new Error("away");
  };
  log.push(...events(0, 2));
  tail.wake(2);
  await until("it was read at last", () => tail.head() === 2);
  await passedOn();
  expect(positions()).toEqual([0, 1, 2]);
});

test("Infinity looks at the head of the log", async () => {
  const { tail, log } = await start();
  log.push(...events(0, 2));
  tail.wake(Number.POSITIVE_INFINITY);
  await until("it was read", () => tail.head() === 2);
});

test("the ring gives what follows a cursor, in pieces, and nothing when it begins later", async () => {
  const { tail } = await start({ stored: 300 });
  expect(tail.head()).toBe(299);
  // The newest 200 are preloaded.
  expect(tail.since(98, 1e9)).toBeNull();
  expect(tail.since(99, 1e9)?.events.map((event) => event.position)).toEqual(range(100, 299));
  expect(tail.since(299, 1e9)).toEqual({ after: 299, upTo: 299, events: [] });
  expect(tail.since(350, 1e9)).toEqual({ after: 350, upTo: 350, events: [] });
  const piece = tail.since(99, 1_000) as TailBatch;
  expect(piece.events.length).toBeLessThan(10);
  expect(piece.upTo).toBe(piece.events.at(-1)?.position as number);
});

test("the ring is bounded in bytes and drops its oldest events", async () => {
  const { tail } = await start({ ringBytes: 10_000 });
  for (let n = 0; n < 1_000; n++) tail.offer(events(n, n));
  const kept = range(0, 999).find((after) => tail.since(after, 1e9) !== null) as number;
  expect(kept).toBeGreaterThan(900);
  expect(tail.since(kept, 1e9)?.events.map((event) => event.position)).toEqual(range(kept + 1, 999));
});

test("what the ring has dropped is not kept in memory", async () => {
  const { tail, passed } = await start({ ringBytes: 100_000 });
  let collected = 0;
  const registry = new FinalizationRegistry(() => collected++);
  for (let n = 0; n < 500; n++) {
    const event = storedEvent({ position: n, data: JSON.stringify("x".repeat(50_000)) });
    registry.register(event, n);
    tail.offer([event]);
    await passedOn();
    // The test's own listener holds nothing back: only the ring can.
    passed.length = 0;
  }
  await until("dropped events are collected", () => {
    Bun.gc(true);
    return collected > 400;
  });
});

test("a deletion removes the stream's events from the ring, and only those", async () => {
  const { tail } = await start();
  const of = (position: number, stream: string, offset: number) => storedEvent({ position, stream, offset });
  tail.offer([of(0, "a", 0), of(1, "b", 0), of(2, "a", 1)]);
  const data = JSON.stringify({ stream: "a", from: "0", to: "1" });
  tail.offer([
    storedEvent({ position: 3, stream: controlStream, offset: 0, type: "sluice.stream-deleted", data }),
    of(4, "a", 2),
  ]);
  expect(tail.since(-1, 1e9)?.events.map((event) => event.position)).toEqual([1, 3, 4]);
});

const trimmed = (position: number, offset: number, streams: Record<string, number>) =>
  storedEvent({
    position,
    stream: controlStream,
    offset,
    type: "sluice.streams-trimmed",
    data: JSON.stringify({
      streams: Object.entries(streams).map(([stream, to]) => ({ stream, from: "0", to: String(to) })),
    }),
  });

test("a trim removes the events of all the streams that it names from the ring, up to where it says", async () => {
  const { tail } = await start();
  const of = (position: number, stream: string, offset: number) => storedEvent({ position, stream, offset });
  tail.offer([of(0, "a", 0), of(1, "b", 0), of(2, "a", 1), of(3, "c", 0), of(4, "b", 1)]);
  tail.offer([trimmed(5, 0, { a: 0, b: 1 }), of(6, "b", 2)]);
  expect(tail.since(-1, 1e9)?.events.map((event) => event.position)).toEqual([2, 3, 5, 6]);
});

test("a tail that slept until records were gone serves nothing from before: it cannot know what they removed", async () => {
  const { tail, passed } = await start();
  const of = (position: number, stream: string, offset: number) => storedEvent({ position, stream, offset });
  tail.offer([of(0, "a", 0), trimmed(1, 4, { b: 7 }), of(2, "a", 1)]);
  tail.offer([of(3, "a", 2), trimmed(4, 6, { c: 7 }), of(5, "a", 3)]);
  expect(tail.since(2, 1e9)).toBeNull();
  expect(tail.since(3, 1e9)?.events.map((event) => event.position)).toEqual([4, 5]);
  // Who is live gets all that comes.
  await passedOn();
  expect(passed.flatMap((batch) => batch.events.map((event) => event.position))).toEqual([0, 1, 2, 3, 4, 5]);
});

test("an event that only looks like a deletion removes nothing", async () => {
  const { tail } = await start();
  const data = JSON.stringify({ stream: "s", from: "0", to: "1" });
  tail.offer([...events(0, 1), storedEvent({ position: 2, type: "sluice.stream-deleted", data })]);
  expect(tail.since(-1, 1e9)?.events).toHaveLength(3);
});

test("a listener that fails costs the others nothing", async () => {
  const { tail, positions } = await start();
  const leave = tail.subscribe(() => {
    throw new Error("a defect");
  });
  const later: number[] = [];
  tail.subscribe((batch) => later.push(batch.upTo));
  tail.offer(events(0, 1));
  await passedOn();
  leave();
  tail.offer(events(2, 2));
  await passedOn();
  expect(positions()).toEqual([0, 1, 2]);
  expect(later).toEqual([1, 2]);
});

test("whatever is offered, announced and read in whatever order, each position is passed on once, in order", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ size: fc.integer({ min: 1, max: 6 }), own: fc.boolean(), delay: fc.nat(3) }), {
        minLength: 1,
        maxLength: 30,
      }),
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.nat(3), { minLength: 5, maxLength: 5 }),
      async (batches, pageRows, readDelays) => {
        const { tail, log, passed, before } = await start({ pageRows });
        let reads = 0;
        const turns = async (n: number) => {
          for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve));
        };
        before.read = () => turns(readDelays[reads++ % readDelays.length] as number);
        const offers: Promise<void>[] = [];
        for (const { size, own, delay } of batches) {
          const batch = events(log.length, log.length + size - 1);
          log.push(...batch);
          // A batch of this process is answered some time after its commit, one of another is announced.
          offers.push(turns(delay).then(() => (own ? tail.offer(batch) : tail.wake(log.length - 1))));
          if (delay === 0) await turns(1);
        }
        await Promise.all(offers);
        tail.wake(Number.POSITIVE_INFINITY);
        await until("the tail has arrived", () => tail.head() === log.length - 1);
        await passedOn();
        expect(passed.flatMap((b) => b.events.map((e) => e.position))).toEqual(range(0, log.length - 1));
        for (const [n, batch] of passed.entries())
          expect(batch.after).toBe(n === 0 ? -1 : (passed[n - 1] as TailBatch).upTo);
        await tail.stop();
      },
    ),
    { numRuns: 60 },
  );
});
