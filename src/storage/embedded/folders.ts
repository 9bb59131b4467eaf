// The folders of the embedded Postgres: its data, its socket, and the throw-away kind.
import { createHash } from "node:crypto";
import {
  access,
  chmod,
  chown,
  constants,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  realpath,
  rm,
  stat,
  statfs,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Account } from "./account.ts";
import { lockHolder } from "./lock.ts";
import { findPostmaster, stopPostmaster } from "./postmaster.ts";

/** Where everything of one embedded database stands. */
export interface DataFolder {
  path: string;
  /** Postgres's own folder. */
  pgData: string;
  lockFile: string;
  logFile: string;
  /** Names this folder in the command line of its Postgres, by which that process is recognised. */
  clusterName: string;
  throwAway: boolean;
}

const roomyBytes = 2 * 2 ** 30;
const youngMs = 60_000;

/** Opens the data folder `dataDir`, made where missing; without a name, a new throw-away folder (in memory if roomy). */
export async function openDataFolder(dataDir: string | undefined): Promise<DataFolder> {
  if (dataDir === undefined) {
    const prefix = await throwAwayPrefix();
    const bases = await throwAwayBases();
    for (const base of bases) await sweep(base, prefix);
    const path = await mkdtemp(join(bases[0] ?? tmpdir(), prefix));
    await chmod(path, 0o711);
    return describe(await realpath(path), true);
  }
  await mkdir(dataDir, { recursive: true });
  await access(dataDir, constants.W_OK | constants.X_OK).catch(() => {
    throw new Error(`The data folder ${dataDir} belongs to somebody else: it cannot be written to`);
  });
  return describe(await realpath(dataDir), false);
}

/** Removes what lies outside of the data folder, and a throw-away folder itself. */
export async function closeDataFolder(folder: DataFolder, socketDir: string | undefined): Promise<void> {
  if (socketDir) await rm(socketDir, { recursive: true, force: true });
  if (folder.throwAway) await remove(folder.path);
}

/**
 * Makes a private folder for the socket. It stands outside of the data folder because a socket's path may have no more
 * than 107 bytes (103 on macOS).
 */
export async function makeSocketDir(folder: DataFolder, account: Account | undefined): Promise<string> {
  const base = tmpdir().length > 60 ? "/tmp" : tmpdir();
  const owner = account?.uid ?? process.getuid?.();
  // Anybody may make a folder of that name in a shared /tmp: use only one that nobody else can enter.
  for (const suffix of ["", "-2", "-3", "-4"]) {
    const path = join(base, `${folder.clusterName}${suffix}`);
    const made = await mkdir(path, { mode: 0o700 }).then(
      () => true,
      () => false,
    );
    if (made && account) await chown(path, account.uid, account.gid);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isDirectory() && found.uid === owner && (found.mode & 0o077) === 0) return path;
  }
  throw new Error(`Cannot make a private folder for Postgres's socket in ${base}: set TMPDIR to another folder`);
}

/**
 * Empties the socket's folder before a start. A lock file of a dead Postgres would stop the next one for as long as
 * any process has the pid in it, be it a zombie.
 */
export async function clearSocketDir(socketDir: string, account: Account | undefined): Promise<void> {
  const names = await readdir(socketDir).catch(() => undefined);
  for (const name of names ?? []) await rm(join(socketDir, name), { force: true });
  if (names) return;
  await mkdir(socketDir, { mode: 0o700 });
  if (account) await chown(socketDir, account.uid, account.gid);
}

function describe(path: string, throwAway: boolean): DataFolder {
  const pgData = join(path, "postgres");
  const hash = createHash("sha256").update(pgData).digest("hex").slice(0, 12);
  return {
    path,
    pgData,
    lockFile: join(path, "service.lock"),
    logFile: join(path, "postgres.log"),
    clusterName: `sluice-${hash}`,
    throwAway,
  };
}

// Containers may share /dev/shm without seeing each other's processes: a container tidies up after itself only.
async function throwAwayPrefix(): Promise<string> {
  const namespace = await readlink("/proc/self/ns/pid").catch(() => "");
  return `sluice-memory-${/\d+/.exec(namespace)?.[0] ?? "0"}-`;
}

async function throwAwayBases(): Promise<string[]> {
  const shm = await statfs("/dev/shm").catch(() => undefined);
  const roomy = process.platform === "linux" && shm !== undefined && shm.bavail * shm.bsize >= roomyBytes;
  return roomy ? ["/dev/shm", tmpdir()] : [tmpdir()];
}

async function sweep(base: string, prefix: string): Promise<void> {
  for (const name of await readdir(base).catch(() => [])) {
    if (!name.startsWith(prefix)) continue;
    const folder = describe(join(base, name), true);
    const found = await stat(folder.path).catch(() => undefined);
    if (!found || found.uid !== process.getuid?.() || (await lockHolder(folder.lockFile))) continue;
    const unlocked = !(await stat(folder.lockFile).catch(() => undefined));
    if (unlocked && Date.now() - found.mtimeMs < youngMs) continue;
    const postmaster = await findPostmaster(folder.pgData, folder.clusterName);
    if (postmaster) await stopPostmaster(postmaster, "immediate");
    await closeDataFolder(folder, postmaster?.socketDir);
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
