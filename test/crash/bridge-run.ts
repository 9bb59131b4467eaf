// One seeded run of the bridge: a service that publishes, one that mirrors, NATS between them, load and faults, and the checks over all three.
import { join } from "node:path";
import { createMeter } from "./bridge-meter.ts";
import { createBridgeOperator } from "./bridge-operator.ts";
import { memoryComesDown, mirrorsCaughtUp, publisherCaughtUp } from "./bridge-settling.ts";
import { readBridge } from "./bridge-snapshot.ts";
import { summariseBridge } from "./bridge-summary.ts";
import { appendLast, runBridgeWriters } from "./bridge-writers.ts";
import {
  backoff,
  bridgedStreams,
  checkedType,
  maxPayloadBytes,
  mirrorDatabase,
  mirroring,
  publishing,
  strictSchema,
  tries,
} from "./bridged.ts";
import { checkBridge } from "./check/bridge.ts";
import { nothingIsLeft } from "./check/rest.ts";
import { type Cluster, findFreePort, type Membership } from "./cluster.ts";
import { type FaultKind, faultKinds, planFaults } from "./faults.ts";
import { isNatsFault, natsFaultKinds, publisherFaultKinds } from "./nats-faults.ts";
import { runNemesis } from "./nemesis.ts";
import { createRandom } from "./random.ts";
import { type RunOptions, type RunResult, restLimits, runScenario, type Scenario } from "./scenario.ts";
import { quietMs, servicesReady, whatIsLeft } from "./settling.ts";
import { runStrangers } from "./strangers.ts";

export type BridgeRunOptions = Omit<RunOptions, "between" | "services"> & {
  /** How many milliseconds the writers of arrays rest between two, at most. */
  restMs?: number;
};

/** Of each of the two services: one takes over from the other. */
const processes = 2;
/** Pools, wake-ups and duties: what the service reckons with for a process without projections. */
const limits = { ...restLimits, databaseConnections: 22 };
/** Nobody follows event streams here. */
const processKinds = faultKinds.filter((kind) => !/readers|old-transaction/.test(kind));
/** A process that is killed between publish and cursor is what matters most. */
const kinds: readonly FaultKind[] = [
  ...natsFaultKinds,
  ...processKinds,
  ...publisherFaultKinds,
  "kill-publisher",
  "kill-publisher",
];

export async function runBridge(options: BridgeRunOptions): Promise<RunResult> {
  const random = createRandom(options.seed).fork("bridge");
  const env = {
    // What the bridge tells is counted for the summary.
    LOG_LEVEL: "info",
    // Short enough for others to take over within a fault; who is slow must not lose it all the time.
    LEASE_DURATION: random.pick(["1500ms", "4s"]),
  };
  const member = (database: string | null, name: string): Membership[] =>
    Array.from({ length: processes }, () => ({ database, env: { ...env, ...options.env, SERVICE_NAME: name } }));
  const members = [...member(null, publishing), ...member(mirrorDatabase, mirroring)];
  const monitor = await findFreePort();
  const nats = { config: `max_payload: ${maxPayloadBytes}\nhttp: "127.0.0.1:${monitor}"` };
  const whole = { ...options, between: { members, nats } };
  return runScenario(whole, (context) => bridgeAndCheck(context, { ...options, monitor }));
}

async function bridgeAndCheck(
  { folder, cluster, history, random }: Parameters<Scenario>[0],
  options: BridgeRunOptions & { monitor: number },
): ReturnType<Scenario> {
  const { durationMs, restMs = 60, monitor } = options;
  const chosen = options.faults ?? kinds;
  const planned = (of: string, some: readonly FaultKind[]) =>
    some.length === 0
      ? []
      : planFaults(random.fork(of), { kinds: some, services: cluster.services.length, durationMs });
  const isOfNats = (kind: FaultKind) => isNatsFault(kind) && !kind.includes("publisher");
  const plans = [
    planned("NATS faults", chosen.filter(isOfNats)),
    planned(
      "process faults",
      chosen.filter((kind) => !isOfNats(kind)),
    ),
  ];
  const publishers = cluster.services.slice(0, processes);
  const mirrorPorts = cluster.services.slice(processes).map(({ port }) => port);
  const base = `http://127.0.0.1:${publishers.at(-1)?.port}`;
  await declare(cluster);
  const stranger = await natsOf(cluster).connect({ timeout: 2_000 });
  const meter = createMeter(cluster.services.map(({ port }) => port));
  const stop = new AbortController();
  const giveUp = new AbortController();
  const signals = { stop: stop.signal, giveUp: giveUp.signal };
  const writers = {
    history,
    random: random.fork("writers"),
    ports: publishers.map(({ writes }) => writes.port),
    ...signals,
  };
  const operator = createBridgeOperator({ history, random: random.fork("operator"), ports: mirrorPorts, ...signals });
  const load = Promise.all([
    runBridgeWriters({ ...writers, restMs }),
    runStrangers({ history, random: random.fork("strangers"), client: stranger, ...signals }),
    operator.run(durationMs),
  ]);
  load.catch(() => {});
  try {
    await Promise.all(plans.map((plan) => runNemesis(cluster, plan, history, durationMs)));
    stop.abort();
    const patience = setTimeout(() => giveUp.abort(), quietMs);
    await load;
    await servicesReady(cluster, history);
    await appendLast(writers);
    await publisherCaughtUp(history, base);
    await mirrorsCaughtUp(cluster, history);
    // What was given up before its schema came, or by a process that did not know of it yet.
    await operator.putBack();
    await mirrorsCaughtUp(cluster, history);
    clearTimeout(patience);
    await memoryComesDown(cluster, history, limits.rssBytes);
    const remains = await whatIsLeft(cluster, history);
    const counts = await meter.stop();
    const snapshot = await readBridge(cluster, processes, monitor);
    await Bun.write(join(folder, "bridge.json"), JSON.stringify(snapshot));
    const left = nothingIsLeft(remains, limits).map((what) => `[12] ${what}`);
    return {
      violations: [...checkBridge(history.entries, snapshot), ...left],
      summary: (facts) => summariseBridge({ ...options, ...facts, history: history.entries, snapshot, counts }),
    };
  } finally {
    stop.abort();
    giveUp.abort();
    await meter.stop();
    await load.catch(() => {});
    await stranger.close();
  }
}

const natsOf = ({ nats }: Cluster) => nats as NonNullable<Cluster["nats"]>;

/** Streams that are published, the schema that one mirror enforces, and the mirrors. */
async function declare(cluster: Cluster): Promise<void> {
  const port = (index: number) => cluster.services[index]?.port as number;
  const [first, second] = [port(0), port(processes)];
  await put(second, `/api/schemas/${checkedType}/versions/1`, { schema: strictSchema });
  for (const { stream, mirror, mode, maxEvents, source, isStrict } of bridgedStreams) {
    const retention = maxEvents === null ? {} : { retention: { maxEvents: String(maxEvents) } };
    await put(first, `/api/streams/${stream}`, { scope: "cross-service", nats: { mode, ...retention } });
    if (isStrict) await put(second, `/api/streams/${mirror}`, { validation: "enforce" });
    await put(second, `/api/remote-streams/${mirror}`, { ...source, maxDeliveries: tries, backoff });
  }
}

async function put(port: number, path: string, body: object): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`PUT ${path} was answered ${response.status}: ${await response.text()}`);
}
