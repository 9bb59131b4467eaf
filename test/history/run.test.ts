// What the service promises holds over a short history of load and faults; `scripts/crash` runs longer ones.
import { expect, test } from "bun:test";
import { runHistory } from "../crash/run.ts";

test.concurrent.each([
  { seed: 101, services: 1, faults: ["crash-postgres", "kill-service", "lose-answers", "cut-readers"] as const },
  {
    seed: 202,
    services: 2,
    faults: ["half-open-database", "pause-service", "cut-database", "stall-database"] as const,
  },
])(
  "every invariant holds with $services services under $faults (seed $seed)",
  async ({ seed, services, faults }) => {
    const { violations, summary, folder } = await runHistory({ seed, services, faults, durationMs: 3_000 });
    if (violations.length > 0) console.error(`${summary}\nhistory and logs: ${folder}`);
    expect(violations).toEqual([]);
  },
  180_000,
);
