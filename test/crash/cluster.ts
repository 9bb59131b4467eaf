// A Postgres of its own and one or two services on it; ends with the run, also when that is interrupted.
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { type Embedded, startEmbedded } from "../../src/storage/embedded.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { createServiceNode, type ServiceNode } from "./service-node.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";

export type Cluster = {
  postgres: Embedded;
  services: ServiceNode[];
  /** What the data stands on, when that is small. */
  disk: SmallDisk | null;
  /** A connection of the harness to the database, past all proxies; the caller ends it. */
  connect: () => postgres.Sql;
  stop: () => Promise<void>;
};

export type ClusterOptions = {
  folder: string;
  services: number;
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
  const services: ServiceNode[] = [];
  const abandon = () => {
    for (const service of services) service.abandon();
  };
  // However the harness ends: nothing outlives it.
  const atExit = () => {
    abandon();
    if (embedded.pid !== undefined) process.kill(embedded.pid, "SIGQUIT");
  };
  const interrupted = () => {
    for (const signal of signals) process.off(signal, interrupted);
    abandon();
    disk?.free();
    void embedded
      .stop()
      .then(() => disk?.unmount())
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
    process.off("exit", atExit);
    for (const signal of signals) process.off(signal, interrupted);
  }

  try {
    for (let index = 0; index < options.services; index++) {
      const skews = random.fork(`clock ${index}`);
      services.push(
        await createServiceNode({
          index,
          port: await findFreePort(),
          databaseUrl: embedded.tcpUrl as string,
          env: options.env,
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
    connect: () => postgres({ ...embedded.connection, max: 1, onnotice() {}, idle_timeout: 0, fetch_types: false }),
    stop,
  };
}

// Below the ephemeral range: the port must still be free when the service comes back to it.
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
  throw new Error("no free port between 20000 and 32000");
}
