// From an append to the readers of its stream, at a steady 500 appends a second, beside the append's own answer.
import { compare, inTurn, median, percentile } from "./pairs.ts";
import { end, program, spawnProgram } from "./processes.ts";
import { startService } from "./service.ts";
import { seconds } from "./settings.ts";
import type { Table } from "./table.ts";

type Latency = { events: number; p50Ms: number; p99Ms: number };

const measurement = "latency";
const perSecond = 500;
const readers = 100;
const path = "/api/streams/orders/events";

export async function measureLatency(table: Table): Promise<void> {
  const service = await startService();
  // What is compiled at first use must not count.
  await appendSteadily(service.url, 1);
  const measured = await inTurn(() => measure(service.url));
  const what = `append → reader, ${perSecond} appends/s, ${readers} readers`;
  table.add({
    measurement,
    what: `${what}, p50`,
    unit: "ms",
    beside: "p50 of the append's own answer",
    ...compare(
      measured,
      ([{ read }]) => read.p50Ms,
      ([{ own }]) => percentile(own, 0.5),
    ),
    aim: { of: "ratio", most: 2 },
  });
  table.add({
    measurement,
    what: `${what}, p99`,
    unit: "ms",
    beside: "p99 of the append's own answer",
    ...compare(
      measured,
      ([{ read }]) => read.p99Ms,
      ([{ own }]) => percentile(own, 0.99),
    ),
  });
  const delivered = median(measured.map(([{ read, own }]) => read.events / (own.length * readers)));
  if (delivered < 0.99)
    table.note(measurement, `only ${delivered.toFixed(2)} of the events came while it was measured`);
  await service.discard();
}

async function measure(url: string): Promise<{ read: Latency; own: number[] }> {
  const child = spawnProgram(program("latency-readers.ts", url, path, readers));
  const output = child.stdout.getReader();
  await output.read();
  const own = await appendSteadily(url, seconds);
  await Bun.sleep(200);
  const ended = end(child);
  const decoder = new TextDecoder();
  let text = "";
  for (let chunk = await output.read(); !chunk.done; chunk = await output.read()) text += decoder.decode(chunk.value);
  await ended;
  return { read: JSON.parse(text.trim().split("\n").at(-1) ?? "{}") as Latency, own };
}

/** Appends at the steady rate, whatever the answers take; returns how long each took, in milliseconds. */
async function appendSteadily(url: string, forSeconds: number): Promise<number[]> {
  const sockets = await Promise.all(Array.from({ length: 16 }, () => openSocket(url)));
  const own: number[] = [];
  const running = new Set<Promise<void>>();
  const started = performance.now();
  for (let sent = 0; sent < forSeconds * perSecond; sent++) {
    const dueMs = (sent * 1_000) / perSecond;
    while (performance.now() - started < dueMs) await Bun.sleep(1);
    const socket = sockets.find((free) => !free.isBusy()) ?? (await openSocket(url));
    if (!sockets.includes(socket)) sockets.push(socket);
    const append = socket.append().then((tookMs) => void own.push(tookMs));
    running.add(append);
    void append.finally(() => running.delete(append));
  }
  await Promise.all(running);
  for (const socket of sockets) socket.close();
  return own;
}

type AppendSocket = { isBusy: () => boolean; append: () => Promise<number>; close: () => void };

/** A connection that appends one event at a time, without what a whole HTTP client adds to the time. */
async function openSocket(url: string): Promise<AppendSocket> {
  const { hostname, port } = new URL(url);
  let answered: ((text: string) => void) | null = null;
  let text = "";
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data(_, chunk) {
        text += chunk.toString("latin1");
        const head = text.indexOf("\r\n\r\n");
        const length = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? Number.POSITIVE_INFINITY);
        if (head >= 0 && text.length >= head + 4 + length) answered?.(text);
      },
    },
  });
  return {
    isBusy: () => answered !== null,
    close: () => socket.terminate(),
    async append() {
      const sent = performance.now();
      const body = `{"type":"OrderPlaced","data":{"sentMs":${performance.timeOrigin + sent}}}`;
      const answer = new Promise<string>((resolve) => {
        answered = resolve;
      });
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
      const status = (await answer).slice(9, 12);
      const tookMs = performance.now() - sent;
      answered = null;
      text = "";
      if (status !== "201") throw new Error(`an append was answered ${status}`);
      return tookMs;
    },
  };
}
