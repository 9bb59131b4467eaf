// Several processes on one port: they share the load and the figures, one that ends is replaced, and nothing is lost.
import { afterEach, describe, expect, test } from "bun:test";
import { append, readAll } from "../support/client.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { denoCommand, type ServiceProcess, spawnService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

const running: ServiceProcess[] = [];
afterEach(async () => {
  for (const service of running.splice(0)) {
    service.kill("SIGKILL");
    await service.exited;
  }
});

async function start(env: Record<string, string>, command?: readonly string[]): Promise<ServiceProcess> {
  const service = await spawnService({ WORKERS: "3", SSE_RETRY: "50ms", ...env }, command);
  running.push(service);
  return service;
}

function workersOf({ pid }: ServiceProcess): number[] {
  const { stdout } = Bun.spawnSync(["pgrep", "-P", String(pid), "-f", "main.ts worker"]);
  return stdout.toString().trim().split("\n").filter(Boolean).map(Number);
}

const figure = async (url: string, name: string) =>
  Number(new RegExp(`^${name} (\\d+)$`, "m").exec(await (await fetch(`${url}/metrics`)).text())?.[1]);

const fresh = { headers: { connection: "close" } };

test("the figures are those of all workers, whichever is asked", async () => {
  const service = await start({ DATABASE_URL: await createTestDatabase() });
  expect(workersOf(service)).toHaveLength(3);
  for (let n = 0; n < 60; n++)
    expect((await append(service.url, "orders", { type: "A" }, { connection: "close" })).status).toBe(201);
  const streams = await Promise.all(
    Array.from({ length: 12 }, () => openEventStream(`${service.url}/api/streams/orders/events`, fresh.headers)),
  );
  await until("all are open", async () => (await figure(service.url, "sluice_sse_connections")) === 12);
  expect(await figure(service.url, "sluice_events_appended_total")).toBe(60);
  expect(await figure(service.url, "sluice_tail_position")).toBe(59);
  expect(await figure(service.url, "sluice_workers")).toBe(3);
  for (const stream of streams) stream.close();
});

/** Follows over any number of connections, as a browser does; what comes is collected. */
function follow(url: string) {
  const offsets: number[] = [];
  let stopped = false;
  let stream: EventStream | null = null;
  const ended = (async () => {
    let cursor: string | null = null;
    while (!stopped) {
      const headers: Record<string, string> =
        cursor === null ? fresh.headers : { ...fresh.headers, "last-event-id": cursor };
      stream = await openEventStream(`${url}/api/streams/orders/events?from=beginning`, headers).catch(() => null);
      if (stream === null || stream.status !== 200) {
        await Bun.sleep(20);
        continue;
      }
      const open = stream;
      await until("the stream has ended", () => stopped || open.ended());
      for (const event of open.events()) offsets.push(Number(event.offset));
      if (open.lastEventId() !== "") cursor = open.lastEventId();
    }
  })();
  return {
    offsets,
    held: () => offsets.length + (stream?.ended() === false ? stream.events().length : 0),
    async stop() {
      stopped = true;
      await ended;
      stream?.close();
    },
  };
}

test("workers that are killed one after the other cost no acknowledged event and no follower its order", async () => {
  const databaseUrl = await createTestDatabase();
  const service = await start({ DATABASE_URL: databaseUrl });
  const followers = Array.from({ length: 6 }, () => follow(service.url));
  const acknowledged: string[] = [];
  let writing = true;
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let n = 0; writing; n++) {
      const id = `${writer}-${n}`;
      for (;;) {
        const answer = await append(service.url, "orders", { type: "A", id }, { connection: "close" }).catch(
          () => null,
        );
        if (answer !== null && answer.status < 300) break;
      }
      acknowledged.push(id);
    }
  });
  for (let round = 0; round < 4; round++) {
    const before = workersOf(service);
    const seen = acknowledged.length;
    await until("there is load", () => acknowledged.length > seen + 20);
    process.kill(before[round % before.length] as number, round % 2 === 0 ? "SIGKILL" : "SIGTERM");
    await until("another worker serves", async () => {
      const now = workersOf(service);
      return (
        now.length === 3 &&
        now.some((pid) => !before.includes(pid)) &&
        (await figure(service.url, "sluice_workers")) === 3
      );
    });
  }
  writing = false;
  await Promise.all(writers);
  const log = await readAll(service.url, "orders");
  expect(log.map((event) => event.id).sort()).toEqual([...acknowledged].sort());
  await until("all followers have all", () => followers.every((follower) => follower.held() >= log.length));
  await Promise.all(followers.map((follower) => follower.stop()));
  for (const { offsets } of followers) expect(offsets).toEqual(log.map((event) => Number(event.offset)));
}, 120_000);

for (const [runtime, command] of [
  ["Bun", [process.execPath]],
  ["Deno", denoCommand()],
] as const) {
  describe(`on ${runtime}`, () => {
    test("without their supervisor the workers end, and the port is free", async () => {
      const env = { DATABASE_URL: await createTestDatabase(), WORKERS: "2" };
      const service = await start(env, command);
      const workers = workersOf(service);
      expect(workers).toHaveLength(2);
      service.kill("SIGKILL");
      await service.exited;
      const isAlive = (pid: number) => Bun.spawnSync(["kill", "-0", String(pid)]).success;
      await until("the workers have ended", () => !workers.some(isAlive));
      await start({ ...env, PORT: new URL(service.url).port }, command);
    }, 30_000);

    test("SIGTERM drains all workers, and the exit code is 0", async () => {
      const service = await start({ DATABASE_URL: await createTestDatabase(), WORKERS: "2" }, command);
      const stream = await openEventStream(`${service.url}/api/events`);
      await stream.until("it is live", () => stream.frames.some((frame) => frame.event === "sluice.caught-up"));
      service.kill("SIGTERM");
      expect(await service.exited).toBe(0);
      await stream.until("it was told", () => stream.frames.at(-1)?.event === "sluice.end");
    }, 30_000);
  });
}

test("a port that is taken, or a database that is away, ends the start with 1", async () => {
  const databaseUrl = await createTestDatabase();
  const service = await start({ DATABASE_URL: databaseUrl, WORKERS: "2" });
  const { port } = new URL(service.url);
  await expect(start({ DATABASE_URL: databaseUrl, WORKERS: "2", PORT: port })).rejects.toThrow("ended with 1");
  await expect(start({ DATABASE_URL: "postgres://nobody@127.0.0.1:1/none", WORKERS: "2" })).rejects.toThrow(
    "ended with 1",
  );
}, 120_000);
