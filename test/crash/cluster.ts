// A Postgres of its own and the processes of one or two services on it, with a nats-server between them; ends with the run, also when that is interrupted.
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { type Embedded, startEmbedded } from "../../src/storage/embedded.ts";
import { type NatsServer, type NatsServerOptions, startNatsServer } from "../support/nats-server.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { createServiceNode, type ServiceNode } from "./service-node.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";

export type Cluster = {
  postgres: Embedded;
  services: ServiceNode[];
  /** What the data stands on, when that is small. */
  disk: SmallDisk | null;
  /** Between the services; null where there is one service. */
  nats: NatsServer | null;
  /** A connection of the harness to a database, by default the first one, past all proxies; the caller ends it. */
  connect: (database?: string) => postgres.Sql;
  stop: () => Promise<void>;
};

/** What a process belongs to: a service with a database of its own. */
export type Membership = { database: string | null; env: Record<string, string> };

export type ClusterOptions = {
  folder: string;
  /** One a process. */
  members: readonly Membership[];
  /** Null: no nats-server is there. */
  nats: NatsServerOptions | null;
  fsync: boolean;
  /** Puts the data on a small disk of its own. */
  smallDisk: boolean;
  /** Processes start with clocks that are wrong by up to 90 s. */
  skewClocks: boolean;
  env: Record<string, string>;
  random: Random;
  history: History;
};

const maxSkewMs = 90_000;
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, history, random } = options;
  const dataDir = join(folder, "data");
  const disk = options.smallDisk ? await mountSmallDisk(dataDir) : null;
  const embedded = await startEmbedded({
    dataDir,
    fsync: options.fsync,
    tcp: true,
    log: createLog("silent", "crash"),
  }).catch(async (error: unknown) => {
    await disk?.unmount();
    throw error;
  });
  const connect = (database = embedded.connection.database) =>
    postgres({ ...embedded.connection, database, max: 1, onnotice() {}, idle_timeout: 0, fetch_types: false });
  const services: ServiceNode[] = [];
  let nats: NatsServer | null = null;
  const abandon = () => {
    for (const service of services) service.abandon();
  };
  // However the harness ends: nothing outlives it.
  const atExit = () => {
    abandon();
    void nats?.kill();
    if (embedded.pid !== undefined) process.kill(embedded.pid, "SIGQUIT");
  };
  const interrupted = () => {
    for (const signal of signals) process.off(signal, interrupted);
    abandon();
    disk?.free();
    void embedded
      .stop()
      .then(() => disk?.unmount())
      .then(() => nats?.stop())
      .then(() => rm(folder, { recursive: true, force: true }))
      .finally(() => process.exit(130));
  };
  process.on("exit", atExit);
  for (const signal of signals) process.on(signal, interrupted);

  async function stop(): Promise<void> {
    await Promise.all(services.map((service) => service.stop()));
    disk?.free();
    await embedded.stop();
    await disk?.unmount();
    await nats?.stop();
    process.off("exit", atExit);
    for (const signal of signals) process.off(signal, interrupted);
  }

  try {
    await createDatabases(connect, options.members);
    if (options.nats !== null) nats = await startNatsServer(options.nats);
    for (const [index, { database, env }] of options.members.entries()) {
      const skews = random.fork(`clock ${index}`);
      services.push(
        await createServiceNode({
          index,
          port: await findFreePort(),
          databaseUrl: urlOf(embedded, database),
          natsPort: nats?.port ?? null,
          env: { ...options.env, ...env },
          logFile: join(folder, `service-${index}.log`),
          history,
          clockSkewMs: () => (options.skewClocks ? skews.between(-maxSkewMs, maxSkewMs) : 0),
        }),
      );
    }
    await Promise.all(services.map((service) => service.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    postgres: embedded,
    services,
    disk,
    nats,
    connect,
    stop,
  };
}

async function createDatabases(connect: Cluster["connect"], members: readonly Membership[]): Promise<void> {
  const sql = connect();
  try {
    for (const database of new Set(members.flatMap(({ database }) => database ?? [])))
      await sql`create database ${sql(database)}`;
  } finally {
    await sql.end();
  }
}

function urlOf({ tcpUrl }: Embedded, database: string | null): string {
  const url = new URL(tcpUrl as string);
  if (database !== null) url.pathname = `/${database}`;
  return url.href;
}

// Below the ephemeral range: the port must still be free when the service comes back to it.
export async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error("no free port between 20000 and 32000");
}
