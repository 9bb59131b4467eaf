// Keeps one Postgres running: takes over the one that is there or starts one, and starts it anew when it ends.
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import type { Log } from "../../base/log.ts";
import type { Account } from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { superuser, withReachable } from "./cluster.ts";
import { clearSocketDir, type DataFolder } from "./folders.ts";
import { findPostmaster, launchPostmaster, type Postmaster, stopPostmaster } from "./postmaster.ts";
import { waitUntilGone } from "./process.ts";
import { quoteServerLog } from "./server-log.ts";

/** The part of the log that start-up uses. */
export type StartLog = Pick<Log, "info" | "warn" | "error">;

/** All that is decided before Postgres is started. */
export interface Plan {
  binaries: Binaries;
  account: Account | undefined;
  folder: DataFolder;
  socketDir: string;
  port: number;
  settings: (at: { port: number; socketDir: string }) => string[];
}

/** A Postgres that takes connections. */
export interface Running {
  postmaster: Postmaster;
  exited: Promise<void>;
  takenOver: boolean;
}

const firstRestartDelayMs = 100;
const maxRestartDelayMs = 10_000;
const stableAfterMs = 60_000;
const orphansTimeoutMs = 15_000;

/**
 * Returns a Postgres that takes connections: the one that is running if its settings are right, or a new one.
 * Throws, quoting its log, if it does not start.
 */
export async function bringUp(plan: Plan, log: StartLog, signal: AbortSignal): Promise<Running> {
  const { folder, account, binaries } = plan;
  const found = await findPostmaster(folder.pgData, folder.clusterName);
  if (found) {
    const running = await takeOver(found, plan, log, signal);
    if (running) return running;
  }
  const launch = {
    program: binaries.postgres,
    settings: plan.settings(plan),
    pgData: folder.pgData,
    account,
    logFile: folder.logFile,
  };
  const onWait = (seconds: number) => log.info({ seconds }, "Postgres is still recovering");
  for (const deadline = Date.now() + orphansTimeoutMs; ; await sleep(100)) {
    try {
      await clearSocketDir(plan.socketDir, account);
      return { ...(await launchPostmaster(launch, { signal, onWait })), takenOver: false };
    } catch (error) {
      // A query of a killed Postgres may run on for a moment, and it keeps the folder in use.
      const inUse = /shared memory block .* is still in use/.test((error as Error).message);
      if (!inUse || Date.now() > deadline || signal.aborted) throw error;
    }
  }
}

// One that recovers is waited for; one that stops, does not answer or runs with other settings is replaced.
async function takeOver(found: Postmaster, plan: Plan, log: StartLog, signal: AbortSignal) {
  const { pgData, clusterName } = plan.folder;
  const wanted = await withReachable(pgData, plan.account, async (path) =>
    [plan.binaries.postgres, "-D", path, ...plan.settings(found)].join(" "),
  );
  let postmaster: Postmaster | undefined = found;
  while (postmaster && !postmaster.ready && !postmaster.stopping && postmaster.command === wanted && !signal.aborted) {
    await sleep(50);
    postmaster = await findPostmaster(pgData, clusterName);
  }
  if (postmaster?.ready && postmaster.command === wanted && (await answers(postmaster))) {
    return { postmaster, exited: watchExit(postmaster, signal), takenOver: true };
  }
  if (postmaster) {
    log.info({ postgresPid: postmaster.pid }, "Stopping a Postgres that was left behind");
    await stopPostmaster(postmaster);
  }
  return undefined;
}

async function watchExit(postmaster: Postmaster, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !(await waitUntilGone(postmaster, 0))) {
    await sleep(250, undefined, { ref: false, signal }).catch(() => undefined);
  }
}

/** Starts Postgres anew, with growing pauses, whenever it ends; returns when `signal` fires. */
export async function keepRunning(
  plan: Plan,
  log: StartLog,
  signal: AbortSignal,
  first: Running,
  report: (running: Running | undefined) => void,
): Promise<void> {
  const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  let delayMs = firstRestartDelayMs;
  for (let running: Running | undefined = first; ; ) {
    const upSince = Date.now();
    if (running) await Promise.race([running.exited, aborted]);
    if (signal.aborted) return;
    if (running) {
      report(undefined);
      const serverLog = await quoteServerLog(plan.folder.logFile);
      log.error(
        { pid: running.postmaster.pid, serverLog: serverLog.slice(-1000) },
        "Postgres has ended, restarting it",
      );
      if (Date.now() - upSince > stableAfterMs) delayMs = firstRestartDelayMs;
    }
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    delayMs = Math.min(delayMs * 2, maxRestartDelayMs);
    running = await bringUp(plan, log, signal).catch((error: Error) => {
      if (!signal.aborted)
        log.error({ error: error.message, delayMs }, "Postgres could not be restarted, trying again");
      return undefined;
    });
    report(running);
    if (running) log.info({ postgresPid: running.postmaster.pid }, "Postgres runs again");
  }
}

async function answers(postmaster: Postmaster): Promise<boolean> {
  return query(postmaster, (sql) => sql`select 1`).then(
    () => true,
    () => false,
  );
}

/** Runs `run` on a short connection of its own to the database postgres. */
export async function query<T>(
  { socketDir, port }: Postmaster,
  run: (sql: postgres.Sql) => PromiseLike<T>,
): Promise<T> {
  const sql = postgres({ host: socketDir, port, user: superuser, database: "postgres", max: 1, connect_timeout: 5 });
  try {
    return await run(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
