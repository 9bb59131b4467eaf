// Makes a new database folder with initdb, in one step, and checks an existing one.
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { chmod, mkdtemp, open, readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Account, canReach, handOver } from "./account.ts";
import type { Binaries } from "./binaries.ts";

/** The superuser of the embedded Postgres. */
export const superuser = "sluice";

/**
 * Makes sure that `pgData` holds a database of the programs' version; makes a new one where there is none.
 * Throws if the folder was made by another major version, or is something else.
 */
export async function prepareCluster(
  pgData: string,
  binaries: Binaries,
  account: Account | undefined,
  options: { durable: boolean },
): Promise<{ created: boolean }> {
  const parent = dirname(pgData);
  const draftPrefix = `${basename(pgData)}.new-`;
  // Left behind by an initdb that was killed half-way.
  for (const name of await readdir(parent)) if (name.startsWith(draftPrefix)) await remove(join(parent, name));

  const found = await readFile(join(pgData, "PG_VERSION"), "utf8").catch(() => undefined);
  if (found !== undefined) {
    checkVersion(pgData, found.trim(), binaries.major);
    await handOver(pgData, account);
    await chmod(pgData, 0o700);
    return { created: false };
  }
  await rmdir(pgData).catch((error) => {
    if (error.code !== "ENOENT") throw new Error(`${pgData} is not a database folder: move it away, or set DATA_DIR`);
  });

  const draft = await mkdtemp(join(parent, draftPrefix));
  await handOver(draft, account);
  await runInitdb(draft, binaries, account, options);
  await rename(draft, pgData);
  await syncFolder(parent);
  return { created: true };
}

/**
 * Calls `use` with a path under which the account can reach the database folder, and the handle to give to the process
 * as its file descriptor 3, if any. Below a private folder (a root's home) the folder is reached through that handle:
 * it opens the folder itself, so nobody needs permission on the way to it.
 */
export async function withReachable<T>(
  pgData: string,
  account: Account | undefined,
  use: (path: string, handle: number[]) => Promise<T>,
): Promise<T> {
  if (await canReach(pgData, account)) return use(pgData, []);
  if (process.platform !== "linux") {
    throw new Error(`User ${account?.name}, whom Postgres runs as, cannot reach ${pgData}: set another DATA_DIR`);
  }
  const folder = await open(pgData, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use("/proc/self/fd/3", [folder.fd]);
  } finally {
    await folder.close();
  }
}

/** How the programs of Postgres are started: as the account, and without the service's secrets and PG* variables. */
export function spawnOptions(account: Account | undefined) {
  const inherited = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"];
  const env = Object.fromEntries(inherited.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
  return { cwd: "/", env: { ...env, LC_ALL: "C" }, ...(account && { uid: account.uid, gid: account.gid }) };
}

async function runInitdb(
  draft: string,
  binaries: Binaries,
  account: Account | undefined,
  options: { durable: boolean },
) {
  await withReachable(draft, account, (path, handle) => {
    const args = [
      ...["-D", path, "-U", superuser, "--encoding=UTF8", "--locale=C"],
      // Sorts by code point like C, but knows the letters of all languages; the same on every system.
      ...(binaries.major >= 17 ? ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] : []),
      // The socket stands in a folder that only its owner may enter; over TCP a password is asked for.
      ...["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"],
      ...(options.durable ? ["--data-checksums"] : ["--no-sync"]),
    ];
    const child = spawn(binaries.initdb, args, {
      ...spawnOptions(account),
      stdio: ["ignore", "pipe", "pipe", ...handle],
    });
    return new Promise<void>((resolve, reject) => {
      let output = "";
      child.stdout?.on("data", (chunk) => (output += chunk));
      child.stderr?.on("data", (chunk) => (output += chunk));
      child.once("error", (error) => reject(new Error(`Cannot run initdb: ${error.message}`)));
      child.once("close", (code, signal) => {
        if (code === 0) resolve();
        else reject(new Error(`initdb failed (${signal ?? `exit code ${code}`}): ${output.trim().slice(-2000)}`));
      });
    });
  });
}

function checkVersion(pgData: string, found: string, needed: number): void {
  if (Number(found) === needed) return;
  throw new Error(
    `The database in ${pgData} was made by Postgres ${found}, the embedded one is Postgres ${needed}: move the data ` +
      `with pg_dump of version ${found}, or set another DATA_DIR or a DATABASE_URL`,
  );
}

// Without it, a crash of the machine may undo the rename, and the next start would remove the draft with its data.
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
