import { expect, test } from "bun:test";
import { createLog } from "../../src/base/log.ts";
import { startLoop } from "../../src/base/loop.ts";
import { until } from "../support/until.ts";

const log = createLog("silent", "test");
const never = 3_600_000;

test("a duty runs at once, and again when its interval has passed", async () => {
  let runs = 0;
  const loop = startLoop("count", 1, async () => void runs++, log);
  expect(runs).toBe(1);
  await until("it has run five times", () => runs >= 5);
  await loop.stop();
});

test("woken while it runs, it runs once more and never beside itself", async () => {
  let runs = 0;
  let beside = 0;
  let finish = () => {};
  const duty = async () => {
    runs++;
    beside++;
    expect(beside).toBe(1);
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    beside--;
  };
  const loop = startLoop("slow", never, duty, log);
  for (let i = 0; i < 5; i++) loop.wake();
  expect(runs).toBe(1);
  finish();
  await until("it runs again", () => runs === 2);
  finish();
  await until("it rests", () => beside === 0);
  loop.wake();
  expect(runs).toBe(3);
  const stopped = loop.stop();
  finish();
  await stopped;
});

test("a duty that fails comes round again", async () => {
  let runs = 0;
  const loop = startLoop(
    "fails",
    1,
    async () => {
      if (++runs < 3) throw new Error("not yet");
    },
    log,
  );
  await until("it has run three times", () => runs >= 3);
  await loop.stop();
});

test("a stop tells the run under way, waits for it, and nothing runs afterwards", async () => {
  let runs = 0;
  let ended = false;
  const loop = startLoop(
    "stopped",
    1,
    async (signal) => {
      runs++;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      await new Promise((resolve) => setImmediate(resolve));
      ended = true;
    },
    log,
  );
  loop.wake();
  await loop.stop();
  expect([runs, ended]).toEqual([1, true]);
  loop.wake();
  expect(runs).toBe(1);
});
