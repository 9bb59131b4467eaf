// What commands, deciders, projections, sagas and the outbox promise holds over a run under faults; `scripts/crash --processes` runs longer ones.
import { expect, test } from "bun:test";
import { runProcesses } from "../crash/process-run.ts";

test("a module's effects happen once and come to their end, with two services that are killed, stopped and cut off (seed 505)", async () => {
  const faults = ["kill-service", "crash-postgres", "pause-service", "cut-database", "lose-answers"] as const;
  const { violations, summary, folder } = await runProcesses({ seed: 505, faults, durationMs: 10_000 });
  if (violations.length > 0) console.error(`${summary}\nhistory and logs: ${folder}`);
  expect(violations).toEqual([]);
}, 120_000);
