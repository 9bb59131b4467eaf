// What the ledger promises holds over a short run of consumers under faults; `scripts/crash --consumers` runs longer ones.
import { expect, test } from "bun:test";
import { runConsumers } from "../crash/consumer-run.ts";

test.concurrent.each([
  { seed: 303, services: 1, faults: ["crash-postgres", "kill-service", "lose-answers", "cut-readers"] as const },
  { seed: 404, services: 2, faults: ["pause-service", "cut-database", "stall-database", "cut-readers"] as const },
])(
  "each event goes to one holder at a time and is settled, with $services services under $faults (seed $seed)",
  async ({ seed, services, faults }) => {
    const { violations, summary, folder } = await runConsumers({ seed, services, faults, durationMs: 3_000 });
    if (violations.length > 0) console.error(`${summary}\nhistory and logs: ${folder}`);
    expect(violations).toEqual([]);
  },
  180_000,
);
