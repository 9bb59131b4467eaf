// Taking messages one by one, each acknowledged before the next, beside the same by pg-boss.
import { compare, inTurn } from "./pairs.ts";
import { program, startServer } from "./processes.ts";
import { hasQueuePeers, pgBoss } from "./queue-peers.ts";
import { consume, fill, makeQueue, settle, warmUpOf } from "./queues.ts";
import { startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "singles";
const consumers = 16;
/** More than any machine with this bench's aims takes: neither queue runs empty. */
const messages = 15_000 * seconds;

export async function measureSingles(table: Table): Promise<void> {
  const service = await startService();
  const bare = await startServer(program("bare-queue.ts"));
  const withPeers = hasQueuePeers((text) => table.note(measurement, text));
  const peer = withPeers ? await pgBoss(service, consumers, { batch: 1, messages, seconds }) : undefined;
  const measured = await inTurn(
    () => takeOneByOne(service.url, messages, () => settle(service)),
    async () => peer?.measure() ?? Number.NaN,
    () => takeOneByOne(bare.url, messages * 10, async () => {}),
  );
  const figure = {
    measurement,
    what: `claim and ack of one message at a time, ${consumers} consumers`,
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
      aim: { of: "ratio", least: 4 },
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

async function takeOneByOne(url: string, count: number, prepare: () => Promise<void>): Promise<number> {
  const { path, stream } = await makeQueue(url);
  await fill(url, stream, count);
  const warmUp = await warmUpOf(url, () => makeQueue(url));
  await prepare();
  const { perSecond } = await consume({ url, path, messages: count, seconds, by: "claims", consumers, max: 1, warmUp });
  return perSecond;
}
