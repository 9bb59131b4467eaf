// The gauges of subscriptions by themselves: a scrape never waits for them for long.
import { expect, test } from "bun:test";
import { Registry } from "prom-client";
import { createLog } from "../../src/base/log.ts";
import { createSubscriptionGauges } from "../../src/ops/subscription-gauges.ts";

const figures = {
  subscription: "s",
  inFlight: 1,
  waiting: 2,
  parked: 7,
  pausedKeys: 8,
  deadLetters: 3,
  consumers: 4,
  lagEvents: 5,
  lagSeconds: 6,
};

test("a read that does not end is waited for a moment, is not begun twice, and leaves no old figures", async () => {
  const registry = new Registry();
  let reads = 0;
  let answers = true;
  const gauges = createSubscriptionGauges(
    registry,
    () => {
      reads++;
      return answers ? Promise.resolve([figures]) : new Promise(() => {});
    },
    10,
    createLog("silent", "test"),
  );
  await gauges.refresh();
  expect(await registry.metrics()).toContain('sluice_subscription_lag_events{subscription="s"} 5');
  answers = false;
  await Promise.all([gauges.refresh(), gauges.refresh()]);
  await gauges.refresh();
  expect(reads).toBe(2);
  expect(await registry.metrics()).not.toContain("{");
});
