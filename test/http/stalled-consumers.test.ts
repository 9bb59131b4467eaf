// Consumers whose connection stays open and who stop reading: they hold what was sent to them, and no more, and little memory.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { append, send } from "../support/client.ts";
import { ack, claim, offsets, put, subscription, tokens } from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../support/service.ts";
import { until } from "../support/until.ts";

const count = 2_000;
const eventBytes = 50_000;
const readers = 8;

let service: ServiceProcess;
beforeAll(async () => {
  service = await spawnService({ DATABASE_URL: await createTestDatabase(), HEARTBEAT: "1s" });
  const data = "x".repeat(eventBytes);
  for (let n = 0; n < count; n += 20)
    await append(
      service.url,
      "large",
      Array.from({ length: 20 }, () => ({ type: "A", data })),
    );
});
afterAll(async () => {
  service.kill("SIGTERM");
  await service.exited;
});

const metric = async (name: string) =>
  Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await (await fetch(`${service.url}/metrics`)).text())?.[1]);
const inFlight = async (url: string) => Number((await send<{ inFlight: string }>(url)).body.inFlight);

/** A connection whose reader reads nothing. */
function open(path: string): Socket {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname, () =>
    socket.write(`GET ${path} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n\r\n`),
  );
  socket.on("error", () => {});
  return socket.pause();
}

/** Resolves with what is handed out when nothing more is, through several heartbeats of the connections. */
async function standsStill(url: string): Promise<number> {
  let [last, since] = [-1, Date.now()];
  return until("nothing more is handed out", async () => {
    const now = await inFlight(url);
    if (now !== last) [last, since] = [now, Date.now()];
    return now > 0 && Date.now() - since > 2_500 ? now : null;
  });
}

const forms: [string, (name: string, consumer: string) => Promise<string>][] = [
  ["event streams", async (name, consumer) => `/api/subscriptions/${name}/events?consumer=${consumer}`],
  [
    "live connections",
    async (name, consumer) => {
      const path = `/api/live/${crypto.randomUUID()}`;
      await put(`${service.url}${path}/subscriptions/${name}?consumer=${consumer}`);
      return path;
    },
  ],
];

test.each(forms)("%s: memory and what is handed out stay far below the credit", async (form, pathOf) => {
  const name = `all-of-${form.replace(" ", "-")}`;
  const { url } = subscription(service.url, name);
  await put(url, { stream: "large", mode: "broadcast", from: "beginning" });
  const before = await metric("sluice_process_resident_memory_bytes");
  const paths = await Promise.all(Array.from({ length: readers }, (_, n) => pathOf(name, `c-${n}`)));
  const sockets = paths.map(open);
  const out = await standsStill(url);
  // Their credit alone would be 8,000 events of 50 kB.
  expect(out).toBeLessThan(readers * 400);
  expect((await metric("sluice_process_resident_memory_bytes")) - before).toBeLessThan(200_000_000);
  // One that reads on gets on, from where it was, in order.
  const [reader] = sockets as [Socket];
  const seen: number[] = [];
  let text = "";
  reader.on("data", (chunk) => {
    text += chunk.toString("latin1");
    for (const [all, offset] of text.matchAll(/"offset":"(\d+)"[^\n]*?"deliveryattempt":1\}\n/g)) {
      seen.push(Number(offset));
      text = text.slice(text.indexOf(all) + all.length);
    }
  });
  reader.resume();
  await until("it has read all of its credit", () => seen.length === 1_000);
  expect(seen).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
  for (const socket of sockets) socket.destroy();
  await until("nothing is held any more", async () => (await inFlight(url)) === 0);
});

test.each(forms)("%s: what a shared subscription has sent nobody else goes to others", async (form, pathOf) => {
  const name = `shared-by-${form.replace(" ", "-")}`;
  const source = subscription(service.url, name);
  await put(source.url, { stream: "large", mode: "exclusive", from: "beginning", maxInFlight: 15 });
  const socket = open(await pathOf(name, "stalled"));
  await until("it holds its credit", async () => (await inFlight(source.url)) === 15);
  let next = 15;
  for (; next < 60; next += 15) {
    const got = await claim(source, { consumer: "busy", max: 15, wait: "20s" });
    expect(offsets(got)).toEqual(Array.from({ length: got.length }, (_, n) => next + n));
    expect(got.length).toBe(15);
    await ack(source, tokens(got));
  }
  expect(await inFlight(source.url)).toBe(15);
  socket.destroy();
  await until("the service has noticed", async () => (await inFlight(source.url)) === 0);
  const back = await claim(source, { consumer: "busy", max: 15, wait: "20s" });
  expect([back.length, new Set(back.map(({ attempt }) => attempt))]).toEqual([15, new Set([2])]);
  expect(offsets(back)).toEqual(Array.from({ length: 15 }, (_, n) => n));
});
