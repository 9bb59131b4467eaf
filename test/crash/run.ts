// One seeded run: services under load and faults, a history of what clients saw, and the checks over it.
import { join } from "node:path";
import { checkHistory } from "./check/all.ts";
import { nothingIsLeft } from "./check/rest.ts";
import type { Cluster } from "./cluster.ts";
import { faultKinds, planFaults } from "./faults.ts";
import { readLog } from "./log-snapshot.ts";
import { runNemesis } from "./nemesis.ts";
import { prefill } from "./prefill.ts";
import { keepPurgedRows } from "./purged-rows.ts";
import { startReaders } from "./readers.ts";
import { connected, type RunOptions, type RunResult, restLimits, runScenario, type Scenario } from "./scenario.ts";
import { followersArrive, quietMs, servicesReady, whatIsLeft } from "./settling.ts";
import { summarise } from "./summary.ts";
import { runWriters } from "./writers.ts";

export const runHistory = (options: RunOptions): Promise<RunResult> =>
  runScenario(options, (context) => loadAndCheck(context, options));

async function loadAndCheck(
  { folder, cluster, history, random }: Parameters<Scenario>[0],
  options: RunOptions,
): ReturnType<Scenario> {
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
    const left = nothingIsLeft(remains, restLimits).map((what) => `[12] ${what}`);
    const { checkpoint } = log;
    return {
      violations: [...checkHistory(history.entries, log, base), ...left],
      summary: (facts) => summarise({ ...options, ...facts, history: history.entries, checkpoint }),
    };
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
