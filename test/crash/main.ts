// Runs seed after seed until the time is over; ends with 1 at the first violation and keeps that run's history.
import { runHistory } from "./run.ts";

function readArguments(args: readonly string[]): { seconds: number; seed: number; runs: number; durationMs: number } {
  const given = new Map<string, number>();
  for (let i = 0; i < args.length; i += 2) {
    const [name = "", value = ""] = args.slice(i, i + 2);
    if (!/^--(seconds|seed|runs|run-seconds)$/.test(name) || !/^\d+$/.test(value)) {
      console.error("usage: scripts/crash [--seconds 600] [--seed N] [--runs N] [--run-seconds 30]");
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
  };
}

const { seconds, seed, runs, durationMs } = readArguments(process.argv.slice(2));
const deadline = Date.now() + seconds * 1_000;
for (let run = 0; run < runs && Date.now() < deadline; run++) {
  const { violations, summary, folder } = await runHistory({ seed: seed + run, durationMs, fsync: true });
  console.log(summary);
  if (violations.length === 0) continue;
  for (const violation of violations.slice(0, 50)) console.log(`  ${violation}`);
  if (violations.length > 50) console.log(`  and ${violations.length - 50} more`);
  console.log(`history and logs: ${folder}`);
  console.log(`again: scripts/crash --seed ${seed + run} --runs 1 --run-seconds ${durationMs / 1_000}`);
  process.exit(1);
}
process.exit(0);
