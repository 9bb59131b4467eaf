// Runs seed after seed until the time is over; ends with 1 at the first violation and keeps that run's history.
import { runBridge } from "./bridge-run.ts";
import { runConsumers } from "./consumer-run.ts";
import { runProcesses } from "./process-run.ts";
import { createRandom } from "./random.ts";
import { runHistory } from "./run.ts";

type Arguments = {
  seconds: number;
  seed: number;
  runs: number;
  durationMs: number;
  fullDisk: boolean;
  checkpoints: boolean;
  consumers: boolean;
  processes: boolean;
  bridge: boolean;
};

const flags = ["--full-disk", "--checkpoints", "--consumers", "--processes", "--bridge"];
const usage =
  "usage: scripts/crash [--seconds 600] [--seed N] [--runs N] [--run-seconds 30] [--full-disk] [--checkpoints] [--consumers|--processes|--bridge]";

function readArguments(args: readonly string[]): Arguments {
  const given = new Map<string, number>();
  for (let i = 0; i < args.length; i++) {
    const name = args[i] as string;
    const value = flags.includes(name) ? "1" : (args[++i] ?? "");
    if (!(flags.includes(name) || /^--(seconds|seed|runs|run-seconds)$/.test(name)) || !/^\d+$/.test(value)) {
      console.error(usage);
      process.exit(2);
    }
    given.set(name, Number(value));
  }
  const runs = given.get("--runs") ?? Number.POSITIVE_INFINITY;
  return {
    seconds: given.get("--seconds") ?? (given.has("--runs") ? Number.POSITIVE_INFINITY : 600),
    seed: given.get("--seed") ?? Math.floor(Math.random() * 1e9),
    runs,
    durationMs: (given.get("--run-seconds") ?? 30) * 1_000,
    fullDisk: given.has("--full-disk"),
    checkpoints: given.has("--checkpoints"),
    consumers: given.has("--consumers"),
    processes: given.has("--processes"),
    bridge: given.has("--bridge"),
  };
}

/** Just below a multiple of 100,000 events, so that the load passes it; in some runs only, unless all are to. */
function eventsBefore(seed: number, always: boolean): number {
  const random = createRandom(seed).fork("before");
  if (!random.chance(0.3) && !always) return 0;
  return random.pick([1, 1, 2]) * 100_000 - random.between(100, 8_000);
}

const { seconds, seed, runs, durationMs, fullDisk, checkpoints, consumers, processes, bridge } = readArguments(
  process.argv.slice(2),
);
const deadline = Date.now() + seconds * 1_000;
for (let run = 0; run < runs && Date.now() < deadline; run++) {
  const options = { seed: seed + run, durationMs, fsync: true, skewClocks: true };
  const { violations, summary, folder } = consumers
    ? await runConsumers(options)
    : processes
      ? await runProcesses(options)
      : bridge
        ? await runBridge(options)
        : await runHistory({ ...options, prefilled: eventsBefore(seed + run, checkpoints), fullDisk });
  console.log(summary);
  if (violations.length === 0) continue;
  for (const violation of violations.slice(0, 50)) console.log(`  ${violation}`);
  if (violations.length > 50) console.log(`  and ${violations.length - 50} more`);
  console.log(`history and logs: ${folder}`);
  const modes = `${fullDisk ? " --full-disk" : ""}${checkpoints ? " --checkpoints" : ""}${consumers ? " --consumers" : ""}${processes ? " --processes" : ""}${bridge ? " --bridge" : ""}`;
  console.log(`again: scripts/crash --seed ${seed + run} --runs 1 --run-seconds ${durationMs / 1_000}${modes}`);
  process.exit(1);
}
process.exit(0);
