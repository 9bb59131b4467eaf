// One seeded run of consumers: subscriptions and a queue under load and faults, and the checks over what consumers saw.
import { setTimeout as sleep } from "node:timers/promises";
import { checkLedger } from "./check/ledger.ts";
import { nothingIsLeft } from "./check/rest.ts";
import type { Cluster } from "./cluster.ts";
import type { SubscriptionDeclared } from "./consumer-history.ts";
import { summariseConsumers } from "./consumer-summary.ts";
import { consumerNames, startConsumers } from "./consumers.ts";
import { type FaultKind, faultKinds, planFaults } from "./faults.ts";
import type { History } from "./history.ts";
import { runJobWriters } from "./job-writers.ts";
import { keepAppendedRows, readLedger, runSampler } from "./ledger-snapshot.ts";
import { runNemesis } from "./nemesis.ts";
import { createOperator } from "./operator.ts";
import { connected, type RunOptions, type RunResult, restLimits, runScenario, type Scenario } from "./scenario.ts";
import { quietMs, servicesReady, whatIsLeft } from "./settling.ts";
import { declareSubscriptions, isPerConsumer } from "./subscribed.ts";

export type ConsumerRunOptions = RunOptions & {
  /** The subscriptions of the run; by default the seed decides. */
  subscriptions?: readonly string[];
};

export const runConsumers = (options: ConsumerRunOptions): Promise<RunResult> =>
  runScenario(options, (context) => consumeAndCheck(context, options));

async function consumeAndCheck(
  { folder, cluster, history, random }: Parameters<Scenario>[0],
  options: ConsumerRunOptions,
): ReturnType<Scenario> {
  const { durationMs } = options;
  const kinds: readonly FaultKind[] = options.faults ?? faultKinds;
  const plan = planFaults(random.fork("faults"), { kinds, services: cluster.services.length, durationMs });
  const subscriptions = declareSubscriptions(random.fork("subscriptions"), options.subscriptions);
  await connected(cluster, keepAppendedRows);
  const writePorts = cluster.services.map((service) => service.writes.port);
  const operator = createOperator({ history, random: random.fork("operator"), ports: writePorts, subscriptions });
  await operator.create();
  for (const declared of subscriptions) history.add(declared);
  const stop = new AbortController();
  const giveUp = new AbortController();
  const looking = new AbortController();
  const writing = runJobWriters({
    ...{ history, random: random.fork("writers"), ports: writePorts, stop: stop.signal, giveUp: giveUp.signal },
    streams: [...new Set(subscriptions.map(({ stream }) => stream))],
  });
  const consumers = startConsumers({
    ...{ history, random: random.fork("consumers"), subscriptions, ports: writePorts },
    feedPorts: cluster.services.map((service) => service.reads.port),
  });
  const sampling = runSampler(cluster, history, looking.signal);
  const operating = operator.run(stop.signal);
  try {
    await runNemesis(cluster, plan, history, durationMs);
    stop.abort();
    const patience = setTimeout(() => giveUp.abort(), quietMs);
    await Promise.all([writing, operating]);
    clearTimeout(patience);
    await servicesReady(cluster, history);
    consumers.calm();
    await drained(cluster, history, subscriptions);
    await consumers.stop();
    await consumers.listUnread();
    const remains = await whatIsLeft(cluster, history);
    const ledger = await connected(cluster, (sql) => readLedger(sql, history));
    looking.abort();
    await sampling;
    await Bun.write(`${folder}/ledger.json`, JSON.stringify(ledger));
    const left = nothingIsLeft(remains, restLimits).map((what) => `[12] ${what}`);
    return {
      violations: [...checkLedger(history.entries, ledger), ...left],
      summary: (facts) => summariseConsumers({ ...options, ...facts, history: history.entries, ledger }),
    };
  } finally {
    stop.abort();
    giveUp.abort();
    looking.abort();
    await consumers.stop();
    await Promise.all([writing, sampling, operating]);
  }
}

/** Waits until under each cursor everything is settled, dead or parked; an alarm when that does not come. */
async function drained(
  cluster: Cluster,
  history: History,
  subscriptions: readonly SubscriptionDeclared[],
): Promise<void> {
  await connected(cluster, async (sql) => {
    const expected = subscriptions.reduce((sum, s) => sum + (isPerConsumer(s) ? consumerNames(s).length : 1), 0);
    for (const deadline = Date.now() + quietMs; ; await sleep(50)) {
      const [row] = await sql<{ cursors: number; open: string; behind: number }[]>`
        select count(*)::int as cursors, coalesce(sum(c.leased + c.waiting), 0) as open,
          (count(*) filter (where exists (
            select from harness.appended e join event_streaming.streams t on t.id = e.stream_id
              join event_streaming.subscription_streams w on w.stream = t.name and w.subscription_id = s.id
            where e.position > c.place and (s.types is null or e.type = any(s.types)))))::int as behind
        from event_streaming.cursor_states c join event_streaming.subscriptions s on s.id = c.subscription_id`;
      if (row?.cursors === expected && Number(row.open) === 0 && row.behind === 0) return;
      if (Date.now() < deadline) continue;
      return history.alarm(
        `not everything is settled: ${row?.cursors} of ${expected} cursors, ${row?.behind} behind, ${row?.open} events open`,
      );
    }
  });
}
