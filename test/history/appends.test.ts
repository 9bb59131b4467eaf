// The checks of invariant 1 and 4 find what they are for, and nothing in a history that is right.
import { describe, expect, test } from "bun:test";
import {
  acknowledgedArePresent,
  nothingTwiceOrTorn,
  refusedAreAbsent,
  repetitionsAgree,
} from "../crash/check/appends.ts";
import { logAgreesWithRealTime, refusalsToldTheTruth, versionsWereMet } from "../crash/check/versions.ts";
import { acknowledged, append, logged, logOf } from "./doctored.ts";

describe("an acknowledged append", () => {
  test("that is where its producer was told is in order", () => {
    expect(acknowledgedArePresent(acknowledged("a", 0), logOf("a"))).toEqual([]);
  });
  test("that is missing is found", () => {
    expect(acknowledgedArePresent(acknowledged("b", 1), logOf("a"))).toHaveLength(1);
  });
  test("at another offset, position or id than was told is found", () => {
    expect(acknowledgedArePresent(acknowledged("b", 0, { lastPosition: 1 }), logOf("a", "b"))).toHaveLength(1);
    expect(acknowledgedArePresent(acknowledged("b", 1, { lastPosition: 0 }), logOf("a", "b"))).toHaveLength(1);
    expect(acknowledgedArePresent(acknowledged("a", 0), [logged("a", 0, { id: "other" })])).toHaveLength(1);
    expect(acknowledgedArePresent(acknowledged("a", 0, { ids: ["given"] }), logOf("a"))).toHaveLength(1);
  });
});

describe("a refused append", () => {
  test("that left nothing is in order, and one that is in the log is found", () => {
    const refused = append("a", { outcome: "refused" });
    expect(refusedAreAbsent(refused, [])).toEqual([]);
    expect(refusedAreAbsent(refused, logOf("a"))).toHaveLength(1);
  });
  test("counts also when it was told by a 503 that nothing was stored", () => {
    const declined = append("a", { outcome: "unknown", status: 503, reason: "storage-unavailable" });
    expect(refusedAreAbsent(declined, logOf("a"))).toHaveLength(1);
    expect(refusedAreAbsent([...declined, ...acknowledged("a", 0)], logOf("a"))).toEqual([]);
    expect(refusedAreAbsent(append("a", { outcome: "unknown", reason: "outcome-unknown" }), logOf("a"))).toEqual([]);
  });
  test("does not count when its key was still in use", () => {
    const busy = append("a", { outcome: "refused", status: 409, reason: "idempotency-key-in-use" });
    expect(refusedAreAbsent([...busy, ...acknowledged("a", 0)], logOf("a"))).toEqual([]);
  });
});

describe("an append of unknown outcome", () => {
  const unknown = append("a", { outcome: "unknown", marks: ["a", "b"] });
  test("may be there or not", () => {
    expect(nothingTwiceOrTorn(unknown, logOf("a", "b"))).toEqual([]);
    expect(nothingTwiceOrTorn(unknown, [])).toEqual([]);
  });
  test("that is there twice, in part, or with others between is found", () => {
    expect(nothingTwiceOrTorn(unknown, logOf("a", "b", "a", "b"))).toHaveLength(2);
    expect(nothingTwiceOrTorn(unknown, logOf("a"))).toHaveLength(1);
    expect(nothingTwiceOrTorn([...unknown, ...acknowledged("c", 1)], logOf("a", "c", "b"))).toHaveLength(1);
  });
  test("is not what nobody sent", () => {
    expect(nothingTwiceOrTorn([], logOf("a"))).toHaveLength(1);
  });
});

describe("a repeated request", () => {
  test("with ids is told the same offsets, and only once that it was stored", () => {
    const first = acknowledged("a", 0);
    const duplicate = { stored: [{ id: "id-a", offset: 0, duplicate: true }] };
    expect(repetitionsAgree([...first, ...acknowledged("a", 0, duplicate)])).toEqual([]);
    expect(repetitionsAgree([...first, ...first.map((entry) => ({ ...entry, op: 999 }) as typeof entry)])).toHaveLength(
      1,
    );
    expect(
      repetitionsAgree([...first, ...append("a", { stored: [{ id: "id-a", offset: 7, duplicate: true }] })]),
    ).toHaveLength(1);
  });
  test("with a key gets the same answer to the byte", () => {
    const answer = (body: string) => acknowledged("a", 0, { key: "k", body });
    expect(repetitionsAgree([...answer("201 x"), ...answer("201 x")])).toEqual([]);
    expect(repetitionsAgree([...answer("201 x"), ...answer("200 x")])).toHaveLength(1);
  });
});

describe("the log's order", () => {
  const early = acknowledged("a", 0, { from: 0, to: 1 });
  const late = acknowledged("b", 1, { from: 2, to: 3 });
  test("follows real time", () => {
    expect(logAgreesWithRealTime([...early, ...late], logOf("a", "b"))).toEqual([]);
    expect(logAgreesWithRealTime([...early, ...late], logOf("b", "a"))).toHaveLength(1);
  });
  test("of appends at the same time may be either", () => {
    const beside = acknowledged("b", 1, { from: 0.5, to: 3 });
    expect(logAgreesWithRealTime([...early, ...beside], logOf("b", "a"))).toEqual([]);
  });
});

describe("an expected version", () => {
  test("is the one before the event, also when the outcome was unknown", () => {
    expect(versionsWereMet(append("b", { expected: 0, outcome: "unknown" }), logOf("a", "b"))).toEqual([]);
    expect(versionsWereMet(append("c", { expected: 0, outcome: "unknown" }), logOf("a", "b", "c"))).toHaveLength(1);
    expect(versionsWereMet(acknowledged("b", 1, { expected: -1 }), logOf("a", "b"))).toHaveLength(1);
  });
  const before = [...acknowledged("a", 0, { from: 0, to: 1 }), ...acknowledged("b", 1, { from: 2, to: 3 })];
  const refused = (expected: number, actual: number, from: number, to: number) =>
    append("x", { expected, actual, outcome: "refused", status: 412, from, to });
  test("that was refused with the version of that time is in order", () => {
    expect(refusalsToldTheTruth([...before, ...refused(7, 1, 4, 5)], logOf("a", "b"))).toEqual([]);
    expect(refusalsToldTheTruth([...before, ...refused(7, 0, 2.5, 2.7)], logOf("a", "b"))).toEqual([]);
  });
  test("that was refused with the expected, an older, a future or no version is found", () => {
    expect(refusalsToldTheTruth([...before, ...refused(1, 1, 4, 5)], logOf("a", "b"))).toHaveLength(1);
    expect(refusalsToldTheTruth([...before, ...refused(7, 0, 4, 5)], logOf("a", "b"))).toHaveLength(1);
    expect(refusalsToldTheTruth([...before, ...refused(7, 1, 1.2, 1.5)], logOf("a", "b"))).toHaveLength(1);
    expect(refusalsToldTheTruth([...before, ...refused(7, 5, 4, 5)], logOf("a", "b"))).toHaveLength(1);
  });
});
