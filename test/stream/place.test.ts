import { expect, test } from "bun:test";
import { Problem } from "../../src/base/errors.ts";
import { parseCursor, parsePlace } from "../../src/stream/place.ts";

const time = (text: string) => {
  const place = parsePlace("from", text);
  return place.kind === "time" ? place.at.toISOString() : place.kind;
};

test("a place is a word, a number, a time or an event", () => {
  expect(parsePlace("from", "beginning")).toEqual({ kind: "beginning" });
  expect(parsePlace("from", "latest")).toEqual({ kind: "latest" });
  expect(parsePlace("from", "17")).toEqual({ kind: "number", value: 17, text: "17" });
  expect(parsePlace("from", "event:a:b/ü")).toEqual({ kind: "event", id: "a:b/ü" });
});

test("a number that no offset can reach stays beyond every head", () => {
  expect(parsePlace("from", "9999999999999999999")).toMatchObject({ value: Number.MAX_SAFE_INTEGER });
});

test("a time has a zone; a space stands for the plus that it was before form decoding", () => {
  expect(time("time:2026-11-21T10:00:00Z")).toBe("2026-11-21T10:00:00.000Z");
  expect(time("time:2026-11-21t10:00:00.5z")).toBe("2026-11-21T10:00:00.500Z");
  expect(time("time:2026-11-21T10:00:00+02:00")).toBe("2026-11-21T08:00:00.000Z");
  expect(time("time:2026-11-21T10:00:00 02:00")).toBe("2026-11-21T08:00:00.000Z");
  expect(time("time:2024-02-29T00:00:00-01:00")).toBe("2024-02-29T01:00:00.000Z");
});

test("a time that no event can have is the nearest that the database knows", () => {
  expect(time("time:0000-01-01T00:00:00Z")).toBe("1970-01-01T00:00:00.000Z");
  expect(time("time:9999-12-31T23:59:59.999-23:59")).toBe("9999-01-01T00:00:00.000Z");
});

for (const text of [
  "",
  "Latest",
  "-1",
  "+1",
  "1e3",
  "0x1",
  "12345678901234567890",
  "time:2026-11-21",
  "time:2026-11-21T10:00:00",
  "time:2026-02-30T10:00:00Z",
  "time:2026-11-21T23:59:60Z",
  "time:2026-11-21T10:00:00+24:00",
  "event:",
  "event:a\0b",
  `event:${"x".repeat(257)}`,
]) {
  test(`${JSON.stringify(text.slice(0, 40))} is no place`, () => {
    expect(() => parsePlace("to", text)).toThrow(Problem);
  });
}

test("a cursor is the number reached, -1 before the first, and nothing else", () => {
  expect(["-1", "0", "17", "", " 1", "-2", "1.0", "end:3", "x"].map(parseCursor)).toEqual([
    -1,
    0,
    17,
    null,
    null,
    null,
    null,
    null,
    null,
  ]);
});
