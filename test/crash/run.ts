// One seeded run: services under load and faults, a history of what clients saw, and the checks over it.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkHistory } from "./check/all.ts";
import { nothingIsLeft } from "./check/rest.ts";
import { defectsLogged } from "./check/service-log.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { type FaultKind, faultKinds, planFaults } from "./faults.ts";
import { createHistory, type History } from "./history.ts";
import { readLog } from "./log-snapshot.ts";
import { runNemesis } from "./nemesis.ts";
import { prefill } from "./prefill.ts";
import { keepPurgedRows } from "./purged-rows.ts";
import { createRandom, type Random } from "./random.ts";
import { startReaders } from "./readers.ts";
import { followersArrive, quietMs, servicesReady, whatIsLeft } from "./settling.ts";
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
  /** Services start with clocks that are wrong by up to 90 s. */
  skewClocks?: boolean;
  /** The log has so many events before the run begins. */
  prefilled?: number;
  /** The data stands on a small disk, which is filled now and then. */
  fullDisk?: boolean;
};

export type RunResult = {
  violations: string[];
  /** One line for people. */
  summary: string;
  /** Where the history and the services' logs are; null when the run was clean and they are gone. */
  folder: string | null;
};

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
    smallDisk: options.fullDisk ?? false,
    skewClocks: options.skewClocks ?? false,
    env: environment(random.fork("environment"), options),
    random,
    history,
  });
  let violations: string[] = [];
  let checkpoint = 0;
  try {
    ({ violations, checkpoint } = await inTime(
      loadAndCheck(folder, cluster, history, random, options),
      durationMs + longestEndMs,
    ));
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
  await Bun.write(join(folder, "violations.txt"), violations.join("\n"));
  if (violations.length === 0) await rm(folder, { recursive: true, force: true });
  return {
    violations,
    summary: summarise({ seed, services, durationMs, history: history.entries, checkpoint, violations }),
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
function environment(random: Random, { prefilled = 0 }: RunOptions): Record<string, string> {
  return {
    LOG_LEVEL: "warn",
    DATABASE_TIMEOUT: random.pick(["500ms", "2s"]),
    SHUTDOWN_TIMEOUT: "2s",
    HEARTBEAT: random.pick(["200ms", "500ms", "1s"]),
    SSE_RETRY: "50ms",
    PARTITION_SIZE: String(random.pick(prefilled > 0 ? [20_000, 4_000_000] : [2_000, 10_000, 4_000_000])),
    TAIL_RING_BYTES: String(random.pick([20_000, 300_000, 16_777_216])),
    SSE_BUFFER_BYTES: String(random.pick([1_024, 65_536])),
    APPEND_BATCH_EVENTS: String(random.pick([10, 1_000])),
    DATABASE_POOL_SIZE: String(random.pick([2, 8])),
  };
}

async function loadAndCheck(
  folder: string,
  cluster: Cluster,
  history: History,
  random: Random,
  options: RunOptions,
): Promise<{ violations: string[]; checkpoint: number }> {
  const { durationMs, prefilled = 0 } = options;
  const full = options.fullDisk ? (["fill-disk", "fill-disk", "fill-disk"] as const) : [];
  const kinds = [...(options.faults ?? faultKinds), ...full];
  const plan = planFaults(random.fork("faults"), { kinds, services: cluster.services.length, durationMs });
  const url = `http://127.0.0.1:${cluster.services.at(-1)?.port}`;
  await connected(cluster, keepPurgedRows);
  if (prefilled > 0) await prefill(cluster.services[0]?.port as number, prefilled);
  const base = prefilled > 0 ? await connected(cluster, readEnd) : 0;
  const ports = cluster.services.map((service) => service.reads.port);
  const readers = startReaders({ history, random: random.fork("readers"), ports, base, durationMs });
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
    await servicesReady(cluster, history);
    const log = await connected(cluster, (sql) => readLog(sql, url, base));
    await followersArrive(history, readers, log.rows);
    await readers.stop();
    const remains = await whatIsLeft(cluster, history);
    // What cannot be looked up any more when the database is gone.
    await Bun.write(join(folder, "log.json"), JSON.stringify({ base, ...log, streams: undefined }));
    const left = nothingIsLeft(remains, limits).map((what) => `[12] ${what}`);
    return { violations: [...checkHistory(history.entries, log, base), ...left], checkpoint: log.checkpoint };
  } finally {
    stop.abort();
    giveUp.abort();
    await readers.stop();
    await writing;
  }
}

async function readEnd(sql: ReturnType<Cluster["connect"]>): Promise<number> {
  const [row] = await sql<{ end: string }[]>`select max(position) + 1 as end from event_streaming.events`;
  return Number(row?.end);
}

async function connected<T>(cluster: Cluster, task: (sql: ReturnType<Cluster["connect"]>) => Promise<T>): Promise<T> {
  const sql = cluster.connect();
  try {
    return await task(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
