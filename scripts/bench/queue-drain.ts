// Draining a full queue by batches, beside queues that work in process on the same Postgres, and beside a bare one.
import { compare, inTurn } from "./pairs.ts";
import { program, startServer } from "./processes.ts";
import { graphileWorker, hasQueuePeers, pgBoss, type QueuePeer } from "./queue-peers.ts";
import { consume, fill, makeQueue, makeSubscription, newName, type Source, settle, warmUpOf } from "./queues.ts";
import { type Service, startService } from "./service.ts";
import { messages } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "drain";
const consumers = 8;
const batch = 100;
const credit = 500;

type Way = {
  by: "claims" | "event-streams";
  what: string;
  make: (url: string) => Promise<Source>;
  peer: (service: Service) => Promise<QueuePeer>;
  least: number;
};

const ways: Way[] = [
  {
    by: "claims",
    what: `claims of ${batch}`,
    make: (url) => makeQueue(url),
    peer: (service) => pgBoss(service, consumers, { batch, messages }),
    least: 2,
  },
  {
    by: "event-streams",
    what: `event streams with a credit of ${credit}`,
    make: subscribeToQueue,
    peer: (service) => graphileWorker(service, { messages }),
    least: 1,
  },
];

export async function measureDrain(table: Table): Promise<void> {
  const withPeers = hasQueuePeers((text) => table.note(measurement, text));
  for (const way of ways) await measureWay(table, way, withPeers);
}

async function measureWay(table: Table, way: Way, withPeers: boolean): Promise<void> {
  const service = await startService();
  const bare = await startServer(program("bare-queue.ts"));
  const peer = withPeers ? await way.peer(service) : undefined;
  const measured = await inTurn(
    () => drain(way, service.url, () => settle(service)),
    async () => peer?.measure() ?? Number.NaN,
    () => drain(way, bare.url, async () => {}),
  );
  const figure = {
    measurement,
    what: `${messages.toLocaleString("en-US")} messages by ${consumers} consumers, ${way.what}`,
    unit: "messages/s",
  };
  if (peer !== undefined) {
    table.add({
      ...figure,
      beside: peer.beside,
      ...compare(
        measured,
        ([of]) => of,
        ([, by]) => by,
      ),
      aim: { of: "ratio", least: way.least },
    });
  }
  table.add({
    ...figure,
    beside: "the same load on a bare Bun server with a queue in memory",
    ...compare(
      measured,
      ([of]) => of,
      ([, , by]) => by,
    ),
  });
  await bare.stop();
  await service.discard();
}

async function drain({ by, make }: Way, url: string, prepare: () => Promise<void>): Promise<number> {
  const { path, stream } = await make(url);
  await fill(url, stream, messages);
  const warmUp = await warmUpOf(url, () => make(url));
  await prepare();
  const { perSecond } = await consume({ url, path, messages, by, consumers, max: batch, warmUp });
  return perSecond;
}

/** An ephemeral stream too: what its subscription has settled is forgotten, as graphile-worker deletes its jobs. */
async function subscribeToQueue(url: string): Promise<Source> {
  const { stream } = await makeQueue(url, newName("queue"));
  return makeSubscription(url, stream, { mode: "exclusive", maxInFlight: credit });
}
