// Runs the measurements one after the other, in turn with their yardsticks, and prints the table.
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { receive, startServer, wrk } from "./processes.ts";

type Figure = { what: string; service: number; yardstick: number; unit: string; ratio: number };

const rounds = Number(process.env.BENCH_ROUNDS ?? 3);
const seconds = Number(process.env.BENCH_SECONDS ?? 4);
const figures: Figure[] = [];

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] as number;
}

/** Measures both in turn, so that a machine whose speed drifts does it to both; the ratio is the median of the pairs'. */
async function pair(
  what: string,
  unit: string,
  service: () => Promise<number>,
  yardstick: () => Promise<number>,
): Promise<void> {
  const measured: [number, number][] = [];
  for (let round = 0; round < rounds; round++) measured.push([await service(), await yardstick()]);
  figures.push({
    what,
    unit,
    service: Math.round(median(measured.map(([a]) => a))),
    yardstick: Math.round(median(measured.map(([, b]) => b))),
    ratio: Number(median(measured.map(([a, b]) => a / b)).toFixed(2)),
  });
  const last = figures.at(-1) as Figure;
  console.log(
    `${last.what.padEnd(44)} ${String(last.service).padStart(10)} ${String(last.yardstick).padStart(10)} ${unit.padEnd(14)} ${last.ratio}`,
  );
}

async function appends(): Promise<void> {
  const dataDir = `/tmp/sluice-bench-${process.pid}`;
  const service = await startServer(["src/main.ts", "start"], { PORT: "0", DATA_DIR: dataDir, LOG_LEVEL: "info" });
  const bare = await startServer(["scripts/bench/bare-route.ts"]);
  const path = "/api/streams/orders/events";
  for (const connections of [1, 64, 256]) {
    await pair(
      `appends, one event a request, ${connections} connections`,
      "requests/s",
      () => wrk(service.url + path, connections, seconds),
      () => wrk(bare.url + path, connections, seconds),
    );
  }
  await service.stop();
  await bare.stop();
  await Bun.$`rm -rf ${dataDir}`.quiet();
}

const eventsPerAppend = 100;

async function fanOut(connections: number): Promise<void> {
  const event = { type: "OrderPlaced", data: { orderId: "o-1", amount: 12.5 } };
  const measure = async () => {
    const service = await startServer(["src/main.ts", "start"], { PORT: "0", STORAGE: "memory", LOG_LEVEL: "info" });
    const events = `${service.url}/api/streams/orders/events`;
    const body = JSON.stringify(Array.from({ length: eventsPerAppend }, () => event));
    const append = async () => {
      await fetch(events, { method: "POST", headers: { "content-type": "application/json" }, body });
    };
    await append();
    const one = (await (await fetch(`${events}?limit=1`)).json()) as { events: unknown[] };
    const frame = `id: 100000\ndata: ${JSON.stringify(one.events[0])}\n\n`;
    const bytes = await receive(service.url, "/api/streams/orders/events", connections, seconds, append);
    await service.stop();
    return { deliveries: bytes / frame.length, frame };
  };
  let frame = "";
  await pair(
    `fan-out to ${connections} event streams`,
    "deliveries/s",
    async () => {
      const measured = await measure();
      frame = measured.frame;
      return measured.deliveries;
    },
    async () => {
      const bare = await startServer([
        "scripts/bench/bare-fanout.ts",
        String(eventsPerAppend),
        String(connections),
        Buffer.from(frame).toString("base64"),
      ]);
      const bytes = await receive(
        bare.url,
        "/",
        connections,
        seconds,
        () => new Promise((resolve) => setTimeout(resolve, 50)),
      );
      await bare.stop();
      return bytes / frame.length;
    },
  );
}

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, Bun ${Bun.version}; medians of ${rounds} rounds of ${seconds} s\n`,
);
console.log(`${"".padEnd(44)} ${"service".padStart(10)} ${"yardstick".padStart(10)} ${"".padEnd(14)} ratio`);
await appends();
await fanOut(1_000);
const out = process.env.BENCH_OUT;
if (out !== undefined) await writeFile(out, `${JSON.stringify(figures, null, 2)}\n`);
