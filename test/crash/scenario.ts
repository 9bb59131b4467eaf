// The frame of a seeded run: services of its own, a history, an end in time, and what is kept when something was found.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { NatsServerOptions } from "../support/nats-server.ts";
import { defectsLogged } from "./check/service-log.ts";
import { type Cluster, type Membership, startCluster } from "./cluster.ts";
import type { FaultKind } from "./faults.ts";
import { createHistory, type History } from "./history.ts";
import { createRandom, type Random } from "./random.ts";
import { quietMs } from "./settling.ts";
import { publicUrl } from "./versioned.ts";

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
  /** Settings of the services beside those that the seed decides. */
  env?: Record<string, string>;
  /** Several services with databases of their own, one membership a process, and NATS between them. */
  between?: { members: readonly Membership[]; nats: NatsServerOptions };
};

/** What one kind of run does between the start of its services and their end. */
export type Scenario = (context: { folder: string; cluster: Cluster; history: History; random: Random }) => Promise<{
  violations: string[];
  /** What happened, for the summary; called when everything has ended. */
  summary: (facts: { services: number; violations: readonly string[] }) => string;
}>;

export type RunResult = {
  violations: string[];
  /** One line for people. */
  summary: string;
  /** Where the history and the services' logs are; null when the run was clean and they are gone. */
  folder: string | null;
};

export const restLimits = { rssBytes: 600e6, sockets: 40, databaseConnections: 18 };

/** How long healing, waiting for quiet and checking may take together. */
const longestEndMs = 5 * quietMs;

export async function runScenario(options: RunOptions, scenario: Scenario): Promise<RunResult> {
  const { seed, durationMs } = options;
  const random = createRandom(seed);
  const folder = await mkdtemp(join(tmpdir(), `sluice-crash-${seed}-`));
  // The account that Postgres runs as must be able to pass.
  await chmod(folder, 0o755);
  const history = createHistory(join(folder, "history.jsonl"));
  const { between } = options;
  const count = options.services ?? (random.fork("services").chance(0.65) ? 2 : 1);
  const members = between?.members ?? Array.from({ length: count }, () => ({ database: null, env: {} }));
  const services = members.length;
  const cluster = await startCluster({
    folder,
    members,
    nats: between?.nats ?? null,
    fsync: options.fsync ?? false,
    smallDisk: options.fullDisk ?? false,
    skewClocks: options.skewClocks ?? false,
    env: { ...environment(random.fork("environment"), options), ...options.env },
    random,
    history,
  });
  let violations: string[] = [];
  let summary: Awaited<ReturnType<Scenario>>["summary"] = () => `seed ${seed}: it did not come to its end`;
  try {
    ({ violations, summary } = await inTime(scenario({ folder, cluster, history, random }), durationMs + longestEndMs));
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
    summary: summary({ services, violations }),
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

/** Runs a task with a connection to a database, by default the first one. */
export async function connected<T>(
  cluster: Cluster,
  task: (sql: ReturnType<Cluster["connect"]>) => Promise<T>,
  database?: string,
): Promise<T> {
  const sql = cluster.connect(database);
  try {
    return await task(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Small limits, so that their edges are met: they follow from the seed. */
function environment(random: Random, { prefilled = 0 }: RunOptions): Record<string, string> {
  return {
    LOG_LEVEL: "warn",
    PUBLIC_URL: publicUrl,
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
