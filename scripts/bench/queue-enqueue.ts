// Appends to an ephemeral stream, which is how messages are enqueued, beside the same appends to a persistent one.
import { openConnection } from "./http-socket.ts";
import { compare, inTurn } from "./pairs.ts";
import { newName, put, requireAnswer } from "./queues.ts";
import { startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append } from "./wrk.ts";

const measurement = "enqueue";

export async function measureEnqueue(table: Table): Promise<void> {
  const service = await startService();
  for (const { connections, array } of [
    { connections: 64, array: 0 },
    { connections: 256, array: 0 },
    { connections: 4, array: 100 },
  ]) {
    const load = (type: string) => appendTo(service.url, type, connections, array);
    const measured = await inTurn(
      () => load("ephemeral"),
      () => load("persistent"),
    );
    table.add({
      measurement,
      what: `enqueueing, ${array === 0 ? "one message a request" : `arrays of ${array}`}, ${connections} connections`,
      unit: "messages/s",
      beside: "appends to a persistent stream",
      ...compare(
        measured,
        ([of]) => of,
        ([, by]) => by,
      ),
      aim: { of: "ratio", least: 0.9 },
    });
  }
  await service.discard();
}

/** Messages a second that are appended to a new stream; what was answered must be stored, and nothing twice. */
async function appendTo(url: string, type: string, connections: number, array: number): Promise<number> {
  const stream = newName(type);
  await put(url, `/api/streams/${stream}`, { type });
  const { perSecond, requests } = await append(url, { connections, seconds, array, stream });
  const perRequest = Math.max(array, 1);
  const stored = await lengthOf(url, stream);
  // The requests whose answers wrk did not wait for, once after warming up and once at the end.
  const most = (requests + 2 * connections) * perRequest;
  if (stored < requests * perRequest || stored > most)
    throw new Error(`${stored} messages were stored by ${requests} requests of ${perRequest}`);
  return perSecond * perRequest;
}

/** How many events were ever appended to a stream. */
async function lengthOf(url: string, stream: string): Promise<number> {
  const connection = await openConnection(url);
  const { lastOffset } = JSON.parse(await requireAnswer(connection, "GET", `/api/streams/${stream}`)) as {
    lastOffset: string;
  };
  connection.close();
  return Number(lastOffset) + 1;
}
