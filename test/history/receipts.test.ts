// The checks of read receipts find what they are for, and nothing in a journal that is right.
import { describe, expect, test } from "bun:test";
import type { Entry } from "../crash/history.ts";
import {
  dead,
  handed as handedOut,
  job,
  read,
  sampled,
  settled,
  subscribed,
  unread,
  violationsOf,
} from "./doctored-ledger.ts";

const sub = subscribed({ mode: "read-receipt" });
const cursor = { subscription: "sub", consumer: "a", place: 10, floor: 11, leased: 0, waiting: 0, parked: 0 };
const check = (history: Entry[], ledger = {}, events = [job(0), job(1)]) =>
  violationsOf(sub, history, { events, cursors: [cursor], ...ledger });
const expectOne = (violations: string[], about: string) => {
  expect(violations.length).toBeGreaterThan(0);
  expect(violations[0]).toContain(about);
};
const floor = (at: number, position: number) => sampled(position, at, { cursors: [{ ...cursor, floor: position }] });
const delivered = [...handedOut([0, 1], 100), ...settled(["0@100", "1@100"], 200)];
const first = { positions: [0] };

describe("what is delivered", () => {
  test("stays unread until it is read", () => {
    expect(check([...delivered, unread([0, 1], 300), ...read(first, 400), unread([1], 500)])).toEqual([]);
    expect(check([unread([0, 1], 90), ...delivered, ...read({ upTo: 1 }, 400), unread([], 500)])).toEqual([]);
    expect(check([...delivered, ...read({ all: true, knownUpTo: 1 }, 400), unread([], 500)])).toEqual([]);
  });
  test("and is not unread though nobody read it is found, also on one page of several", () => {
    expectOne(check([...delivered, unread([1], 300)]), "position 0 of sub of a was handed out, is not read");
    expectOne(check([...delivered, ...read(first, 400), unread([], 500)]), "position 1 of sub of a was handed out");
    const pages = (second: number[]) => [unread([0], 300, { upTo: 0 }), unread(second, 303, { after: 0 })];
    expect(check([...delivered, ...pages([1])])).toEqual([]);
    expectOne(check([...delivered, ...pages([])]), "position 1 of sub of a was handed out");
  });
  test("is not unread when it was dropped or given up; that it is still unread then is found", () => {
    const dropped = [...handedOut([0, 1], 100), ...settled("0@100", 200, { action: "drop" }), ...settled("1@100", 200)];
    expect(check([...dropped, unread([1], 300)])).toEqual([]);
    expectOne(check([...dropped, unread([0, 1], 300)]), "behind drop");
    const letters = { deadLetters: [dead(1, 4_500, { consumer: "a" })] };
    const tries = [1, 2, 3].flatMap((attempt) => handedOut(1, attempt * 1_100, { attempt }));
    const given = [...handedOut(0, 100), ...settled("0@100", 200), ...tries, unread([0], 5_000)];
    expect(check(given, letters)).toEqual([]);
  });
  test("and comes out of order, twice, or belongs to another stream is found", () => {
    expectOne(check([...delivered, unread([1, 0], 300)]), "position 0 of sub of a is not in its place");
    expectOne(check([...delivered, unread([0, 0, 1], 300)]), "position 0 of sub of a is not in its place");
    expectOne(check([...delivered, unread([0, 1, 5], 300)]), "does not belong to the subscription");
  });
  test("holds the floor up until it is read; a floor that passes it is found", () => {
    expect(check([...delivered, floor(300, 0), ...read(first, 400), floor(500, 1)])).toEqual([]);
    expectOne(check([...delivered, floor(300, 1)]), "passed position 0");
    expectOne(check([...delivered, ...read(first, 400), floor(500, 2)]), "passed position 1");
  });
});

describe("what was read", () => {
  const history = [...delivered, ...read(first, 400)];
  test("and is unread afterwards is found, unless it was asked before the answer, or nobody was answered", () => {
    expectOne(check([...history, unread([0, 1], 500)]), "position 0 of sub of a was unread at 500 ms");
    expect(check([...history, unread([0, 1], 403)])).toEqual([]);
    const unknown = [...delivered, ...read(first, 400, { status: null })];
    expect(check([...unknown, unread([0, 1], 500)])).toEqual([]);
    expect(check([...unknown, unread([1], 500)])).toEqual([]);
    expectOne(check([...delivered, ...read({ upTo: 0 }, 400), unread([0, 1], 500)]), "was unread at 500 ms");
    const all = { all: true, knownUpTo: 1 } as const;
    expectOne(check([...delivered, ...read(all, 400), unread([1], 500)]), "was unread at 500 ms");
  });
  test("does not cover what was refused, or what was stored later", () => {
    expectOne(check([...delivered, ...read(first, 400, { status: 404 }), unread([1], 500)]), "is not read");
    const events = [job(0), job(1), job(2, { storedAt: 450 })];
    const later = [...handedOut(2, 460), ...settled("2@460", 470)];
    const all = [...delivered, ...read({ all: true, knownUpTo: 1 }, 400), ...later];
    expect(check([...all, unread([2], 500)], {}, events)).toEqual([]);
    expectOne(check([...all, unread([], 500)], {}, events), "position 2 of sub of a was handed out");
  });
  test("before it was delivered is settled; that it is handed out afterwards is found", () => {
    const early = [...read(first, 50), ...handedOut(1, 100), ...settled("1@100", 200)];
    expect(check([...early, unread([1], 300)])).toEqual([]);
    const late = [...early, ...handedOut(0, 220), ...settled("0@220", 230, { result: "already-settled" })];
    expect(check(late).join()).toContain("was handed out though it was read");
  });
  test("while it is out has no good token any more; one that is good is found", () => {
    const out = [...handedOut([0, 1], 100), ...read(first, 150), ...settled("1@100", 200)];
    expect(check([...out, ...settled("0@100", 200, { result: "already-settled" })])).toEqual([]);
    expectOne(check([...out, ...settled("0@100", 200)]), "was valid for op");
  });
  test("and is given up, or counted twice, is found", () => {
    const letters = { deadLetters: [dead(0, 4_500, { consumer: "a" })] };
    expect(check(history, letters).join()).toContain("was given up though read");
    expectOne(check([...history, ...read(first, 410)]), "was told of 2 events read, of 1");
    expect(check([...history, ...read(first, 410, { read: 0 })])).toEqual([]);
  });
});
