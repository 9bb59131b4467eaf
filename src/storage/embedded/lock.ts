// Lets one live service at a time use a data folder, by a file that names its holder.
import { randomUUID } from "node:crypto";
import { constants, copyFile, link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { inspectProcess, isAlive, type ProcessIdentity } from "./process.ts";

/** A lock that is held until `release`, or until its holder dies. */
export interface FileLock {
  release(): Promise<void>;
}

/**
 * Takes the lock file `path` for this process, also from a holder that is dead (killed, or before a reboot).
 * Throws an error that names the process if the holder is alive.
 */
export async function takeLock(path: string, purpose: string): Promise<FileLock> {
  const self = await inspectProcess(process.pid);
  const identity: ProcessIdentity = { pid: process.pid, started: self?.started ?? "unknown" };
  const content = `${JSON.stringify({ ...identity, token: randomUUID() })}\n`;
  const own = `${path}.${process.pid}-${randomUUID().slice(0, 8)}`;
  await writeFile(own, content, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 20; attempt++) {
      if (await place(own, path)) return { release: () => releaseLock(path, content) };
      const found = await readFile(path, "utf8").catch(() => undefined);
      if (found === undefined) continue;
      const holder = parse(found);
      if (holder && (await isAlive(holder))) throw inUse(holder.pid, purpose);
      await removeStale(path, own, found);
    }
    throw new Error(`The lock file ${path} changes all the time: several services seem to start on ${purpose} at once`);
  } finally {
    await rm(own, { force: true });
  }
}

/** Returns the live process that holds the lock file `path`, or undefined. */
export async function lockHolder(path: string): Promise<ProcessIdentity | undefined> {
  const holder = parse(await readFile(path, "utf8").catch(() => ""));
  return holder && (await isAlive(holder)) ? holder : undefined;
}

// A hard link makes the file appear in one step with its whole content; some shared folders know no links.
async function place(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
  }
  return copyFile(own, path, constants.COPYFILE_EXCL).then(
    () => true,
    (error) => {
      if (error.code === "EEXIST") return false;
      throw error;
    },
  );
}

// Moved aside before it is judged again: of two starters that saw the same dead holder, the slower one may
// have moved the faster one's fresh lock, and puts it back.
async function removeStale(path: string, own: string, judged: string): Promise<void> {
  const aside = `${own}.stale`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, "utf8")) !== judged) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function releaseLock(path: string, content: string): Promise<void> {
  if ((await readFile(path, "utf8").catch(() => "")) === content) await rm(path, { force: true });
}

function parse(text: string): ProcessIdentity | undefined {
  try {
    const { pid, started } = JSON.parse(text);
    return Number.isInteger(pid) && typeof started === "string" ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

function inUse(pid: number, purpose: string): Error {
  const who = pid === process.pid ? "this process itself" : `a running service (process ${pid})`;
  return new Error(`${purpose} is in use by ${who}: stop it first, or set another DATA_DIR`);
}
