import { expect, test } from "bun:test";
import { isDateTime } from "../../src/base/rfc3339.ts";

for (const text of [
  "1985-04-12T23:20:50.52Z",
  "1996-12-19T16:39:57-08:00",
  "1990-12-31T23:59:60Z",
  "1937-01-01T12:00:27.87+00:20",
  "2024-02-29t00:00:00z",
]) {
  test(`${text} is a date-time`, () => expect(isDateTime(text)).toBe(true));
}

for (const text of [
  "",
  "2026-02-29T00:00:00Z",
  "2026-02-31T00:00:00Z",
  "2026-04-31T00:00:00Z",
  "2026-13-01T00:00:00Z",
  "2026-00-01T00:00:00Z",
  "2026-01-00T00:00:00Z",
  "2026-01-01",
  "2026-01-01T00:00Z",
  "2026-01-01T00:00:00",
  "2026-01-01 00:00:00Z",
  "2026-01-01T24:00:00Z",
  "2026-01-01T00:00:61Z",
  "2026-01-01T00:00:00.Z",
  "2026-01-01T00:00:00+24:00",
  "2026-01-01T00:00:00Z\n",
]) {
  test(`${JSON.stringify(text)} is none`, () => expect(isDateTime(text)).toBe(false));
}
