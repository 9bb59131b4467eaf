// One seeded run: services under load and faults, a history of what clients saw, and the checks over it.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkHistory } from "./check/all.ts";
import { nothingIsLeft, type Remains } from "./check/rest.ts";
import { defectsLogged } from "./check/service-log.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { type FaultKind, faultKinds, planFaults } from "./faults.ts";
import { createHistory, type History } from "./history.ts";
import { readLog } from "./log-snapshot.ts";
import { runNemesis } from "./nemesis.ts";
import { createRandom, type Random } from "./random.ts";
import { type Readers, startReaders } from "./readers.ts";
import { summarise } from "./summary.ts";
import { runWriters } from "./writers.ts";

export type RunOptions = {
  seed: number;
  /** How long load and faults last, in milliseconds. */
  durationMs: number;
  /** Processes of the service; by default the seed decides between one and two. */
  services?: number;
  faults?: readonly FaultKind[];
  /** Whether Postgres waits for the disk. */
  fsync?: boolean;
};

export type RunResult = {
  violations: string[];
  /** One line for people. */
  summary: string;
  /** Where the history and the services' logs are; null when the run was clean and they are gone. */
  folder: string | null;
};

const quietMs = 45_000;
/** How long healing, waiting for quiet and checking may take together. */
const longestEndMs = 5 * quietMs;
const limits = { rssBytes: 600e6, sockets: 40, databaseConnections: 14 };

export async function runHistory(options: RunOptions): Promise<RunResult> {
  const { seed, durationMs } = options;
  const random = createRandom(seed);
  const folder = await mkdtemp(join(tmpdir(), `sluice-crash-${seed}-`));
  // The account that Postgres runs as must be able to pass.
  await chmod(folder, 0o755);
  const history = createHistory(join(folder, "history.jsonl"));
  const services = options.services ?? (random.fork("services").chance(0.65) ? 2 : 1);
  const cluster = await startCluster({
    folder,
    services,
    fsync: options.fsync ?? false,
    env: environment(random.fork("environment")),
    random,
    history,
  });
  let violations: string[];
  try {
    violations = await inTime(loadAndCheck(cluster, history, random, options), durationMs + longestEndMs);
  } catch (error) {
    violations = [`[run] it did not come to its end: ${(error as Error).stack}`];
  } finally {
    await cluster.stop();
    history.flush();
  }
  // Stopping the services may have raised an alarm, too.
  const late = history.entries.filter((entry) => entry.kind === "alarm").map(({ what }) => `[alarm] ${what}`);
  violations.push(...late.filter((alarm) => !violations.some((violation) => violation.startsWith(alarm))));
  for (let service = 0; service < services; service++) {
    violations.push(...defectsLogged(service, await Bun.file(join(folder, `service-${service}.log`)).text()));
  }
  await rm(join(folder, "data"), { recursive: true, force: true });
  if (violations.length === 0) await rm(folder, { recursive: true, force: true });
  return {
    violations,
    summary: summarise({ seed, services, durationMs, history: history.entries, violations }),
    folder: violations.length === 0 ? null : folder,
  };
}

/** Rejects when the run does not end: then something waits for ever, in the service or in its clients. */
async function inTime<T>(run: Promise<T>, ms: number): Promise<T> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal }).then(() => {
    throw new Error(`the run is not over after ${ms} ms`);
  });
  try {
    return await Promise.race([run, late]);
  } finally {
    over.abort();
    late.catch(() => {});
  }
}

/** Small limits, so that their edges are met: they follow from the seed. */
function environment(random: Random): Record<string, string> {
  return {
    LOG_LEVEL: "warn",
    DATABASE_TIMEOUT: random.pick(["500ms", "2s"]),
    SHUTDOWN_TIMEOUT: "2s",
    HEARTBEAT: random.pick(["200ms", "500ms", "1s"]),
    SSE_RETRY: "50ms",
    PARTITION_SIZE: String(random.pick([2_000, 10_000, 4_000_000])),
    TAIL_RING_BYTES: String(random.pick([20_000, 300_000, 16_777_216])),
    SSE_BUFFER_BYTES: String(random.pick([1_024, 65_536])),
    APPEND_BATCH_EVENTS: String(random.pick([10, 1_000])),
    DATABASE_POOL_SIZE: String(random.pick([2, 8])),
  };
}

