// The checks of deletions find what they are for, and nothing in a history that is right.
import { describe, expect, test } from "bun:test";
import { acknowledgedArePresent, nothingTwiceOrTorn, repetitionsAgree } from "../crash/check/appends.ts";
import { deletionsTakeAll, deletionsWereAsked, purgedWereDeleted } from "../crash/check/deletions.ts";
import { livesOf } from "../crash/check/lives.ts";
import { replaysEqualLog, rowsAreGapless } from "../crash/check/order.ts";
import { removalsOf } from "../crash/check/removals.ts";
import { logAgreesWithRealTime, versionsWereMet } from "../crash/check/versions.ts";
import type { Entry } from "../crash/history.ts";
import type { LoggedEvent } from "../crash/log-snapshot.ts";
import { acknowledged, append, deletion, logged, snapshot } from "./doctored.ts";

// a and b at offsets 0 and 1; the record at position 2; c at offset 2 and position 3.
const [a, b] = [logged("a", 0), logged("b", 1)];
const c = logged("c", 3, { offset: 2 });
const record = { stream: "s", from: 0, to: 1, position: 2 };
const rows = [
  { position: 0, stream: "s", offset: 0, purged: true },
  { position: 1, stream: "s", offset: 1, purged: false },
  { position: 2, stream: "$control", offset: 0, purged: false },
  { position: 3, stream: "s", offset: 2, purged: false },
];
const log = snapshot([a, b, c], { rows, deletions: [record], events: [c], streams: new Map([["s", [c]]]) });

const before = [...acknowledged("a", 0, { from: 0, to: 1 }), ...acknowledged("b", 1, { from: 1, to: 2 })];
const after = acknowledged("c", 2, { from: 5, to: 6, lastPosition: 3 });
const asked = deletion({ from: 3, to: 4 });

describe("the log with a deletion", () => {
  test("is gapless, with what was purged, and its replay is what came after", () => {
    expect(rowsAreGapless(log.rows)).toEqual([]);
    expect(replaysEqualLog(log)).toEqual([]);
    expect(deletionsTakeAll(log)).toEqual([]);
    expect(purgedWereDeleted(log)).toEqual([]);
  });
  test("that begins a stream anew at an offset it had is found", () => {
    expect(rowsAreGapless(rows.map((row) => (row.position === 3 ? { ...row, offset: 1 } : row)))).toHaveLength(1);
    expect(rowsAreGapless(rows.map((row) => (row.position === 3 ? { ...row, position: 2 } : row)))).toHaveLength(1);
  });
  test("whose replay shows what was deleted, or hides what came after, is found", () => {
    expect(replaysEqualLog({ ...log, events: [b, c] })).toHaveLength(1);
    expect(replaysEqualLog({ ...log, events: [] })).toHaveLength(1);
    expect(replaysEqualLog({ ...log, streams: new Map([["s", [b, c]]]) })).toHaveLength(1);
    expect(replaysEqualLog({ ...log, streams: new Map([["s", null]]) }).length).toBeGreaterThan(0);
  });
  test("whose stream is still there though nothing is left of it is found", () => {
    const empty = snapshot([a, b], { deletions: [record], events: [] });
    expect(replaysEqualLog({ ...empty, streams: new Map([["s", null]]) })).toEqual([]);
    expect(replaysEqualLog({ ...empty, streams: new Map([["s", []]]) })).toHaveLength(1);
  });
  test("whose record tells less or more than there was is found", () => {
    for (const wrong of [{ to: 0 }, { from: 1 }, { to: 2 }])
      expect(deletionsTakeAll({ rows, deletions: [{ ...record, ...wrong }] })).toHaveLength(1);
  });
  test("from which a row has gone that nobody deleted is found", () => {
    expect(purgedWereDeleted({ rows, deletions: [] })).toHaveLength(1);
    expect(
      purgedWereDeleted({ rows: rows.map((row) => ({ ...row, purged: true })), deletions: [record] }),
    ).toHaveLength(2);
  });
});

