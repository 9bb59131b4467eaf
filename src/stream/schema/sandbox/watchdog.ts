// Ends its process when the process makes no progress or takes too much memory: a thread beside the one that works.
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { type Progress, progressOf } from "./progress.ts";
import { stuckText } from "./verdict.ts";

const { shared, maxBytes } = workerData as { shared: SharedArrayBuffer; maxBytes: number };
const progress: Progress = progressOf(shared);
const lookMs = 25;

let seen = -1;
let usedBefore = 0;

/** Processor time of the process, in milliseconds: a machine that is busy elsewhere is no fault of what is evaluated here. */
function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

setInterval(() => {
  const used = usedMs();
  const steps = progress.steps();
  const limitMs = progress.limitMs();
  if (steps !== seen || limitMs === 0) {
    seen = steps;
    usedBefore = used;
  }
  const isStuck = limitMs > 0 && used - usedBefore > limitMs;
  // What looks at memory must not wait for the thread that fills it.
  if (!isStuck && (limitMs === 0 || process.memoryUsage.rss() <= maxBytes)) return;
  // Who is replaced says which line it was, so that the others need not be tried one by one.
  if (isStuck) writeSync(2, stuckText(progress.place()));
  process.kill(process.pid, "SIGKILL");
}, lookMs);
parentPort?.postMessage("watching");