async function loadAndCheck(
  cluster: Cluster,
  history: History,
  random: Random,
  options: RunOptions,
): Promise<string[]> {
  const { durationMs, faults = faultKinds } = options;
  const plan = planFaults(random.fork("faults"), { kinds: faults, services: cluster.services.length, durationMs });
  const reads = cluster.services.map((service) => service.reads.port);
  const readers = startReaders({ history, random: random.fork("readers"), ports: reads, durationMs });
  const stop = new AbortController();
  const giveUp = new AbortController();
  const writing = runWriters({
    history,
    random: random.fork("writers"),
    ports: cluster.services.map((service) => service.writes.port),
    stop: stop.signal,
    giveUp: giveUp.signal,
  });
  try {
    await runNemesis(cluster, plan, history, durationMs);
    stop.abort();
    const patience = setTimeout(() => giveUp.abort(), quietMs);
    await writing;
    clearTimeout(patience);
    await readers.calm();
    const url = `http://127.0.0.1:${cluster.services.at(-1)?.port}`;
    await quiet(
      history,
      () => "a service is not ready though everything is healed",
      async () => {
        const answers = await Promise.all(cluster.services.map(({ port }) => fetch(`http://127.0.0.1:${port}/readyz`)));
        return answers.every((answer) => answer.status === 200);
      },
    );
    const log = await connected(cluster, (sql) => readLog(sql, url));
    await followersArrive(history, readers, log.rows);
    await readers.stop();
    const remains = await whatIsLeft(cluster, history);
    return [...checkHistory(history.entries, log), ...nothingIsLeft(remains, limits).map((what) => `[12] ${what}`)];
  } finally {
    stop.abort();
    giveUp.abort();
    await readers.stop();
    await writing;
  }
}

async function connected<T>(cluster: Cluster, task: (sql: ReturnType<Cluster["connect"]>) => Promise<T>): Promise<T> {
  const sql = cluster.connect();
  try {
    return await task(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Waits for the condition; an alarm when it does not come. */
async function quiet(history: History, alarm: () => string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + quietMs; !(await condition().catch(() => false)); ) {
    if (Date.now() > deadline) return history.alarm(alarm());
    await sleep(25);
  }
}

/** Waits until each follower's cursor is at the end of what it follows. */
async function followersArrive(
  history: History,
  readers: Readers,
  rows: readonly { position: number; stream: string; offset: number }[],
): Promise<void> {
  const lastPosition = rows.at(-1)?.position ?? -1;
  const lastOffsets = new Map(rows.map((row) => [row.stream, row.offset]));
  await Promise.all(
    readers.followers.map(({ reader, cursor }) => {
      const end = reader.single ? (lastOffsets.get(reader.streams?.[0] as string) ?? -1) : lastPosition;
      const late = () => `${reader.reader} stands at ${cursor()} and does not reach ${end}, the end of what it follows`;
      return quiet(history, late, async () => (cursor() ?? -2) >= end);
    }),
  );
}

async function whatIsLeft(cluster: Cluster, history: History): Promise<Remains[]> {
  const eventStreams = async (port: number) => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return Number(/^sluice_sse_connections (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  };
  await quiet(
    history,
    () => "event streams stay open after their readers have left",
    async () => {
      const counts = await Promise.all(cluster.services.map(({ port }) => eventStreams(port)));
      return counts.every((count) => count === 0);
    },
  );
  return Promise.all(
    cluster.services.map(async (service) => {
      const { rss, sockets } = await service.resources();
      return {
        service: service.index,
        eventStreams: await eventStreams(service.port),
        rssBytes: rss,
        sockets,
        databaseConnections: service.database.connections(),
      };
    }),
  );
}