describe("a deletion", () => {
  const check = (...entries: Entry[]) => deletionsWereAsked(entries, log);
  test("that was asked for between what it took and what it left is in order", () => {
    expect(check(...before, ...asked, ...after)).toEqual([]);
    expect(check(...before, ...deletion({ from: 3, to: 4, outcome: "unknown" }), ...after)).toEqual([]);
  });
  test("that nobody asked for, or that was refused or declined, is found", () => {
    const declined = deletion({ from: 3, to: 4, outcome: "unknown", status: 503, reason: "storage-unavailable" });
    expect(check(...before, ...after)).toHaveLength(1);
    expect(check(...before, ...deletion({ from: 0, to: 0.5, outcome: "refused" }), ...after)).toHaveLength(1);
    expect(check(...before, ...declined, ...after)).toHaveLength(1);
  });
  test("that was acknowledged and left no record is found", () => {
    expect(
      check(...before, ...asked, ...asked.map((entry) => ({ ...entry, op: 1_000 }) as Entry), ...after),
    ).toHaveLength(1);
  });
  test("that took an event which began after its acknowledgement is found", () => {
    const late = acknowledged("b", 1, { from: 4.5, to: 4.7 });
    expect(check(...before.slice(0, 2), ...asked, ...late, ...after).length).toBeGreaterThan(0);
  });
  test("that left an event which was acknowledged before it was asked for is found", () => {
    const early = acknowledged("c", 2, { from: 2.1, to: 2.5, lastPosition: 3 });
    expect(check(...before, ...asked, ...early).length).toBeGreaterThan(0);
  });
  test("that found no stream though it was there all the time is found", () => {
    const vain = (from: number, to: number) => deletion({ from, to, outcome: "refused" });
    expect(check(...before, ...asked, ...after, ...vain(4.1, 4.9))).toEqual([]);
    expect(check(...before, ...vain(2.1, 2.2), ...asked, ...after)).toHaveLength(1);
    expect(check(...before, ...asked, ...after, ...vain(7, 8))).toHaveLength(1);
  });
  test("that was answered otherwise is found", () => {
    expect(check(...before, ...asked, ...after, ...deletion({ outcome: "refused", status: 409 }))).toHaveLength(1);
  });
});

describe("the removal of an event", () => {
  const removal = (...entries: Entry[]) => removalsOf(entries, log)("s", 1);
  test("begins with its request and what stands before it, and is known with its acknowledgement", () => {
    expect(removal(...before, ...asked, ...after)).toMatchObject({ earliest: 3, hiddenAt: 4 });
    expect(removal(...before, ...deletion({ from: 0.5, to: 4 }), ...after)).toMatchObject({ earliest: 1, hiddenAt: 4 });
    expect(removal(...before, ...deletion({ from: 3, outcome: "unknown" }))?.hiddenAt).toBe(Number.POSITIVE_INFINITY);
    expect(removalsOf([], log)("s", 2)).toBeNull();
  });
});

describe("a request that was repeated after a deletion", () => {
  const again = logged("a", 3, { offset: 2, id: "id-2" });
  const lifeOf = livesOf([record]);
  const repeated = [
    ...append("a", { to: 1 }),
    ...append("a", { from: 5, to: 6, lastPosition: 3, stored: [{ id: "id-2", offset: 2, duplicate: false }] }),
  ];
  const both: LoggedEvent[] = [a, again];
  test("may be stored in each life of its stream", () => {
    expect(nothingTwiceOrTorn(repeated, both, lifeOf)).toEqual([]);
    expect(repetitionsAgree(repeated, lifeOf)).toEqual([]);
    expect(acknowledgedArePresent(repeated, both)).toEqual([]);
    expect(logAgreesWithRealTime(repeated, both, lifeOf)).toEqual([]);
  });
  test("and is twice in one, or in another than was told, is found", () => {
    expect(nothingTwiceOrTorn(repeated, both)).toHaveLength(1);
    expect(repetitionsAgree(repeated).length).toBeGreaterThan(0);
    expect(acknowledgedArePresent(repeated, [a]).length).toBeGreaterThan(0);
  });
  test("expects the version that goes on", () => {
    expect(versionsWereMet(append("c", { expected: 1 }), [c], lifeOf)).toEqual([]);
    expect(versionsWereMet(append("c", { expected: -1 }), [c], lifeOf)).toHaveLength(1);
  });
});
