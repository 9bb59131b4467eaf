// Where the relay looks: behind what is settled for good, and never past a row that may yet be committed, but for the full looks.
import { expect, test } from "bun:test";
import { createHorizon } from "../../../src/stream/outbox/horizon.ts";

/** Time goes on in steps, with the transactions that are under way: `xmin` the oldest, `xmax` the next. */
function createClock() {
  const horizon = createHorizon();
  let nowMs = 0;
  // The first look is a full one.
  horizon.after(nowMs);
  return {
    horizon,
    step(ms: number, xmin: number, xmax: number) {
      nowMs += ms;
      if (horizon.isCurious(nowMs)) horizon.observe({ xmin, xmax }, nowMs);
      return horizon.after(nowMs);
    },
  };
}

test("what was passed is behind it once every transaction that could have drawn a lower id has ended", () => {
  const { horizon, step } = createClock();
  horizon.passed(100);
  expect(step(0, 10, 10)).toBe(0);
  horizon.passed(200);
  // Transaction 12 began while 100 was passed.
  expect(step(2_000, 12, 20)).toBe(0);
  expect(step(1_000, 12, 30)).toBe(0);
  expect(step(1_000, 20, 40)).toBe(100);
});

test("who draws an id and writes only then has time to begin", () => {
  const { horizon, step } = createClock();
  horizon.passed(100);
  step(0, 10, 10);
  expect(step(1_999, 10, 10)).toBe(0);
  // It has begun by now: what counts is what is under way from here on.
  expect(step(1, 10, 11)).toBe(0);
  expect(step(1, 11, 11)).toBe(100);
});

test("it moves on while nothing is open, and stands still behind a transaction that is", () => {
  const { horizon, step } = createClock();
  let xid = 10;
  let id = 0;
  const run = (ms: number, oldest?: number) => {
    let after = 0;
    for (let at = 0; at < ms; at += 100) {
      horizon.passed(++id);
      xid++;
      // A full look is none of its places.
      after = Math.max(after, step(100, oldest ?? xid, xid));
    }
    return after;
  };
  const first = run(10_000);
  expect(first).toBeGreaterThan(60);
  const open = xid;
  const stuck = run(5_000, open);
  expect(run(20_000, open)).toBe(stuck);
  expect(run(10_000)).toBeGreaterThan(stuck + 250);
});

test("every few seconds it looks from the beginning, and after a failure at once", () => {
  const { horizon, step } = createClock();
  horizon.passed(100);
  step(0, 10, 10);
  step(2_000, 10, 10);
  expect(step(1, 10, 10)).toBe(100);
  expect(step(2_999, 10, 10)).toBe(0);
  expect(step(1, 10, 10)).toBe(100);
  horizon.reset();
  expect(step(1, 10, 10)).toBe(0);
});
