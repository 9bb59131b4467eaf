// Who stops a group with a full share of the window, and since when nothing was taken.
import { expect, test } from "bun:test";
import { createGroupWindow } from "../../src/subscription/ledger/window.ts";

test("a member is stalled when the first event that it could take stays the same for two seconds", () => {
  let now = 0;
  const window = createGroupWindow(100, () => now);
  expect(window.stopped({ member: "b", at: 7 })).toBe(false);
  now = 1_500;
  // It has taken one meanwhile.
  expect(window.stopped({ member: "b", at: 8 })).toBe(false);
  now = 3_400;
  expect(window.stopped({ member: "b", at: 8 })).toBe(false);
  now = 3_500;
  expect(window.stopped({ member: "b", at: 8 })).toBe(true);
  expect(window.exhausted()).toBe(1);
  window.passed();
  expect(window.stopped({ member: "b", at: 8 })).toBe(false);
  expect(window.exhausted()).toBe(2);
});

test("who could take nothing is not stalled, however long that is so", () => {
  let now = 0;
  const window = createGroupWindow(100, () => now);
  window.stopped({ member: "b", at: null });
  now = 60_000;
  expect(window.stopped({ member: "b", at: null })).toBe(false);
  expect(window.stopped({ member: "c", at: 1 })).toBe(false);
});

test("what has come to wait since the last look is told apart from what the look has counted", () => {
  const window = createGroupWindow(100);
  window.add(10);
  window.add(5);
  expect([window.waiting().size, window.added()]).toEqual([0, 15]);
  window.looked(new Map([["b", 15]]));
  expect([window.waiting().get("b"), window.added()]).toEqual([15, 0]);
});
