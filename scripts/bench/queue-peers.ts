// The queues that the service's are compared with: each works in process on a database of its own in the same Postgres.
import { peersInstalled } from "./peers.ts";
import { program } from "./processes.ts";
import { resultOf } from "./queues.ts";
import { connectTo, type Service, socketOf } from "./service.ts";

export type QueuePeer = {
  /** Its name and the configuration that was best, in words. */
  beside: string;
  /** Messages a second that it hands out and completes. */
  measure: () => Promise<number>;
};

type Configuration = { workers: number; connections: number };
type Work = { batch?: number; messages: number; seconds?: number };

const tryMessages = 20_000;
const trySeconds = 1;

/** pg-boss, whose workers fetch and complete batches; the number of its connections is found by trying. */
export function pgBoss(service: Service, workers: number, work: Work): Promise<QueuePeer> {
  const configurations = [workers / 2, workers].map((connections) => ({ workers, connections }));
  const how = work.batch === 1 ? "one by one" : `batches of ${work.batch}`;
  return bestOf(service, "pg-boss", how, configurations, work);
}

/** graphile-worker with a local queue and batched completion, as its documentation measures it, and with fewer workers. */
export function graphileWorker(service: Service, work: Work): Promise<QueuePeer> {
  const configurations = [
    { workers: 24, connections: 25 },
    { workers: 24, connections: 10 },
    { workers: 8, connections: 9 },
    { workers: 8, connections: 4 },
  ];
  return bestOf(service, "graphile-worker", "local queue of 500", configurations, work);
}

/** Whether they can be measured; says so in the table's notes if not. */
export function hasQueuePeers(note: (text: string) => void): boolean {
  if (!peersInstalled) note("the peers are left out: their packages could not be installed");
  return peersInstalled;
}

async function bestOf(
  service: Service,
  name: string,
  how: string,
  configurations: readonly Configuration[],
  work: Work,
): Promise<QueuePeer> {
  const database = name.replace("-", "_");
  await makeDatabase(service, database);
  const run = async (configuration: Configuration, load: Work) => {
    const socket = await socketOf(service.dataDir);
    const given = JSON.stringify({ ...socket, database, ...configuration, ...load });
    const { perSecond } = await resultOf<{ perSecond: number }>(program(`peers/${name}.js`, given));
    return perSecond;
  };
  let best = configurations[0] as Configuration;
  let most = 0;
  for (const configuration of configurations) {
    const perSecond = await run(configuration, {
      ...work,
      messages: Math.min(work.messages, tryMessages),
      ...(work.seconds !== undefined && { seconds: Math.min(work.seconds, trySeconds) }),
    });
    if (perSecond > most) [best, most] = [configuration, perSecond];
  }
  return {
    beside: `${name}, in process, ${how}, ${best.workers} workers, ${best.connections} connections`,
    measure: () => run(best, work),
  };
}

async function makeDatabase(service: Service, name: string): Promise<void> {
  const admin = await connectTo(service.dataDir, { database: "postgres" });
  await admin.unsafe(`create database ${name}`);
  await admin.end();
}
