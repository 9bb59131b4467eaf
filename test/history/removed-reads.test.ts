// The checks of readers know what a deletion excuses, and find what it does not.
import { describe, expect, test } from "bun:test";
import { connectionsBeginRight, followersWereNotLost } from "../crash/check/connections.ts";
import { followersSawTheLog } from "../crash/check/followers.ts";
import { walksArePrefixes } from "../crash/check/reads.ts";
import type { RemovalOf } from "../crash/check/removals.ts";
import type { Entry, ReaderDeclared } from "../crash/history.ts";
import { connected, gap, logged, own, page, reader, shown } from "./doctored.ts";

// Offsets 0 and 1 were deleted between 3 ms and 4 ms; position 2 is the record.
const [a, b] = [logged("a", 0), logged("b", 1, { type: "Closed" })];
const c = logged("c", 3, { offset: 2 });
const stored = [a, b, c];
const removal = { stream: "s", from: 0, to: 1, position: 2, earliest: 3, hiddenAt: 4 };
const removalOf: RemovalOf = (_, offset) => (offset <= 1 ? removal : null);

const single: Partial<ReaderDeclared> = { streams: ["s"], single: true };
const offset = (event: typeof a, at = 5) => shown(event, { id: String(event.offset), at });

describe("a walk", () => {
  const walk = (...pages: Entry[]) => walksArePrefixes([reader("json"), ...pages], stored, removalOf);
  test("may leave out what was deleted by then, and may show it before", () => {
    expect(walk(page([c], { invokedAt: 5, at: 6, last: true }))).toEqual([]);
    expect(walk(page([a, b], { invokedAt: 3.5, at: 5 }), page([c], { invokedAt: 5, at: 6 }))).toEqual([]);
    expect(walk(page([a], { invokedAt: 3.5, at: 5 }), page([c], { invokedAt: 5, at: 6 }))).toEqual([]);
  });
  test("that leaves out what was not yet deleted, or what never was, is found", () => {
    expect(walk(page([c], { invokedAt: 1, at: 2 }))).toHaveLength(1);
    expect(walksArePrefixes([reader("json"), page([c], { at: 6 })], stored)).toHaveLength(1);
  });
  test("that shows what had been acknowledged to be deleted is found", () => {
    expect(walk(page([a, b], { invokedAt: 4.5, at: 5 }))).toHaveLength(1);
    expect(walk(page([a], { invokedAt: 1, at: 2 }), page([b], { invokedAt: 4.5, at: 5 }))).toHaveLength(1);
  });
});

describe("a follower of all streams", () => {
  const follow = (...frames: Entry[]) => followersSawTheLog([reader("sse"), ...frames], stored, removalOf);
  const ready = own("sluice.ready", "-1");
  test("may leave out what was deleted by then", () => {
    expect(follow(connected(), ready, shown(c, { at: 5 }))).toEqual([]);
    expect(follow(connected(), ready, shown(a), shown(c, { at: 5 }))).toEqual([]);
    expect(follow(connected(), ready, shown(a), shown(b), shown(c, { at: 5 }))).toEqual([]);
  });
  test("that leaves it out before it was deleted is found", () => {
    expect(follow(connected(), ready, shown(c, { at: 2 }))).toHaveLength(1);
  });
  test("that is shown it on a connection which began after the acknowledgement is found", () => {
    const late = connected(null, { invokedAt: 4.5 });
    expect(follow(late, ready, shown(a, { at: 5 }), shown(c, { at: 5 }))).toHaveLength(1);
  });
  test("that is told of a gap is found", () => {
    expect(followersWereNotLost([reader("sse"), gap(0, 1)])).toHaveLength(1);
    expect(followersWereNotLost([reader("sse", single), gap(0, 1)])).toEqual([]);
  });
});

describe("a follower of one stream", () => {
  const follow = (given: Partial<ReaderDeclared>, ...frames: Entry[]) =>
    followersSawTheLog([reader("sse", { ...single, ...given }), connected(), ...frames], stored, removalOf);
  const ready = own("sluice.ready", "-1");
  const told = (from: number, to: number, at = 5) => gap(from, to, { at });
  test("that is told of what it is not shown is in order", () => {
    expect(follow({}, ready, told(0, 1), offset(c))).toEqual([]);
    expect(follow({}, ready, offset(a), told(1, 1), offset(c))).toEqual([]);
    // A filter may have passed over offset 0 already.
    expect(follow({ types: ["Closed"] }, ready, told(1, 1), own(null, "2"))).toEqual([]);
  });
  test("that is not told, or of less or more, is found", () => {
    expect(follow({}, ready, offset(c))).toHaveLength(1);
    expect(follow({ types: ["Closed"] }, ready, { ...own(null, "2"), at: 5 })).toHaveLength(1);
    expect(follow({}, ready, told(1, 1), offset(c)).length).toBeGreaterThan(0);
    expect(follow({}, ready, offset(a), told(0, 1), offset(c)).length).toBeGreaterThan(0);
    expect(follow({}, ready, told(0, 2)).length).toBeGreaterThan(0);
  });
  test("that is told of it before it was deleted, or shown it afterwards, is found", () => {
    expect(follow({}, ready, told(0, 1, 2), offset(c)).length).toBeGreaterThan(0);
    expect(follow({}, ready, told(0, 1), offset(b), offset(c)).length).toBeGreaterThan(0);
  });
  test("whose cursor goes back, or whose gap has the wrong id, is found", () => {
    expect(follow({}, ready, told(0, 1), own(null, "0"), offset(c))).toHaveLength(1);
    expect(follow({}, ready, gap(0, 1, { id: "0", at: 5 }), told(1, 1), offset(c)).length).toBeGreaterThan(0);
  });
});

describe("a connection behind a deletion", () => {
  const begin = (from: ReaderDeclared["from"], ...entries: Entry[]) =>
    connectionsBeginRight([reader("sse", { ...single, from }), ...entries], stored, removalOf);
  const ready = (id: string) => ({ ...own("sluice.ready", id), at: 5 });
  test("begins there, and tells whoever asked for what is gone", () => {
    expect(begin("beginning", connected(), ready("1"))).toEqual([]);
    expect(begin("beginning", connected("-1"), ready("1"), gap(0, 1))).toEqual([]);
    expect(begin(1, connected(), ready("1"), gap(1, 1))).toEqual([]);
  });
  test("that does not tell, or tells something else, is found", () => {
    expect(begin("beginning", connected("-1"), ready("1"))).toHaveLength(1);
    expect(begin("beginning", connected("-1"), ready("1"), gap(1, 1))).toHaveLength(1);
    expect(begin("beginning", connected("-1"), ready("2"), gap(0, 2))).toHaveLength(1);
    expect(begin("beginning", connected(), ready("0"))).toHaveLength(1);
  });
  test("is followed in full by who is told at the start", () => {
    const frames = [
      connected(),
      own("sluice.ready", "-1"),
      connected("-1"),
      ready("1"),
      gap(0, 1, { at: 5 }),
      offset(c),
    ];
    const seen = (...entries: Entry[]) => followersSawTheLog([reader("sse", single), ...entries], stored, removalOf);
    expect(seen(...frames)).toEqual([]);
    expect(
      seen(...frames.filter((frame) => frame.kind !== "frame" || frame.name !== "sluice.gap")).length,
    ).toBeGreaterThan(0);
  });
});
