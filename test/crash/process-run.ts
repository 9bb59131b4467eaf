// One seeded run of a module: commands, a decider, sagas, projections and the outbox under load and faults, and the checks over them.
import { join } from "node:path";
import { checkProcesses } from "./check/processes.ts";
import { nothingIsLeft } from "./check/rest.ts";
import type { Cluster } from "./cluster.ts";
import { runCommandClients } from "./command-clients.ts";
import { type FaultKind, faultKinds, planFaults } from "./faults.ts";
import type { History } from "./history.ts";
import { projections, readModel, runModelReaders } from "./model-readers.ts";
import { runNemesis } from "./nemesis.ts";
import { createWrittenTable, runOutboxWriters } from "./outbox-writers.ts";
import { readProcesses, readStatus } from "./process-snapshot.ts";
import { summariseProcesses } from "./process-summary.ts";
import { createRandom } from "./random.ts";
import { runSagaClients } from "./saga-clients.ts";
import { connected, type RunOptions, type RunResult, restLimits, runScenario, type Scenario } from "./scenario.ts";
import { quiet, quietMs, servicesReady, whatIsLeft } from "./settling.ts";

const module = new URL("./process-module.ts", import.meta.url).pathname;
/** Projections have connections of their own. */
const limits = { ...restLimits, databaseConnections: 28 };
/** Nothing of a module is evaluated in a process of its own. */
const kinds = faultKinds.filter((kind) => kind !== "kill-sandboxes");

export function runProcesses(options: RunOptions): Promise<RunResult> {
  const random = createRandom(options.seed).fork("processes");
  const env = {
    MODULES: module,
    // Short enough for others to take over within a fault; who is slow must not lose it all the time.
    LEASE_DURATION: random.pick(["1500ms", "4s"]),
    OUTBOX_INTERVAL: random.pick(["20ms", "100ms"]),
    SAGA_CONCURRENCY: String(random.pick([3, 256])),
  };
  const whole = { services: 2, ...options, env: { ...env, ...options.env } };
  return runScenario(whole, (context) => processAndCheck(context, whole));
}

async function processAndCheck(
  { folder, cluster, history, random }: Parameters<Scenario>[0],
  options: RunOptions,
): ReturnType<Scenario> {
  const { durationMs } = options;
  const chosen: readonly FaultKind[] = options.faults ?? kinds;
  const plan = planFaults(random.fork("faults"), { kinds: chosen, services: cluster.services.length, durationMs });
  await connected(cluster, createWrittenTable);
  const stop = new AbortController();
  const giveUp = new AbortController();
  const ports = cluster.services.map((service) => service.writes.port);
  const clients = { history, ports, stop: stop.signal, giveUp: giveUp.signal };
  const load = Promise.all([
    runCommandClients({ ...clients, random: random.fork("commands") }),
    runSagaClients({ ...clients, random: random.fork("sagas") }),
    runOutboxWriters({ cluster, history, random: random.fork("outbox"), stop: stop.signal }),
    runModelReaders({
      ...{ history, random: random.fork("readers"), stop: stop.signal },
      ports: cluster.services.map((service) => service.reads.port),
    }),
  ]);
  load.catch(() => {});
  try {
    await runNemesis(cluster, plan, history, durationMs);
    stop.abort();
    const patience = setTimeout(() => giveUp.abort(), quietMs);
    await load;
    clearTimeout(patience);
    await servicesReady(cluster, history);
    const port = cluster.services.at(-1)?.port as number;
    await allIsDone(cluster, history, port);
    for (const projection of projections) {
      const found = await readModel(history, port, projection);
      if (found === null) history.alarm(`${projection} is not answered though everything is healed`);
      else history.add(found);
    }
    const snapshot = await connected(cluster, (sql) => readProcesses(sql, `http://127.0.0.1:${port}`, projections));
    const remains = await whatIsLeft(cluster, history);
    await Bun.write(join(folder, "processes.json"), JSON.stringify(snapshot));
    const left = nothingIsLeft(remains, limits).map((what) => `[12] ${what}`);
    return {
      violations: [...checkProcesses(history.entries, snapshot), ...left],
      summary: (facts) => summariseProcesses({ ...options, ...facts, history: history.entries, snapshot }),
    };
  } finally {
    stop.abort();
    giveUp.abort();
    await load.catch(() => {});
  }
}

/** Waits until every saga has ended, no row of the outbox can become an event, and the projections are at the end of the log. */
async function allIsDone(cluster: Cluster, history: History, port: number): Promise<void> {
  let open = "nothing was seen";
  await connected(cluster, (sql) =>
    quiet(
      history,
      () => `not everything is done: ${open}`,
      async () => {
        const [row] = await sql<{ sagas: number; rows: number }[]>`
          select (select count(*)::int from event_streaming.sagas where ended_at is null) as sagas,
                 (select count(*)::int from event_streaming.outbox where failure is null) as rows`;
        const models = await Promise.all(projections.map((name) => readStatus(`http://127.0.0.1:${port}`, name)));
        const behind = models.filter(({ lag, state, isRebuilt }) => lag > 0 || state !== "running" || !isRebuilt);
        open = `${row?.sagas} sagas, ${row?.rows} rows of the outbox, ${JSON.stringify(behind)}`;
        return row?.sagas === 0 && row.rows === 0 && behind.length === 0;
      },
    ),
  );
}
