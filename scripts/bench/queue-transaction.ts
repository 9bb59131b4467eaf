// Claims and acks while an older transaction stays open elsewhere, beside the same just before and just after.
import { consume, fill, makeQueue, settle, warmUpOf } from "./queues.ts";
import { connectTo, type Service, startService } from "./service.ts";
import { holdSeconds, messages, seconds } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "queue-transaction";
const consumers = 8;
const batch = 100;
const mostMessages = 6_000_000;

export async function measureQueueTransaction(table: Table): Promise<void> {
  const service = await startService();
  const besideSeconds = Math.max(seconds, Math.round(holdSeconds / 4));
  const { perSecond } = await take(service, messages);
  const before = await take(service, enoughFor(2 * perSecond, besideSeconds), besideSeconds);
  const during = await take(service, enoughFor(before.perSecond, holdSeconds), holdSeconds, () => hold(service));
  const after = await take(service, enoughFor(before.perSecond, besideSeconds), besideSeconds);
  const yardstick = (before.perSecond + after.perSecond) / 2;
  const what = `claims of ${batch} and acks with an older transaction open for ${holdSeconds} s`;
  const figure = { measurement, unit: "messages/s", beside: "just before and after", yardstick };
  table.add({
    ...figure,
    what,
    service: during.perSecond,
    ratio: during.perSecond / yardstick,
    aim: { of: "ratio", least: 0.5 },
  });
  table.add({
    ...figure,
    what: "the same in the last quarter of that time",
    service: during.perSecondAtEnd,
    ratio: during.perSecondAtEnd / yardstick,
  });
  await service.discard();
}

function enoughFor(perSecond: number, forSeconds: number): number {
  return Math.min(mostMessages, Math.ceil((perSecond * forSeconds * 1.5) / 1_000) * 1_000);
}

/** Takes from a new queue that is full beforehand, all of it or for some time, while something else is going on. */
async function take(
  service: Service,
  count: number,
  forSeconds?: number,
  meanwhile: () => Promise<() => Promise<void>> = async () => async () => {},
) {
  const { url } = service;
  const { path, stream } = await makeQueue(url);
  await fill(url, stream, count);
  const warmUp = await warmUpOf(url, () => makeQueue(url));
  await settle(service);
  const end = await meanwhile();
  const options = { url, path, messages: count, by: "claims", consumers, max: batch, warmUp } as const;
  return consume({ ...options, ...(forSeconds !== undefined && { seconds: forSeconds }) }).finally(end);
}

/** Opens a transaction that keeps all that dies from now on; returns how to end it. */
async function hold(service: Service): Promise<() => Promise<void>> {
  const holder = await connectTo(service.dataDir);
  const opened = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const held = holder.begin("isolation level repeatable read", async (transaction) => {
    await transaction`select txid_current(), count(*) from streams`;
    opened.resolve();
    // A session that is idle in a transaction is ended after a minute; this one says something now and then.
    const talking = setInterval(() => void transaction`select 1`.catch(() => {}), 10_000);
    await ended.promise;
    clearInterval(talking);
  });
  await Promise.race([opened.promise, held]);
  return async () => {
    ended.resolve();
    await held;
    await holder.end();
  };
}
