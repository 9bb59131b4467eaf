// Waiting for a projection: readers share their looks, and whoever leaves, or the end of the service, leaves nothing behind.
import { expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { createProgress } from "../../../src/workflow/projections/progress.ts";
import { until } from "../../support/until.ts";

const never = new AbortController().signal;

function rig() {
  const state = { position: 5 as number | null, reads: 0, readsOfOther: 0, fails: false };
  const progress = createProgress({
    async read(projection) {
      if (projection === "other") {
        state.readsOfOther++;
        return 5;
      }
      state.reads++;
      if (state.fails) throw new Error("away");
      return state.position;
    },
    log: createLog("silent", "test"),
  });
  return { state, progress };
}

test("many who wait cost one look at a time, and none is left waiting", async () => {
  const { state, progress } = rig();
  expect(await progress.reach("p", 5, 1_000, never)).toBe(true);
  state.reads = 0;
  const waiting = Array.from({ length: 500 }, (_, n) => progress.reach("p", 6 + (n % 3), 60_000, never));
  await until("all wait", () => progress.waiting() === 500);
  state.reads = 0;
  for (const position of [6, 7, 8]) {
    state.position = position;
    progress.moved("p");
    progress.moved("p");
    const rest = 500 - Math.ceil(((position - 5) * 500) / 3);
    await until(`those of ${position} are answered`, () => Math.abs(progress.waiting() - rest) < 2);
  }
  expect(await Promise.all(waiting)).toEqual(Array(500).fill(true));
  expect(state.reads).toBeLessThan(50);
  // Nobody waits: nobody looks, while another projection is looked at again and again, with the longest pauses between.
  const { reads } = state;
  const left = new AbortController();
  const other = progress.reach("other", 6, 60_000, left.signal).catch(() => "left");
  await until("the other was looked at for a while", () => state.readsOfOther > 8);
  progress.moved("p");
  const { readsOfOther } = state;
  await until("the other was looked at again", () => state.readsOfOther > readsOfOther + 1);
  expect([state.reads, progress.waiting()]).toEqual([reads, 1]);
  left.abort();
  expect(await other).toBe("left");
});

test("without a word from the projector it is looked at now and then, through failures of the database", async () => {
  const { state, progress } = rig();
  const waiting = progress.reach("p", 6, 60_000, never);
  await until("it waits", () => progress.waiting() === 1);
  state.fails = true;
  const { reads } = state;
  await until("it was looked at in vain", () => state.reads > reads + 2);
  state.fails = false;
  state.position = 6;
  expect(await waiting).toBe(true);
});

test("readers who join all the time do not put off a look", async () => {
  const { state, progress } = rig();
  const first = progress.reach("p", 6, 60_000, never);
  const others: Promise<boolean>[] = [];
  const joining = setInterval(() => others.push(progress.reach("p", 9, 60_000, never)), 1);
  state.position = 6;
  expect(await first).toBe(true);
  clearInterval(joining);
  progress.drain();
  expect(new Set(await Promise.all(others))).toEqual(new Set([false]));
});

test("it ends with its time, with its reader, and with the service", async () => {
  const { progress } = rig();
  expect(await progress.reach("p", 6, 20, never)).toBe(false);
  const left = new AbortController();
  const leaving = progress.reach("p", 6, 60_000, left.signal);
  await until("it waits", () => progress.waiting() === 1);
  left.abort(new Error("left"));
  expect(await leaving.catch((error: Error) => error.message)).toBe("left");
  expect(progress.waiting()).toBe(0);
  const drained = progress.reach("p", 6, 60_000, never);
  await until("it waits", () => progress.waiting() === 1);
  progress.drain();
  expect(await drained).toBe(false);
  expect(await progress.reach("p", 6, 60_000, never)).toBe(false);
});
