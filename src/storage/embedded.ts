// Runs a Postgres of our own under the data folder: starts it, takes it over, restarts it when it crashes, stops it.
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { type Account, chooseAccount } from "./embedded/account.ts";
import { findBinaries } from "./embedded/binaries.ts";
import { prepareCluster, superuser } from "./embedded/cluster.ts";
import { closeDataFolder, type DataFolder, makeSocketDir, openDataFolder } from "./embedded/folders.ts";
import { takeLock } from "./embedded/lock.ts";
import { type Postmaster, stopPostmaster } from "./embedded/postmaster.ts";
import { rotateServerLog } from "./embedded/server-log.ts";
import { settingArguments } from "./embedded/settings.ts";
import { bringUp, keepRunning, type Plan, query, type Running, type StartLog } from "./embedded/supervise.ts";

export interface EmbeddedOptions {
  /** The folder that keeps the data; without it a throw-away folder is used, and removed by `stop`. */
  dataDir?: string;
  /** Whether data survives a crash of the machine; by default yes with a `dataDir`, no without. */
  fsync?: boolean;
  maxConnections?: number;
  /** Also listen on a free port of 127.0.0.1, with a password. */
  tcp?: boolean;
  log: StartLog;
}

export interface Embedded {
  /** The connection options for postgres.js; they stay the same when Postgres is restarted. */
  readonly connection: { host: string; port: number; username: string; database: string };
  /** The address for psql and other libpq programs on this machine. */
  readonly url: string;
  /** The address over TCP, with its password (it changes at every start); only with the option `tcp`. */
  readonly tcpUrl: string | undefined;
  /** The folder in use, which matters for a throw-away one. */
  readonly dataDir: string;
  /** Whether a Postgres that had outlived its service was found and is used. */
  readonly takenOver: boolean;
  /** The process id of Postgres; undefined while it is down. */
  readonly pid: number | undefined;
  /** Stops Postgres, also one that is dead already, in 30 s at most. May be called again. */
  stop(): Promise<void>;
}

const database = "sluice";
const localPort = 5432;
const logCheckMs = 60_000;

/**
 * Starts the embedded Postgres and returns when it takes connections. One that outlived its service is taken over if it
 * runs with the same settings, and replaced otherwise. When Postgres crashes it is restarted at the same address.
 * Throws an error that says what to do if the programs are missing, another live service uses the folder, or the folder
 * belongs to another user or to another version of Postgres.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  if (process.platform === "win32") throw new Error("There is no embedded Postgres for Windows: set DATABASE_URL");
  const { log, tcp = false } = options;
  const folder = await openDataFolder(options.dataDir);
  const account = await chooseAccount(folder.pgData);
  const lock = await takeLock(folder.lockFile, `The data folder ${folder.path}`);
  const stopped = new AbortController();
  const password = randomBytes(18).toString("base64url");
  let plan: Plan | undefined;
  let current: Running | undefined;

  async function release(): Promise<void> {
    if (current) await stopPostmaster(current.postmaster, folder.throwAway ? "immediate" : "fast");
    current = undefined;
    await closeDataFolder(folder, plan?.socketDir);
    await lock.release();
  }

  try {
    plan = await makePlan(folder, account, options);
    current = await bringUp(plan, log, stopped.signal);
    await prepareDatabase(current.postmaster, tcp ? password : undefined);
  } catch (error) {
    await release();
    throw error;
  }

  const { port, socketDir } = current.postmaster;
  const fixed = { ...plan, port, socketDir };
  const { takenOver } = current;
  const guard = keepRunning(fixed, log, stopped.signal, current, (running) => {
    current = running;
  });
  const logCheck = setInterval(() => void rotateServerLog(folder.logFile).catch(() => undefined), logCheckMs);
  logCheck.unref();
  log.info({ dataDir: folder.path, postgresPid: current.postmaster.pid, takenOver }, "Embedded Postgres is ready");

  let stopping: Promise<void> | undefined;
  return {
    connection: { host: socketDir, port, username: superuser, database },
    url: `postgres://${superuser}@/${database}?host=${encodeURIComponent(socketDir)}&port=${port}`,
    tcpUrl: tcp ? `postgres://${superuser}:${password}@127.0.0.1:${port}/${database}` : undefined,
    dataDir: folder.path,
    takenOver,
    get pid() {
      return current?.postmaster.pid;
    },
    stop() {
      stopping ??= (async () => {
        clearInterval(logCheck);
        stopped.abort();
        await guard;
        await release();
      })();
      return stopping;
    },
  };
}

async function makePlan(folder: DataFolder, account: Account | undefined, options: EmbeddedOptions): Promise<Plan> {
  const { fsync = !folder.throwAway, tcp = false, maxConnections = 100, log } = options;
  const binaries = await findBinaries(account);
  const { created } = await prepareCluster(folder.pgData, binaries, account, { durable: fsync });
  if (created) log.info({ dataDir: folder.path, ...(account && { user: account.name }) }, "Made a new database folder");
  const { clusterName, throwAway } = folder;
  return {
    binaries,
    account,
    folder,
    socketDir: await makeSocketDir(folder, account),
    port: tcp ? await findFreePort() : localPort,
    settings: ({ port, socketDir }) =>
      settingArguments({ clusterName, port, socketDir, tcp, fsync, throwAway, maxConnections }),
  };
}

async function prepareDatabase(postmaster: Postmaster, password: string | undefined): Promise<void> {
  await query(postmaster, async (sql) => {
    const [found] = await sql`select 1 from pg_database where datname = ${database}`;
    if (!found) await sql.unsafe(`create database ${database}`);
    if (password) await sql.unsafe(`alter role ${superuser} password '${password}'`);
  });
}

// Below 32768, where Linux takes no ports for outgoing connections: it must still be free when Postgres is restarted.
async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error("No free port on 127.0.0.1 between 20000 and 32000");
}
