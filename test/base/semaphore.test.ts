import { expect, test } from "bun:test";
import { createSemaphore } from "../../src/base/semaphore.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

function gate() {
  let open = (_error?: Error) => {};
  const opened = new Promise<void>((resolve, reject) => {
    open = (error) => (error ? reject(error) : resolve());
  });
  return { opened, open };
}

test("no more tasks run at once than there are permits, and those that wait come in their order", async () => {
  const semaphore = createSemaphore(2);
  const gates = Array.from({ length: 5 }, gate);
  const started: number[] = [];
  const done = gates.map(({ opened }, i) =>
    semaphore.run(async () => {
      started.push(i);
      await opened;
      return i;
    }),
  );
  await turn();
  expect([started, semaphore.waiting()]).toEqual([[0, 1], 3]);
  gates[1]?.open();
  await turn();
  expect(started).toEqual([0, 1, 2]);
  for (const { open } of gates) open();
  expect(await Promise.all(done)).toEqual([0, 1, 2, 3, 4]);
  expect(semaphore.waiting()).toBe(0);
});

test("a task that fails gives its permit back", async () => {
  const semaphore = createSemaphore(1);
  await expect(semaphore.run(() => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
  expect(await semaphore.run(() => Promise.resolve("next"))).toBe("next");
});

test("who no longer wants to wait leaves the queue, and takes no permit along", async () => {
  const semaphore = createSemaphore(1);
  const { opened, open } = gate();
  const first = semaphore.run(() => opened);
  const abort = new AbortController();
  let ran = false;
  const second = semaphore.run(async () => {
    ran = true;
  }, abort.signal);
  const third = semaphore.run(() => Promise.resolve("third"));
  abort.abort(new Error("left"));
  await expect(second).rejects.toThrow("left");
  expect(semaphore.waiting()).toBe(1);
  open();
  await first;
  expect(await third).toBe("third");
  expect(ran).toBe(false);
  await expect(semaphore.run(() => Promise.resolve(1), abort.signal)).rejects.toThrow("left");
  expect(await semaphore.run(() => Promise.resolve(2))).toBe(2);
});
