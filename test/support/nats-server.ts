// Real nats-servers for tests: on free ports of the loopback interface, with stores of their own, to be killed, started again and wiped.
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "nats";
import type { StreamSettings } from "../../src/delivery/bridge/jetstream.ts";
import { until } from "./until.ts";

const places = [Bun.which("nats-server"), "/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
const found = places.find((place) => place !== null && existsSync(place)) ?? null;
/** Where the server is; null when this machine has none, and tests that need it are skipped. */
export const natsServerPath = process.env.NATS_SERVER || found;
if (process.env.NATS_SERVER && !existsSync(process.env.NATS_SERVER))
  throw new Error(`NATS_SERVER names ${process.env.NATS_SERVER}, which is not there`);

export type NatsServer = {
  url: string;
  port: number;
  /** Ends the process without warning. What JetStream holds stays on the disk. */
  kill: () => Promise<void>;
  /** Stops the process where it is, or lets it go on. */
  signal: (signal: "SIGSTOP" | "SIGCONT") => void;
  /** Has it read other lines of configuration while it runs. */
  configure: (config: string) => Promise<void>;
  /** Starts it again on the same port and store. */
  start: () => Promise<void>;
  /** Kills it and deletes what JetStream holds. */
  wipe: () => Promise<void>;
  /** Kills it and keeps a copy of what JetStream holds, which takes its place again at `restore`. */
  backUp: () => Promise<void>;
  restore: () => Promise<void>;
  /** A client's own connection; the server closes it when it stops. */
  connect: (options?: Parameters<typeof connect>[0]) => Promise<NatsConnection>;
  /** What the server has written so far. */
  output: () => string;
  stop: () => Promise<void>;
};

/** For a stream of JetStream that nothing special is asked of. */
export const streamSettings: StreamSettings = {
  maxAgeMs: 0,
  maxBytes: -1,
  maxMessages: -1,
  replicas: 1,
  storage: "file",
  duplicateWindowMs: 1_000,
  description: "of a test",
};

export type NatsServerOptions = {
  /** Lines of a configuration file besides those of the port and the store. */
  config?: string;
  /** What a client needs to see that the server is ready; the default connects without credentials. */
  connectOptions?: Parameters<typeof connect>[0];
};

/** Starts a server with JetStream; the caller stops it. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const [port] = (await freePorts(1)) as [number];
  return startOn(port, "", options);
}

/** Three servers that are one cluster; the caller stops each. */
export async function startNatsCluster(options: NatsServerOptions = {}): Promise<NatsServer[]> {
  const ports = await freePorts(6);
  const routes = ports.slice(3).map((port) => `nats-route://127.0.0.1:${port}`);
  const servers = await Promise.all(
    ports
      .slice(0, 3)
      .map((port, n) =>
        startOn(
          port,
          `server_name: n${n}\ncluster { name: test, listen: "127.0.0.1:${ports[n + 3]}", routes: [${routes.map((route) => JSON.stringify(route)).join(", ")}] }`,
          options,
        ),
      ),
  );
  // JetStream answers once its servers have found a leader.
  const client = await (servers[0] as NatsServer).connect();
  try {
    await until("the cluster has a leader", async () => {
      const manager = await client.jetstreamManager({ timeout: 500 }).catch(() => null);
      return manager?.getAccountInfo().catch(() => null);
    });
  } finally {
    await client.close();
  }
  return servers;
}

async function startOn(port: number, more: string, { config = "", connectOptions = {} }: NatsServerOptions) {
  if (natsServerPath === null) throw new Error("there is no nats-server here");
  const folder = await mkdtemp(join(tmpdir(), "sluice-nats-"));
  const store = join(folder, "store");
  const file = join(folder, "server.conf");
  const write = (config: string) =>
    writeFile(
      file,
      `listen: "127.0.0.1:${port}"\n${/^jetstream/m.test(config) ? "" : `jetstream { store_dir: ${JSON.stringify(store)}, max_file_store: 2GB, max_memory_store: 256MB }\n`}${more}\n${config.replaceAll("{store}", store)}\n`,
    );
  await write(config);
  const url = `nats://127.0.0.1:${port}`;
  const clients = new Set<NatsConnection>();
  let output = "";
  let child: ReturnType<typeof spawn> | null = null;

  function spawn() {
    const started = Bun.spawn([natsServerPath as string, "-c", file], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    void (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of started.stderr) output += decoder.decode(chunk, { stream: true });
    })();
    return started;
  }

  const kill = async () => {
    const ending = child;
    child = null;
    ending?.kill("SIGKILL");
    await ending?.exited;
  };
  const start = async () => {
    const from = output.length;
    child = spawn();
    await until(`the nats-server is ready:\n${output.slice(from)}`, async () => {
      if (child?.exitCode !== null) throw new Error(`the nats-server ended:\n${output.slice(from)}`);
      return /Server is ready/.test(output.slice(from));
    });
  };
  const server: NatsServer = {
    url,
    port,
    kill,
    signal: (signal) => child?.kill(signal),
    async configure(config) {
      await write(config);
      const from = output.length;
      child?.kill("SIGHUP");
      await until("the nats-server has read it", () => /Reloaded server configuration/.test(output.slice(from)));
    },
    start,
    async wipe() {
      await kill();
      await rm(store, { recursive: true, force: true });
    },
    async backUp() {
      await kill();
      await cp(store, join(folder, "backup"), { recursive: true });
    },
    async restore() {
      await kill();
      await rm(store, { recursive: true, force: true });
      await cp(join(folder, "backup"), store, { recursive: true });
    },
    async connect(given) {
      const client = await connect({
        servers: url,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 50,
        ...connectOptions,
        ...given,
      });
      clients.add(client);
      return client;
    },
    output: () => output,
    async stop() {
      for (const client of clients) await client.close();
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await start();
  return server;
}

/** Ports that nobody listens on, below those that the system hands out to outgoing connections. */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe: Server = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
