// A service that is started with a skewed clock takes it for the time; durations stay right.
import { expect, test } from "bun:test";

const preload = new URL("../crash/skewed-clock.ts", import.meta.url).pathname;
const program = `
  const started = performance.now();
  const date = new Date();
  console.log(JSON.stringify({
    now: Date.now(),
    made: date.getTime(),
    isDate: date instanceof Date,
    parsed: new Date("2026-01-01T00:00:00Z").getTime(),
    copied: new Date(7).getTime(),
    utc: Date.UTC(2026, 0, 1),
    tookMs: performance.now() - started,
  }));`;

test.each([-90_000, 90_000])("a clock that is wrong by %d ms", async (skewMs) => {
  const child = Bun.spawn([process.execPath, "--preload", preload, "--eval", program], {
    env: { CLOCK_SKEW_MS: String(skewMs) },
  });
  const before = Date.now();
  const told = JSON.parse(await new Response(child.stdout).text()) as Record<string, number>;
  const after = Date.now();
  for (const time of [told.now, told.made]) {
    expect(time).toBeGreaterThanOrEqual(before + skewMs - 1_000);
    expect(time).toBeLessThanOrEqual(after + skewMs);
  }
  const newYear = Date.UTC(2026, 0, 1);
  expect(told).toMatchObject({ isDate: true, parsed: newYear, copied: 7, utc: newYear });
  expect(told.tookMs).toBeLessThan(30_000);
});
