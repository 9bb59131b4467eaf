// Chooses the account that Postgres runs under: our own, or an unprivileged one when the service runs as root.
import { chown, lstat, readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/** An unprivileged account, by its numbers. */
export interface Account {
  uid: number;
  gid: number;
  name: string;
}

/**
 * Returns the account to run Postgres under, or undefined for the service's own. Postgres refuses to run as root; then
 * it is the owner of the existing database folder, else `postgres`, else `nobody`. No account is ever created.
 * Throws if the folder belongs to somebody else, or if there is no such account.
 */
export async function chooseAccount(pgData: string): Promise<Account | undefined> {
  const owner = await stat(pgData).catch(() => undefined);
  const self = process.getuid?.() ?? 0;
  if (self !== 0) {
    if (!owner || owner.uid === self) return undefined;
    throw new Error(
      `The database folder ${pgData} belongs to user ${await nameOf(owner.uid)}: ` +
        "start the service as that user (or as root), or set another DATA_DIR",
    );
  }
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid, name: await nameOf(owner.uid) };
  const known = await accounts();
  const account = known.find(({ name }) => name === "postgres") ?? known.find(({ name }) => name === "nobody");
  if (account) return account;
  throw new Error(
    "Postgres refuses to run as root, and there is neither a user postgres nor a user nobody to run it as: " +
      "start the service as another user, or set DATABASE_URL",
  );
}

/** Hands a folder and all that is in it to the account. */
export async function handOver(path: string, account: Account | undefined): Promise<void> {
  if (!account) return;
  const entries = await readdir(path, { recursive: true });
  for (const entry of [path, ...entries.map((name) => join(path, name))]) {
    if ((await lstat(entry)).isSymbolicLink()) continue;
    await chown(entry, account.uid, account.gid).catch((error) => {
      throw new Error(`Cannot hand ${path} to user ${account.name}, whom Postgres runs as: ${error.message}`);
    });
  }
}

/** Tells whether the account may enter all the folders above `path`, going by their permission bits. */
export async function canReach(path: string, account: Account | undefined): Promise<boolean> {
  if (!account) return true;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if (!(mode & bit)) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function accounts(): Promise<Account[]> {
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  return lines
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 4 && Number(fields[2]) > 0)
    .map(([name = "", , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
}

async function nameOf(uid: number): Promise<string> {
  return (await accounts()).find((account) => account.uid === uid)?.name ?? String(uid);
}
