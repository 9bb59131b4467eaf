// One stream to many event streams, beside a bare Bun server that writes the same bytes, and beside Durable Streams.
import { compare, inTurn } from "./pairs.ts";
import { peersInstalled } from "./peers.ts";
import { nodeOrBun, program, root, startServer } from "./processes.ts";
import { receive } from "./receive.ts";
import { startService } from "./service.ts";
import { maxConnections, seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { startAppends } from "./wrk.ts";

type Load = { array: number; connections: number };

const measurement = "fan-out";
const unit = "deliveries/s";
const event = '{"type":"OrderPlaced","data":{"orderId":"o-1","amount":12.5}}';

export async function measureFanOut(table: Table): Promise<void> {
  if (!peersInstalled) table.note(measurement, "Durable Streams left out: its package could not be installed");
  for (const readers of [100, 1_000, 5_000].filter((count) => count <= maxConnections)) {
    const what = `fan-out to ${readers.toLocaleString("en-US")} event streams`;
    await measureArrays(table, what, readers);
    if (peersInstalled) await measureSingle(table, what, readers);
  }
}

/** As much as the readers take, which is what the bare server writes. */
async function measureArrays(table: Table, what: string, readers: number): Promise<void> {
  const load = { array: 100, connections: readers < 1_000 ? 4 : 1 };
  let frame = "";
  const measured = await inTurn(
    async () => {
      const through = await throughService(readers, load);
      frame = through.frame;
      return through.deliveries;
    },
    () => throughBare(readers, load, frame),
    async () => (peersInstalled ? throughDurableStreams(readers, load, frame) : Number.NaN),
  );
  const figure = { measurement, what: `${what}, arrays of ${load.array}`, unit };
  table.add({
    ...figure,
    beside: "bare Bun server that writes the same bytes",
    ...compare(
      measured,
      ([of]) => of,
      ([, by]) => by,
    ),
    ...(readers === 1_000 && { aim: { of: "ratio", least: 0.5 } as const }),
  });
  if (!peersInstalled) return;
  table.add({
    ...figure,
    beside: "Durable Streams reference server, in memory",
    ...compare(
      measured,
      ([of]) => of,
      ([, , by]) => by,
    ),
  });
}

/** As events come where nobody collects them into arrays. */
async function measureSingle(table: Table, what: string, readers: number): Promise<void> {
  const load = { array: 0, connections: 64 };
  let frame = "";
  const measured = await inTurn(
    async () => {
      const through = await throughService(readers, load);
      frame = through.frame;
      return through.deliveries;
    },
    () => throughDurableStreams(readers, load, frame),
  );
  table.add({
    measurement,
    what: `${what}, one event an append`,
    unit,
    beside: "Durable Streams reference server, in memory",
    ...compare(
      measured,
      ([of]) => of,
      ([, by]) => by,
    ),
    ...(readers === 1_000 && { aim: { of: "ratio", least: 100 } as const }),
  });
}

async function throughService(readers: number, load: Load): Promise<{ deliveries: number; frame: string }> {
  const service = await startService();
  const path = "/api/streams/orders/events";
  const appends = () => startAppends(service.url, { ...load, path, event });
  const deliveries = await receive(service.url, path, readers, seconds, appends);
  const answer = await fetch(`${service.url}${path}?limit=1&direction=backward`);
  const { events } = (await answer.json()) as { events: { offset: string }[] };
  await service.discard();
  return { deliveries, frame: `id: ${events[0]?.offset}\ndata: ${JSON.stringify(events[0])}\n\n` };
}

async function throughBare(readers: number, { array }: Load, frame: string): Promise<number> {
  const bare = await startServer(program("bare-fanout.ts", array, readers, Buffer.from(frame).toString("base64")));
  const deliveries = await receive(bare.url, "/", readers, seconds, () => ({ stop: async () => {} }));
  await bare.stop();
  return deliveries;
}

/** It stores and hands out what it is given: the envelopes that the service makes. */
async function throughDurableStreams(readers: number, load: Load, frame: string): Promise<number> {
  const server = await startServer([nodeOrBun(), `${root}scripts/bench/peers/durable-streams.js`]);
  const path = "/orders";
  await fetch(server.url + path, { method: "PUT", headers: { "content-type": "application/json" } });
  const appends = () => startAppends(server.url, { ...load, path, event: frame.slice(frame.indexOf("{")).trim() });
  const deliveries = await receive(server.url, `${path}?offset=now&live=sse`, readers, seconds, appends);
  await server.stop();
  return deliveries;
}
