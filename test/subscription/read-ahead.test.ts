import { describe, expect, test } from "bun:test";
import { createReadAhead, first } from "../../src/subscription/ledger/read-ahead.ts";
import { storedEvent } from "../support/events.ts";

const event = (position: number, data = "1") => storedEvent({ position, data });
const found = (after: number, upTo: number, data?: string) => ({
  after,
  upTo,
  events: Array.from({ length: upTo - after }, (_, i) => event(after + 1 + i, data)),
});

describe("what is read ahead", () => {
  test("grows by what lies behind it, and is replaced by anything else", () => {
    const ahead = createReadAhead();
    ahead.add(found(-1, 3));
    ahead.add(found(3, 5));
    expect(ahead.candidates()?.events.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4, 5]);
    ahead.add(found(9, 11));
    expect(ahead.candidates()).toEqual(found(9, 11));
    expect(ahead.has(5)).toBe(false);
  });

  test("keeps what the cursor has passed until it is taken", () => {
    const ahead = createReadAhead();
    ahead.add(found(-1, 5));
    ahead.moveTo(3);
    expect(ahead.candidates()).toEqual(found(3, 5));
    expect(ahead.take(2)).toEqual(event(2));
    ahead.forgetPassed(8_000_000);
    expect([0, 1, 2, 3, 4].map(ahead.has)).toEqual([true, true, false, true, true]);
    ahead.forgetPassed(0);
    expect([0, 1, 2, 3, 4].map(ahead.has)).toEqual([false, false, false, false, true]);
  });

  test("keeps a bounded part of what was passed, the newest", () => {
    const ahead = createReadAhead();
    const megabyte = "x".repeat(1_000_000);
    for (let at = -1; at < 29; at += 10) {
      ahead.add(found(at, at + 10, megabyte));
      ahead.moveTo(at + 10);
      ahead.forgetPassed(8_000_000);
    }
    expect(ahead.passedBytes()).toBeLessThanOrEqual(8_000_000);
    expect(ahead.has(29)).toBe(true);
    expect(ahead.has(0)).toBe(false);
    expect(ahead.aheadBytes()).toBe(0);
  });

  test("is empty after a cursor was set back, and counts what comes then", () => {
    const ahead = createReadAhead();
    ahead.add(found(-1, 5));
    ahead.moveTo(5);
    ahead.moveTo(1);
    expect(ahead.candidates()).toBeNull();
    expect([ahead.aheadBytes(), ahead.passedBytes()]).toEqual([0, 0]);
    ahead.add(found(1, 3));
    expect(ahead.aheadBytes()).toBeGreaterThan(0);
    ahead.drop();
    expect([ahead.aheadBytes(), ahead.passedBytes()]).toEqual([0, 0]);
  });

  test("is read anew where another process has moved the cursor beyond it, and what was passed can be taken still", () => {
    const ahead = createReadAhead();
    ahead.add(found(-1, 5));
    ahead.moveTo(8);
    expect(ahead.candidates()).toBeNull();
    expect(ahead.aheadBytes()).toBe(0);
    expect(ahead.take(4)).toEqual(event(4));
  });

  test("loses what is gone from the log", () => {
    const ahead = createReadAhead();
    ahead.add(found(-1, 5));
    ahead.remove(new Map([["s", 2]]));
    expect(ahead.candidates()?.events.map(({ position }) => position)).toEqual([3, 4, 5]);
    expect(ahead.has(2)).toBe(false);
  });
});

test("the first of the candidates reach to the last of them", () => {
  expect(first(found(-1, 5), 2)).toEqual(found(-1, 1));
  expect(first(found(-1, 5), 6)).toEqual(found(-1, 5));
});
