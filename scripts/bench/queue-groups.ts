// A consumer group over many keys, which keeps the order of each, beside consumers that share the same events without any.
import { openConnection } from "./http-socket.ts";
import { compare, inTurn } from "./pairs.ts";
import { consume, fill, makeSubscription, newName, put, requireAnswer, settle } from "./queues.ts";
import { type Service, startService } from "./service.ts";
import { messages } from "./settings.ts";
import type { Table } from "./table.ts";

const measurement = "groups";
const members = 8;
const keys = 10_000;
const batch = 100;
const warmUpMessages = 2_000;

export async function measureGroups(table: Table): Promise<void> {
  const service = await startService();
  const measured = await inTurn(
    () => drain(service, "consumer-group"),
    () => drain(service, "exclusive"),
  );
  table.add({
    measurement,
    what: `a consumer group of ${members} over ${keys.toLocaleString("en-US")} keys, claims of ${batch}`,
    unit: "messages/s",
    beside: "the same by an exclusive subscription",
    ...compare(
      measured,
      ([of]) => of,
      ([, by]) => by,
    ),
    aim: { of: "ratio", least: 0.5 },
  });
  await service.discard();
}

async function drain(service: Service, mode: "consumer-group" | "exclusive"): Promise<number> {
  const { url } = service;
  const path = await subscribe(url, mode, messages);
  const warmUp = { path: await subscribe(url, mode, warmUpMessages), messages: warmUpMessages };
  await settle(service);
  const options = { url, path, messages, by: "claims", consumers: members, max: batch, warmUp } as const;
  const { perSecond } = await consume({ ...options, ...(mode === "consumer-group" && { keys }) });
  return perSecond;
}

/** A subscription to a new stream with these messages, which its members have joined before there were any. */
async function subscribe(url: string, mode: string, count: number): Promise<string> {
  const stream = newName("keyed");
  await put(url, `/api/streams/${stream}`, {});
  const { path } = await makeSubscription(url, stream, { mode, consumerTimeout: "300s" });
  const connection = await openConnection(url);
  for (let member = 1; member <= members; member++) {
    await requireAnswer(connection, "PUT", `${path}/consumers/c${member}`, '{"metadata":{}}');
  }
  for (let member = 1; member <= members; member++) {
    await requireAnswer(connection, "POST", `${path}/claims`, `{"consumer":"c${member}","max":1}`);
  }
  connection.close();
  await fill(url, stream, count, 0, keys);
  return path;
}
