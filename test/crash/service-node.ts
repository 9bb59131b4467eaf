// One process of the service at a fixed port, with a proxy before it for each kind of client and one behind it.
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import type { History } from "./history.ts";

export type ServiceNode = {
  index: number;
  /** The name of its service, where it has been given one. */
  service: string | null;
  port: number;
  /** Between the service and Postgres. */
  database: TcpProxy;
  /** Between the service and NATS, where there is one. */
  nats: TcpProxy | null;
  /** Between writers and the service. */
  writes: TcpProxy;
  /** Between readers and the service. */
  reads: TcpProxy;
  /** Starts the process, again and again until it is ready, as a supervisor would. */
  start: () => Promise<void>;
  /** SIGKILL, and waits for the end. */
  kill: () => Promise<void>;
  /** SIGTERM, and waits for the end; one that takes too long or ends with an error is an alarm. */
  terminate: () => Promise<void>;
  /** SIGKILL to the processes that evaluate upcasters for it. */
  killSandboxes: () => void;
  pause: () => void;
  resume: () => void;
  /** Bytes of memory and open sockets of the process. */
  resources: () => Promise<{ rss: number; sockets: number }>;
  stop: () => Promise<void>;
  /** Kills the process at once, for the end of the harness itself. */
  abandon: () => void;
};

export type ServiceNodeOptions = {
  index: number;
  port: number;
  databaseUrl: string;
  natsPort: number | null;
  env: Record<string, string>;
  logFile: string;
  history: History;
  /** Drawn at each start: by how many milliseconds the process's clock is wrong. */
  clockSkewMs: () => number;
};

const readyMs = 30_000;
const terminateMs = 25_000;
const main = new URL("../../src/main.ts", import.meta.url).pathname;
const skewedClock = new URL("./skewed-clock.ts", import.meta.url).pathname;

export async function createServiceNode(options: ServiceNodeOptions): Promise<ServiceNode> {
  const { index, port, history, logFile, natsPort } = options;
  const url = new URL(options.databaseUrl);
  const database = await startTcpProxy(Number(url.port));
  const nats = natsPort === null ? null : await startTcpProxy(natsPort);
  const writes = await startTcpProxy(port);
  const reads = await startTcpProxy(port);
  url.port = String(database.port);
  let child: Bun.Subprocess | null = null;
  let stopped = false;

  function spawn(): Bun.Subprocess {
    const log = openSync(logFile, "a");
    const skewMs = options.clockSkewMs();
    const preload = skewMs === 0 ? [] : ["--preload", skewedClock];
    if (skewMs !== 0)
      history.add({ kind: "fault", at: history.now(), what: `skew-clock ${index} by ${skewMs} ms`, phase: "begins" });
    const spawned = Bun.spawn([process.execPath, ...preload, main, "start"], {
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        PORT: String(port),
        MODULES: "none",
        DATABASE_URL: url.href,
        ...(nats === null ? {} : { NATS_URL: `nats://127.0.0.1:${nats.port}` }),
        CLOCK_SKEW_MS: String(skewMs),
        ...options.env,
      },
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    child = spawned;
    return spawned;
  }

  async function isReady(): Promise<boolean> {
    const answer = await fetch(`http://127.0.0.1:${port}/livez`, { signal: AbortSignal.timeout(1_000) }).catch(
      () => null,
    );
    return answer?.status === 200;
  }

  /** Ends the process on purpose; its exit is then no alarm. */
  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = child;
    child = null;
    if (ending === null) return;
    ending.kill(signal);
    // A stopped process takes SIGTERM only when it goes on.
    if (signal === "SIGTERM") ending.kill("SIGCONT");
    const exited = await Promise.race([ending.exited, sleep(terminateMs, "late" as const)]);
    if (exited === "late") {
      history.alarm(`service ${index} did not end within ${terminateMs} ms of ${signal}`);
      ending.kill("SIGKILL");
      await ending.exited;
    } else if (signal === "SIGTERM" && exited !== 0) history.alarm(`service ${index} ended with ${exited} on SIGTERM`);
  }

  return {
    index,
    service: options.env.SERVICE_NAME ?? null,
    port,
    database,
    nats,
    writes,
    reads,
    async start() {
      while (!stopped) {
        const spawned = spawn();
        const deadline = Date.now() + readyMs;
        while (child === spawned && spawned.exitCode === null && Date.now() < deadline && !(await isReady()))
          await sleep(30);
        if (child !== spawned) return;
        if (spawned.exitCode === null && Date.now() < deadline) {
          void spawned.exited.then((code) => {
            if (child === spawned) history.alarm(`service ${index} ended by itself, with ${code}`);
          });
          return;
        }
        // Its database is away: a supervisor tries again.
        if (spawned.exitCode === null) await end("SIGKILL");
        await sleep(200);
      }
    },
    kill: () => end("SIGKILL"),
    terminate: () => end("SIGTERM"),
    killSandboxes() {
      if (child !== null) Bun.spawnSync(["pkill", "-KILL", "-P", String(child.pid), "-f", "sandbox/program"]);
    },
    pause: () => child?.kill("SIGSTOP"),
    resume: () => child?.kill("SIGCONT"),
    async resources() {
      const pid = child?.pid;
      const status = await Bun.file(`/proc/${pid}/status`).text();
      const { readdir, readlink } = await import("node:fs/promises");
      const fds = await readdir(`/proc/${pid}/fd`);
      const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
      const rss = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024;
      return { rss, sockets: links.filter((link) => link.startsWith("socket:")).length };
    },
    async stop() {
      stopped = true;
      await end("SIGTERM");
      await Promise.all([database, nats, writes, reads].map((proxy) => proxy?.stop()));
    },
    abandon() {
      stopped = true;
      child?.kill("SIGKILL");
    },
  };
}
