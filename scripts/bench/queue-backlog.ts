// Claims while very many messages wait, in the queue or for another try, beside claims from a queue without them.
import { openConnection } from "./http-socket.ts";
import { compare, inTurn } from "./pairs.ts";
import { consume, fill, makeQueue, requireAnswer, type Source, settle, warmUpOf } from "./queues.ts";
import { type Service, startService } from "./service.ts";
import { backlog, messages } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "backlog";
const consumers = 8;
const batch = 100;
const nackedAtOnce = 1_000;

/** A queue, with the number of messages that were ever put into it. */
type Filled = Source & { filled: number };

export async function measureBacklog(table: Table): Promise<void> {
  const service = await startService();
  const waiting = await fillMore({ ...(await makeQueue(service.url)), filled: 0 }, service.url, backlog);
  const retrying = await fillMore({ ...(await makeQueue(service.url)), filled: 0 }, service.url, backlog);
  await postpone(service.url, retrying);
  const measured = await inTurn(
    () => takeFrom(service, waiting),
    () => takeFrom(service, retrying),
    async () => takeFrom(service, { ...(await makeQueue(service.url)), filled: 0 }),
  );
  const count = backlog.toLocaleString("en-US");
  const figure = {
    measurement,
    unit: "messages/s",
    beside: "an empty queue",
    aim: { of: "ratio", least: 0.8 } as const,
  };
  table.add({
    ...figure,
    what: `claims of ${batch} and acks, ${count} more messages in the queue`,
    ...compare(
      measured,
      ([of]) => of,
      ([, , by]) => by,
    ),
  });
  table.add({
    ...figure,
    what: `the same, ${count} messages that wait for another try`,
    ...compare(
      measured,
      ([, of]) => of,
      ([, , by]) => by,
    ),
  });
  await service.discard();
}

/** Adds the messages that are then taken, so that as many are left as before. */
async function takeFrom(service: Service, queue: Filled): Promise<number> {
  const { url } = service;
  await fillMore(queue, url, messages);
  const warmUp = await warmUpOf(url, () => makeQueue(url));
  await settle(service);
  const { path, filled } = queue;
  const { settled, perSecond } = await consume({
    url,
    path,
    messages: filled,
    take: messages,
    by: "claims",
    consumers,
    max: batch,
    warmUp,
  });
  if (settled < messages) throw new Error(`${settled} of ${messages} messages were taken`);
  return perSecond;
}

async function fillMore(queue: Filled, url: string, count: number): Promise<Filled> {
  await fill(url, queue.stream, count, queue.filled);
  queue.filled += count;
  return queue;
}

/** Has all that is in a queue wait for another try, for longer than anything here takes. */
async function postpone(url: string, { path, filled }: Filled): Promise<void> {
  const connection = await openConnection(url);
  for (let postponed = 0; postponed < filled; ) {
    const claim = JSON.stringify({ consumer: "postponing", max: nackedAtOnce });
    const { deliveries } = JSON.parse(await requireAnswer(connection, "POST", `${path}/claims`, claim)) as {
      deliveries: { token: string }[];
    };
    if (deliveries.length === 0) throw new Error(`only ${postponed} of ${filled} messages could be claimed`);
    const nack = JSON.stringify({ tokens: deliveries.map(({ token }) => token), action: "requeue", delay: "6h" });
    await requireAnswer(connection, "POST", `${path}/nacks`, nack);
    postponed += deliveries.length;
  }
  connection.close();
}
