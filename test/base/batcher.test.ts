import { expect, test } from "bun:test";
import { type BatcherOptions, createBatcher } from "../../src/base/batcher.ts";

type Item = { name: number; count: number; bytes: number };

/** A batcher whose batches end when the test says so. */
function manual(options: Partial<BatcherOptions<Item>> = {}) {
  const batches: { names: number[]; end: (error?: Error) => void }[] = [];
  const defects: unknown[] = [];
  const batcher = createBatcher<Item>({
    flush: (items) =>
      new Promise((resolve, reject) => {
        batches.push({ names: items.map((item) => item.name), end: (error) => (error ? reject(error) : resolve()) });
      }),
    weigh: (item) => item,
    maxCount: 10,
    maxBytes: 1_000,
    maxInFlight: 2,
    onDefect: (error, items) => defects.push([error, items.map((item) => item.name)]),
    ...options,
  });
  const push = (name: number, count = 1, bytes = 1) => batcher.push({ name, count, bytes });
  return { batcher, batches, defects, push };
}

const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

test("what comes in one turn travels together, in its order", async () => {
  const { batches, push } = manual();
  for (const name of [1, 2, 3]) push(name);
  await Promise.resolve().then(() => push(4));
  await turn();
  expect(batches.map((batch) => batch.names)).toEqual([[1, 2, 3, 4]]);
});

test("while as many batches as may be are in flight, the rest is collected", async () => {
  const { batcher, batches, push } = manual();
  for (const name of [1, 2, 3, 4, 5]) {
    push(name);
    await turn();
  }
  expect(batches.map((batch) => batch.names)).toEqual([[1], [2]]);
  expect(batcher.waiting()).toBe(3);
  batches[1]?.end();
  await turn();
  expect(batches.map((batch) => batch.names)).toEqual([[1], [2], [3, 4, 5]]);
  expect(batcher.waiting()).toBe(0);
});

test("a batch holds no more than its count and its bytes, but for one item that alone is more", async () => {
  const { batches, push } = manual({ maxInFlight: 9 });
  push(1, 6);
  push(2, 5);
  push(3, 1, 600);
  push(4, 1, 600);
  push(5, 99, 9_999);
  push(6);
  await turn();
  expect(batches.map((batch) => batch.names)).toEqual([[1], [2, 3], [4], [5], [6]]);
});

test("a flush that fails is a defect of its batch, and the next one is sent", async () => {
  const { batches, defects, push } = manual({ maxInFlight: 1 });
  push(1);
  await turn();
  push(2);
  const error = new Error("broken");
  batches[0]?.end(error);
  await turn();
  expect(defects).toEqual([[error, [1]]]);
  expect(batches[1]?.names).toEqual([2]);
});

test("it is idle when nothing waits and nothing is in flight, and not before", async () => {
  const { batcher, batches, push } = manual({ maxInFlight: 1 });
  await batcher.idle();
  push(1);
  push(2, 10);
  let idle = false;
  const waited = batcher.idle().then(() => {
    idle = true;
  });
  await turn();
  batches[0]?.end();
  await turn();
  expect([idle, batches.length]).toEqual([false, 2]);
  batches[1]?.end();
  await waited;
  expect(idle).toBe(true);
});
