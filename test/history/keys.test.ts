// The checks of invariant 8 find what they are for, and nothing in a journal that is right.
import { describe, expect, test } from "bun:test";
import type { Entry } from "../crash/history.ts";
import type { LedgerSnapshot } from "../crash/ledger-snapshot.ts";
import { dead, handed, job, settled, subscribed, unanswered, violationsOf } from "./doctored-ledger.ts";

const group = subscribed({ mode: "consumer-group" });
const pausing = subscribed({ mode: "consumer-group", onFailure: "pause" });
const two = [job(0), job(1)];
const check = (history: Entry[], ledger: Partial<LedgerSnapshot> = {}, declared = group) =>
  violationsOf(declared, history, { events: two, ...ledger });
const expectOne = (violations: string[], about: string) => {
  expect(violations.length).toBeGreaterThan(0);
  expect(violations.join("\n")).toContain(about);
};
const b = { consumer: "b" };

describe("events of a key", () => {
  test("that come in order, to one member or after they are settled, are in order", () => {
    const together = [...handed([0, 1], 100), ...settled(["0@100", "1@100"], 200)];
    expect(check(together)).toEqual([]);
    const inTurn = [...handed(0, 100), ...settled("0@100", 150), ...handed(1, 200, b), ...settled("1@200", 250)];
    expect(check(inTurn)).toEqual([]);
    const held = [...handed(0, 100), ...handed(1, 200), ...settled("1@200", 250), ...settled("0@100", 260)];
    expect(check(held)).toEqual([]);
  });
  test("that come to another member while an earlier one is out are found", () => {
    const history = [...handed(0, 100), ...handed(1, 200, b), ...settled("1@200", 250), ...settled("0@100", 260)];
    expectOne(check(history), "though position 0 of its key was open");
  });
  test("that come before an earlier one was handed out are found, unless their member may hold that unseen", () => {
    const history = [...handed(1, 100), ...settled("1@100", 150), ...handed(0, 200), ...settled("0@200", 250)];
    expectOne(check(history), "though position 0 of its key was open");
    expect(check([...unanswered(50, 80), ...history])).toEqual([]);
    expectOne(check([...unanswered(50, 80, "c"), ...history]), "though position 0 of its key was open");
  });
  test("that come though an earlier one was given back are found", () => {
    const back = [...handed(0, 100), ...settled("0@100", 150, { action: "requeue" })];
    const again = [...handed(0, 300, { attempt: 2 }), ...settled("0@300", 350)];
    const early = [...handed(1, 200), ...settled("1@200", 250)];
    expectOne(check([...back, ...early, ...again]), "though position 0 of its key was open");
    const behind = [...handed(1, 400), ...settled("1@400", 450)];
    expect(check([...back, ...again, ...behind])).toEqual([]);
  });
  test("whose order in an answer is another one are found", () => {
    expectOne(check([...handed([1, 0], 100), ...settled(["0@100", "1@100"], 200)]), "in one answer");
  });
  test("without a key have no order", () => {
    const events = [job(0, { key: null }), job(1, { key: null })];
    const history = [...handed(1, 100, { key: null }), ...settled("1@100", 150)];
    const later = [...handed(0, 200, { key: null }), ...settled("0@200", 250)];
    expect(check([...history, ...later], { events })).toEqual([]);
  });
});

describe("when one comes again", () => {
  const first = handed([0, 1], 100);
  const again = handed([0, 1], 200).map((entry) => entry);
  const back = settled("0@100", 150, { action: "requeue", delayMs: 0 });
  const second = [...handed(0, 200, { attempt: 2 }), ...handed(1, 200.1)];
  const end = settled(["0@200", "1@200.1"], 300);
  test("the later ones come again behind it, though their attempt is not counted", () => {
    expect(again).toHaveLength(2);
    expect(check([...first, ...back, ...second, ...end])).toEqual([]);
  });
  test("a later one whose old token settles it is found", () => {
    const old = settled("1@100", 250);
    expectOne(
      check([...first, ...back, ...handed(0, 200, { attempt: 2 }), ...old, ...settled("0@200", 300)]),
      "behind sub position 0",
    );
  });
  test("a later one that comes again without any reason is found", () => {
    const history = [...first, ...handed(1, 200), ...settled(["1@200", "0@100"], 300)];
    expectOne(check(history), "was handed out while");
  });
});

describe("a key whose event was given up", () => {
  const rejected = [...handed([0], 100), ...settled("0@100", 150, { action: "dead-letter", reason: "no" })];
  const letter = dead(0, 151, { reason: "rejected", attempts: 1, firstError: "no", lastError: "no" });
  const goesOn = [...handed(1, 200), ...settled("1@200", 250)];
  test("goes on with skip, and waits with pause", () => {
    expect(check([...rejected, ...goesOn], { deadLetters: [letter] })).toEqual([]);
    const parked = [{ subscription: "sub", position: 1 }];
    expect(check(rejected, { deadLetters: [letter], parked }, pausing)).toEqual([]);
  });
  test("that goes on though it is paused, or waits without a reason, is found", () => {
    expectOne(check([...rejected, ...goesOn], { deadLetters: [letter] }, pausing), "its key was paused by position 0");
    const parked = [{ subscription: "sub", position: 1 }];
    expectOne(check(rejected, { deadLetters: [letter], parked }), "parked without a reason");
    const settledFirst = [...handed(0, 100), ...settled("0@100", 150)];
    expectOne(check(settledFirst, { parked }, pausing), "parked without a reason");
  });
});
