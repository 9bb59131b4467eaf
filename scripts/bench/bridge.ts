// Two services with a nats-server between them: publishing and mirroring a backlog, and how long an event is on its way.
import { existsSync } from "node:fs";
import { connect, headers, type NatsConnection } from "nats";
import { openConnection, openEventStream } from "./http-socket.ts";
import { compare, inTurn, percentile } from "./pairs.ts";
import { end, newFolder, removeFolder, spawnProgram } from "./processes.ts";
import { type Service, startService } from "./service.ts";
import { maxEvents, seconds } from "./settings.ts";
import type { Table } from "./table.ts";
import { append } from "./wrk.ts";

const measurement = "bridge";
const backlog = Math.min(50_000, maxEvents);
const array = 1_000;
const lookMs = 5;
/** Messages of the client that wait for their confirmations. */
const window = 1_000;
const event =
  '{"type":"OrderPlaced","data":{"orderId":"o-1","customer":"someone","amount":120.5,"items":[{"sku":"abc","n":1},{"sku":"def","n":2}],"note":"xxxxxxxxxxxxxxxxxx"}}';
const places = [Bun.which("nats-server"), "/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
const natsServer = process.env.NATS_SERVER || places.find((place) => place !== null && existsSync(place));

export async function measureBridge(table: Table): Promise<void> {
  if (natsServer === undefined || natsServer === null)
    return table.note(measurement, "no nats-server here: not measured (NATS_SERVER names one)");
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const store = newFolder("nats");
  const server = spawnProgram([natsServer, "-a", "127.0.0.1", "-p", String(port), "-js", "-sd", store]);
  const url = `nats://127.0.0.1:${port}`;
  const client = await connect({ servers: url, waitOnFirstConnect: true });
  const first = await startService(undefined, { NATS_URL: url, SERVICE_NAME: "first" });
  const second = await startService(undefined, { NATS_URL: url, SERVICE_NAME: "second" });
  try {
    await measureBacklogs(table, client, first, second);
    await measureLatency(table, first, second);
  } finally {
    await client.close();
    await first.discard();
    await second.discard();
    await end(server);
    await removeFolder(store);
  }
}

async function measureBacklogs(table: Table, client: NatsConnection, first: Service, second: Service): Promise<void> {
  let round = 0;
  const measured = await inTurn(
    async () => {
      const stream = `round-${++round}`;
      await fill(first, stream);
      return timed(async () => {
        await put(first, `streams/${stream}`, { scope: "cross-service" });
        await until(async () => (await messagesOf(client, `first_${stream}`)) >= backlog);
      });
    },
    () => publishRaw(client, `raw-${round}`),
    async () => {
      const stream = `round-${round}`;
      return timed(async () => {
        await put(second, `remote-streams/${stream}`, { service: "first", stream });
        await until(async () => (await lengthOf(second, stream)) >= backlog);
      });
    },
    async () => (await append(second.url, { connections: 4, seconds, array: 100, stream: "own" })).perSecond * 100,
  );
  table.add({
    measurement,
    what: `publishing a backlog of ${backlog.toLocaleString("en-US")}`,
    unit: "events/s",
    beside: `the client, the same messages, ${window.toLocaleString("en-US")} on their way`,
    ...compare(
      measured,
      ([of]) => of,
      ([, raw]) => raw,
    ),
    aim: { of: "ratio", least: 0.6 },
  });
  table.add({
    measurement,
    what: "mirroring it",
    unit: "events/s",
    beside: "appends of arrays of 100, 4 connections",
    ...compare(
      measured,
      ([, , of]) => of,
      ([, , , own]) => own,
    ),
    aim: { of: "ratio", least: 0.4 },
  });
}

/** From the request at the first service to the frame at a reader of the second, beside the answer of the first. */
async function measureLatency(table: Table, first: Service, second: Service): Promise<void> {
  await put(first, "streams/pings", { scope: "cross-service" });
  await put(second, "remote-streams/pings", { service: "first", stream: "pings" });
  let arrived: () => void = () => {};
  const reader = await openEventStream(second.url, "/api/streams/pings/events?from=beginning", {
    frames(text) {
      if (text.includes('"type":"OrderPlaced"')) arrived();
    },
    failed(error) {
      throw error;
    },
  });
  const connection = await openConnection(first.url);
  const answered: number[] = [];
  const ways: number[] = [];
  const one = async () => {
    const started = performance.now();
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { status } = await connection.request("POST", "/api/streams/pings/events", event);
    if (status !== 201) throw new Error(`an append was answered ${status}`);
    answered.push(performance.now() - started);
    await arrival;
    ways.push(performance.now() - started);
  };
  await one();
  answered.length = ways.length = 0;
  const endMs = performance.now() + seconds * 1_000;
  while (performance.now() < endMs) await one();
  reader.close();
  connection.close();
  const [service, yardstick] = [percentile(ways, 0.5), percentile(answered, 0.5)];
  table.add({
    measurement,
    what: "from an append at one service to a reader of the other, p50",
    unit: "ms",
    beside: "the append's answer, p50",
    service,
    yardstick,
    ratio: service / yardstick,
    aim: { of: "ratio", most: 5 },
  });
  table.add({ measurement, what: "the same, p99", unit: "ms", service: percentile(ways, 0.99) });
}

/** The client's own publishing: messages as the service makes them, without what decides that they are in order. */
async function publishRaw(client: NatsConnection, stream: string): Promise<number> {
  const manager = await client.jetstreamManager();
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`] });
  const jetstream = client.jetstream();
  const { data } = JSON.parse(event) as { data: unknown };
  const payload = new TextEncoder().encode(JSON.stringify(data));
  return timed(async () => {
    const underWay: Promise<unknown>[] = [];
    for (let n = 0; n < backlog; n++) {
      const lines = headers();
      for (const [name, value] of linesOf(n, stream)) lines.set(name, value);
      underWay.push(jetstream.publish(`${stream}.OrderPlaced`, payload, { headers: lines }));
      if (underWay.length === window) await Promise.all(underWay.splice(0));
    }
    await Promise.all(underWay);
  });
}

function linesOf(n: number, stream: string): [string, string][] {
  const id = `01a2011d-0000-7000-8000-${String(n).padStart(12, "0")}`;
  return [
    ["Nats-Msg-Id", id],
    ["Content-Type", "application/json"],
    ["ce-specversion", "1.0"],
    ["ce-id", id],
    ["ce-type", "OrderPlaced"],
    ["ce-source", `/first/streams/${stream}`],
    ["ce-time", "2026-11-22T02:44:17.393Z"],
    ["ce-datacontenttype", "application/json"],
    ["ce-stream", stream],
    ["ce-offset", String(n)],
    ["ce-logid", "9807aa8e-5962-470d-ad5c-19b36e283be5"],
    ["ce-recordedtime", "2026-11-22T02:44:17.393Z"],
    ["ce-schemaversion", "1"],
  ];
}

/** Events a second. */
async function timed(task: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await task();
  return (backlog / (performance.now() - started)) * 1_000;
}

async function fill(service: Service, stream: string): Promise<void> {
  const body = `[${Array.from({ length: array }, () => event).join(",")}]`;
  for (let n = 0; n < backlog; n += array) {
    const answer = await fetch(`${service.url}/api/streams/${stream}/events`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
    });
    if (!answer.ok) throw new Error(`an array was answered ${answer.status}`);
  }
}

async function put(service: Service, path: string, body: object): Promise<void> {
  const answer = await fetch(`${service.url}/api/${path}`, { method: "PUT", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`PUT ${path} was answered ${answer.status}: ${await answer.text()}`);
}

async function messagesOf(client: NatsConnection, stream: string): Promise<number> {
  const manager = await client.jetstreamManager({ checkAPI: false });
  return manager.streams.info(stream).then(
    ({ state }) => state.messages,
    () => 0,
  );
}

async function lengthOf(service: Service, stream: string): Promise<number> {
  const answer = await fetch(`${service.url}/api/streams/${stream}`);
  return answer.ok ? Number(((await answer.json()) as { length: string }).length) : 0;
}

async function until(probe: () => Promise<boolean>): Promise<void> {
  while (!(await probe())) await Bun.sleep(lookMs);
}
