// Appends while an older transaction stays open, beside the same just before and just after.
import { makeManyStreams } from "./many-streams.ts";
import { connectTo, startService } from "./service.ts";
import { holdSeconds, manyStreams, seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append } from "./wrk.ts";

export async function measureTransaction(table: Table): Promise<void> {
  const service = await startService();
  const load = (forSeconds: number) =>
    append(service.url, { connections: 256, seconds: forSeconds, streams: manyStreams });
  const besideSeconds = Math.max(seconds, Math.round(holdSeconds / 4));
  await makeManyStreams(service);
  const before = await load(besideSeconds);
  const holder = await connectTo(service.dataDir);
  const during = await holder.begin("isolation level repeatable read", async (held) => {
    // Its own id and its snapshot both keep what dies from now on.
    await held`select txid_current(), count(*) from streams`;
    // A session that is idle in a transaction is ended after a minute; this one says something now and then.
    const talking = setInterval(() => void held`select 1`.catch(() => {}), 10_000);
    return load(holdSeconds).finally(() => clearInterval(talking));
  });
  await holder.end();
  const after = await load(besideSeconds);
  const yardstick = (before.perSecond + after.perSecond) / 2;
  table.add({
    measurement: "transaction",
    what: `appends with an older transaction open for ${holdSeconds} s, 256 connections`,
    unit: "events/s",
    beside: "just before and after",
    service: during.perSecond,
    yardstick,
    ratio: during.perSecond / yardstick,
    aim: { of: "ratio", least: 0.8 },
  });
  await service.discard();
}
