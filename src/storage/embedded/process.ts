// Tells who a process id belongs to, and ends such a process within a bound.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

/** A process that cannot be mistaken for a later one with the same id. */
export interface ProcessIdentity {
  pid: number;
  /** When it was started, in the system's own notation: only good for comparing. */
  started: string;
}

/** What is known of a live process. */
export interface LiveProcess extends ProcessIdentity {
  /** Its command line, the arguments joined by one space. */
  command: string;
}

/** Returns what is known of the live process `pid`, or undefined if there is none; a zombie counts as none. */
export async function inspectProcess(pid: number): Promise<LiveProcess | undefined> {
  return process.platform === "linux" ? inspectInProc(pid) : inspectByPs(pid);
}

/** Tells whether this very process, and not another one with its id, is still alive. */
export async function isAlive({ pid, started }: ProcessIdentity): Promise<boolean> {
  return (await inspectProcess(pid))?.started === started;
}

/** Returns when the process has gone (true) or when `timeoutMs` have passed (false). */
export async function waitUntilGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (await isAlive(identity)) {
    if (Date.now() > deadline) return false;
    await sleep(25);
  }
  return true;
}

/** Sends a signal to this very process; a process that has gone is left in peace. */
export async function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<void> {
  if (!(await isAlive(identity))) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function inspectInProc(pid: number): Promise<LiveProcess | undefined> {
  try {
    const [stat, cmdline, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "utf8"),
      readFile(`/proc/${pid}/cmdline`, "utf8"),
      bootId(),
    ]);
    // The second field is the program's name in brackets and may contain anything, so count from the last bracket.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTicks] = [fields[0], fields[19]];
    if (state === "Z" || state === "X") return undefined;
    return { pid, started: `${boot}/${startTicks}`, command: cmdline.replace(/\0$/, "").replaceAll("\0", " ") };
  } catch {
    return undefined;
  }
}

// Start times count from the boot: with its id they stay unique across a reboot.
async function bootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
}

async function inspectByPs(pid: number): Promise<LiveProcess | undefined> {
  try {
    const { stdout } = await promisify(execFile)("ps", ["-ww", "-p", String(pid), "-o", "stat=,lstart=,command="], {
      env: { PATH: process.env.PATH ?? "", LC_ALL: "C" },
    });
    const [, state, started, command] = /^(\S+)\s+(\S+ +\S+ +\d+ +[\d:]+ +\d+)\s+(.*)$/.exec(stdout.trim()) ?? [];
    if (!state || !started || state.startsWith("Z")) return undefined;
    return { pid, started, command: command ?? "" };
  } catch {
    return undefined;
  }
}
