// The same seed gives the same faults.
import { expect, test } from "bun:test";
import { faultKinds, planFaults } from "../crash/faults.ts";
import { createRandom } from "../crash/random.ts";

const plan = (seed: number) =>
  planFaults(createRandom(seed).fork("faults"), { kinds: faultKinds, services: 2, durationMs: 60_000 });

test("a seed decides the schedule of faults", () => {
  expect(plan(1)).toEqual(plan(1));
  expect(plan(1)).not.toEqual(plan(2));
});

test("a long schedule has every kind of fault", () => {
  expect(new Set(plan(3).map((fault) => fault.kind)).size).toBe(faultKinds.length);
});

test("one part's decisions do not depend on how often another one asks", () => {
  const random = createRandom(7);
  const before = random.fork("a").next();
  random.next();
  expect(random.fork("a").next()).toBe(before);
});
