// The main process of Postgres: finds the one of a database folder, starts one, stops one.
import { spawn } from "node:child_process";
import { open, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "./account.ts";
import { spawnOptions, withReachable } from "./cluster.ts";
import { inspectProcess, type LiveProcess, type ProcessIdentity, signalProcess, waitUntilGone } from "./process.ts";
import { markServerLog, quoteServerLog, rotateServerLog } from "./server-log.ts";

/** A running main process, as its pid file describes it. */
export interface Postmaster extends LiveProcess {
  port: number;
  socketDir: string;
  /** Takes connections (false: it recovers, or it is about to stop). */
  ready: boolean;
  stopping: boolean;
}

/** How to start a main process. */
export interface Launch {
  program: string;
  settings: string[];
  pgData: string;
  account: Account | undefined;
  logFile: string;
}

const readyTimeoutMs = 600_000;
const stopSteps = [
  { signal: "SIGINT", waitMs: 20_000 },
  { signal: "SIGQUIT", waitMs: 5_000 },
  { signal: "SIGKILL", waitMs: 5_000 },
] as const;

/** Returns the live main process of the database folder, or undefined; a pid file of a dead one counts for nothing. */
export async function findPostmaster(pgData: string, clusterName: string): Promise<Postmaster | undefined> {
  const file = await readPidFile(pgData);
  const live = file && (await inspectProcess(file.pid));
  return live && (await belongsTo(live, pgData, clusterName)) ? { ...live, ...file } : undefined;
}

/**
 * Starts a main process that outlives this one, and returns it when it takes connections; `exited` fulfils when it ends.
 * Throws, quoting its log, if it ends before that; stops it and throws when `signal` fires.
 */
export async function launchPostmaster(
  launch: Launch,
  { signal, onWait }: { signal: AbortSignal; onWait: (seconds: number) => void },
): Promise<{ postmaster: Postmaster; exited: Promise<void> }> {
  await disownPidFile(launch.pgData);
  await rotateServerLog(launch.logFile);
  const mark = await markServerLog(launch.logFile);
  const { identity, exited } = await spawnPostmaster(launch);
  let hasExited = false;
  void exited.then(() => {
    hasExited = true;
  });

  const startedAt = Date.now();
  for (let ticks = 1; Date.now() - startedAt < readyTimeoutMs && !signal.aborted; ticks++) {
    const file = await readPidFile(launch.pgData);
    if (file?.pid === identity.pid && file.ready) {
      const live = await inspectProcess(identity.pid);
      if (live) return { postmaster: { ...live, ...file }, exited };
    }
    if (hasExited) throw new Error(`Postgres did not start:\n${await quoteServerLog(launch.logFile, mark)}`);
    if (ticks % 250 === 0) onWait(Math.round((Date.now() - startedAt) / 1000));
    await sleep(20);
  }
  await stopPostmaster(identity);
  signal.throwIfAborted();
  throw new Error(`Postgres was not ready in ${readyTimeoutMs / 1000} s; its log is ${launch.logFile}`);
}

/**
 * Stops a main process: fast (open transactions are rolled back, a checkpoint is made), then immediately, then by force.
 * Ends in 30 s at most, at once if the process has gone; throws if not even force helped.
 */
export async function stopPostmaster(identity: ProcessIdentity, mode: "fast" | "immediate" = "fast"): Promise<void> {
  for (const { signal, waitMs } of mode === "fast" ? stopSteps : stopSteps.slice(1)) {
    await signalProcess(identity, signal);
    if (await waitUntilGone(identity, waitMs)) return;
  }
  throw new Error(`Postgres (process ${identity.pid}) does not stop`);
}

async function spawnPostmaster({ program, settings, pgData, account, logFile }: Launch) {
  const log = await open(logFile, "a", 0o600);
  try {
    return await withReachable(pgData, account, async (path, handle) => {
      // Detached: Ctrl-C in the terminal must reach the service alone, which stops Postgres when it has drained.
      const child = spawn(program, ["-D", path, ...settings], {
        ...spawnOptions(account),
        detached: true,
        stdio: ["ignore", log.fd, log.fd, ...handle],
      });
      const exited = new Promise<void>((resolve) => {
        child.once("exit", () => resolve());
        child.once("error", () => resolve());
      });
      child.unref();
      const pid = child.pid;
      if (pid === undefined) throw new Error(`Cannot run ${program}`);
      return { identity: { pid, started: (await inspectProcess(pid))?.started ?? "" }, exited };
    });
  } finally {
    await log.close();
  }
}

async function readPidFile(pgData: string) {
  const text = await readFile(join(pgData, "postmaster.pid"), "utf8").catch(() => "");
  const [pid = "", , , port, socketDir = "", , , status = ""] = text.split("\n");
  // A single-user Postgres writes its pid with a minus.
  const number = Math.abs(Number.parseInt(pid, 10));
  if (!number) return undefined;
  const [ready, stopping] = [status.startsWith("ready"), status.startsWith("stopping")];
  return { pid: number, port: Number(port), socketDir, ready, stopping };
}

async function belongsTo({ pid, command }: LiveProcess, pgData: string, clusterName: string): Promise<boolean> {
  if (command.includes(`cluster_name=${clusterName} `)) return true;
  if (!/^\S*(postgres|postmaster)\b/.test(command)) return false;
  // Started by hand: its working folder tells, or (where that may not be read) its arguments.
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  return folder === undefined ? command.includes(pgData) : folder === pgData;
}

// Called when nobody runs on the folder. Postgres believes any live process in the file to be a Postgres, except its own
// parent: so it gets our id. The rest of the file stays, for it lets Postgres see children that outlived their parent.
async function disownPidFile(pgData: string): Promise<void> {
  const path = join(pgData, "postmaster.pid");
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text !== undefined) await writeFile(path, text.replace(/^-?\d*/, String(process.pid)));
}
