// Durations are read and written as people write them.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatDuration, parseDuration } from "../../src/base/duration.ts";

test("a duration is a whole number and a unit", () => {
  const read = ["500ms", "30s", "5m", "24h", "7d", "0s", "007s"].map(parseDuration);
  expect(read).toEqual([500, 30_000, 300_000, 86_400_000, 604_800_000, 0, 7_000]);
});

test("anything else is none", () => {
  for (const text of ["", "5", "s", "1.5s", "-1s", "1 s", "5S", "1w", "5m30s", "1e3s", "1234567890s", "٣s"])
    expect([text, parseDuration(text)]).toEqual([text, null]);
});

test("it is written in the largest unit that is exact", () => {
  const written = [0, 1, 1_500, 90_000, 60_000, 3_600_000, 86_400_000, 604_800_000, 86_400_001].map(formatDuration);
  expect(written).toEqual(["0s", "1ms", "1500ms", "90s", "1m", "1h", "1d", "7d", "86400001ms"]);
});

test("what is written is read as the same", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 999_999_999 }), (ms) => parseDuration(formatDuration(ms)) === ms));
});
