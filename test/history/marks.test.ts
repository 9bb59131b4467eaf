// The checks of exactly-once subscriptions find what they are for, and nothing in a journal that is right.
import { describe, expect, test } from "bun:test";
import type { Entry } from "../crash/history.ts";
import { crashed, dead, handed, job, marked, settled, subscribed, violationsOf } from "./doctored-ledger.ts";

const sub = subscribed({ delivery: "exactly-once" });
const check = (history: Entry[], ledger = {}, events = [job(0)]) => violationsOf(sub, history, { events, ...ledger });
const expectOne = (violations: string[], about: string) => {
  expect(violations.length).toBeGreaterThan(0);
  expect(violations[0]).toContain(about);
};
const again = { attempt: 2, consumer: "b" };
const [stale, already] = ["stale-token", "already-processed"].map((reason) => ({ status: 409, reason }));

describe("a mark", () => {
  test("by the holder, once or repeated, settles the event, acknowledged or not", () => {
    expect(check([...handed(0, 100), ...marked("0@100", 150), ...settled("0@100", 200)])).toEqual([]);
    expect(check([...handed(0, 100), ...marked("0@100", 150), ...marked("0@100", 160, { status: 200 })])).toEqual([]);
    expect(check([...handed(0, 100), ...marked("0@100", 150, { status: null })])).toEqual([]);
  });
  test("that was refused settles nothing", () => {
    expectOne(check([...handed(0, 100), ...marked("0@100", 1_200, stale)]), "is not settled");
    const away = { status: 503, reason: "storage-unavailable" };
    expectOne(check([...handed(0, 100), ...marked("0@100", 150, away)]), "is not settled");
  });
  test("that is given twice is found", () => {
    expectOne(check([...handed(0, 100), ...marked("0@100", 150), ...marked("0@100", 160)]), "was marked 2 times");
    const both = [...handed(0, 100), ...marked("0@100", 150), ...handed(0, 1_200, again)];
    expectOne(check([...both, ...marked("0@1200", 1_300, { consumer: "b" })]), "was marked 2 times");
  });
  test("whose event comes again afterwards is found, unless a crash has forgotten it", () => {
    const after = [...handed(0, 100), ...marked("0@100", 150), ...handed(0, 1_200, again), ...settled("0@1200", 1_300)];
    expectOne(check(after), "stands, and sub position 0 (0@1200 of b");
    const late = (between: Entry[]) =>
      check([
        ...handed(0, 100, { deadline: 9_000 }),
        ...handed(0, 300, again),
        ...between,
        ...marked("0@100", 950),
        ...settled("0@100", 960),
      ]);
    expect(late([]).join()).toContain("stands, and sub position 0 (0@300 of b");
    expect(late([crashed(400)])).toEqual([]);
  });
  test("of a token whose time is over, that is another consumer's, or that nobody was given is found", () => {
    expectOne(check([...handed(0, 100), ...marked("0@100", 1_200)]), "after the deadline at 1100 ms");
    const others = [...handed(0, 100), ...marked("0@100", 150, { consumer: "b" }), ...settled("0@100", 200)];
    expectOne(check(others), "was b's");
    const stranger = [...handed(0, 100), ...settled("0@100", 150), ...marked("0@77", 150)];
    expectOne(check(stranger), "a token that nobody was given");
  });
  test("that is refused though the event is held, or though nobody marked it, is found", () => {
    const end = settled("0@100", 200);
    expectOne(check([...handed(0, 100), ...marked("0@100", 150, stale), ...end]), "was stale at 150 ms");
    expect(check([...handed(0, 100), ...marked("0@100", 150, { ...stale, consumer: "b" }), ...end])).toEqual([]);
    expect(check([...handed(0, 100), ...end, ...marked("0@100", 250, stale)])).toEqual([]);
    expectOne(check([...handed(0, 100), ...marked("0@100", 150, already), ...end]), "was told of another one");
    const taken = [...handed(0, 100), ...handed(0, 1_200, again), ...marked("0@1200", 1_250, { consumer: "b" })];
    expect(check([...taken, ...marked("0@100", 1_300, already)])).toEqual([]);
  });
});

describe("an event that is marked", () => {
  const history = [...handed(0, 100, { attempt: 3 }), ...marked("0@100", 150)];
  test("and given back for another try is settled; that it is given up is found", () => {
    expect(check([...history, ...settled("0@100", 200, { action: "requeue" })])).toEqual([]);
    expectOne(check(history, { deadLetters: [dead(0, 1_200)] }), "was given up at 1200 ms");
  });
  test("is a dead letter when its consumer says so", () => {
    const rejected = settled("0@100", 200, { action: "dead-letter", reason: "no" });
    const letter = dead(0, 201, { reason: "rejected", firstError: "no", lastError: "no" });
    expect(check([...history, ...rejected], { deadLetters: [letter] })).toEqual([]);
  });
  test("is told to be settled already", () => {
    expect(check([...history, ...settled("0@100", 1_300, { result: "already-settled" })])).toEqual([]);
    const unmarked = history.slice(0, 2);
    const told = check([...unmarked, ...settled("0@100", 1_300, { result: "already-settled" })]);
    expect(told.join()).toContain("to be settled already, and nobody had settled it");
  });
});

test("an event whose id is stored twice is found", () => {
  const events = [job(0), job(1, { id: "event-0" })];
  expectOne(check([...handed([0, 1], 100), ...settled(["0@100", "1@100"], 200)], {}, events), "is stored 2 times");
});
