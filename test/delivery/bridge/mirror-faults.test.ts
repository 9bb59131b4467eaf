// Mirrors when something breaks: nothing is lost, nothing is there twice, and the order stays.
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { readAll, send } from "../../support/client.ts";
import { post, put } from "../../support/consume.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { letters, mirrored, type Producer, produce, putRemote, remote, sluiceHeaders } from "../../support/remote.ts";
import { type ServiceProcess, spawnService, startService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

describe.skipIf(natsServerPath === null)("faults", async () => {
  if (natsServerPath === null) return;
  const ends: (() => Promise<unknown>)[] = [];
  const endAll = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  afterEach(endAll);
  afterAll(endAll);

  async function startServer() {
    const server = await startNatsServer();
    ends.push(server.stop);
    return server;
  }

  async function start(env: Record<string, string>): Promise<ServiceProcess> {
    const process = await spawnService({
      LEASE_DURATION: "3s",
      SERVICE_NAME: "svcb",
      SHUTDOWN_TIMEOUT: "2s",
      LOG_LEVEL: "info",
      ...env,
    });
    ends.push(async () => {
      process.kill("SIGKILL");
      await process.exited;
    });
    return process;
  }

  async function publish(producer: Producer, from: number, to: number): Promise<void> {
    const all: Promise<void>[] = [];
    for (let n = from; n < to; n++) all.push(producer.publish("svca.numbers.Counted", { n }, sluiceHeaders(n)));
    await Promise.all(all);
  }

  const numbers = async (url: string) => (await readAll(url, "numbers")).map(({ data }) => (data as { n: number }).n);
  const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);
  const source = { service: "svca", stream: "numbers" };

  test("killed between the commit and the acknowledgement, it stores nothing twice", async () => {
    const server = await startServer();
    const databaseUrl = await createTestDatabase();
    const proxy = await startTcpProxy(server.port);
    ends.push(proxy.stop);
    const env = { DATABASE_URL: databaseUrl, NATS_URL: `nats://127.0.0.1:${proxy.port}` };
    const client = await server.connect();
    const producer = await produce(client, "svca_numbers", ["svca.numbers.*"]);
    const manager = await client.jetstreamManager();
    let process = await start(env);
    await putRemote(process.url, "numbers", source);
    await publish(producer, 0, 10);
    await until("all are acknowledged", async () => {
      const info = await manager.consumers.info("svca_numbers", "svcb_numbers").catch(() => null);
      return info?.ack_floor.stream_seq === 10;
    });
    // Messages come, and no acknowledgement goes.
    await proxy.set("stall-to-server");
    await publish(producer, 10, 500);
    await mirrored(process.url, "numbers", 500);
    const info = await manager.consumers.info("svca_numbers", "svcb_numbers");
    expect(info.ack_floor.stream_seq).toBe(10);
    expect(info.num_ack_pending).toBe(490);
    process.kill("SIGKILL");
    await process.exited;
    await proxy.set("pass");
    await publish(producer, 500, 600);
    process = await start(env);
    await mirrored(process.url, "numbers", 600);
    expect(await numbers(process.url)).toEqual(upTo(600));
    await until("all are acknowledged", async () => {
      const now = await manager.consumers.info("svca_numbers", "svcb_numbers");
      return now.ack_floor.stream_seq === 600 && now.num_pending === 0;
    });
  }, 60_000);

  test("of two processes one mirrors; the other takes over when it is killed, and keeps the order", async () => {
    const server = await startServer();
    const databaseUrl = await createTestDatabase();
    const sql = openSql(databaseUrl, 1);
    ends.push(() => sql.end());
    const env = { DATABASE_URL: databaseUrl, NATS_URL: server.url };
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    const first = await start(env);
    await putRemote(first.url, "numbers", source);
    await until("the first has it in hand", async () => (await remote(first.url, "numbers")).state === "mirroring");
    const second = await start(env);
    let published = 0;
    const publishing = (async () => {
      for (; published < 3_000; published += 100) await publish(producer, published, published + 100);
    })();
    await until("some are mirrored", async () => (await numbers(second.url)).length > 500);
    const epoch = async () =>
      (await sql<{ epoch: string }[]>`select epoch from leases where name = 'remote:numbers'`)[0]?.epoch;
    const before = await epoch();
    first.kill("SIGKILL");
    await first.exited;
    await publishing;
    await publish(producer, 3_000, 3_500);
    await mirrored(second.url, "numbers", 3_500);
    expect(await numbers(second.url)).toEqual(upTo(3_500));
    expect(Number(await epoch())).toBeGreaterThan(Number(before));
  }, 60_000);

  test("a process that stood still while another took over stores nothing out of order", async () => {
    const server = await startServer();
    const env = { DATABASE_URL: await createTestDatabase(), NATS_URL: server.url };
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    const first = await start(env);
    await putRemote(first.url, "numbers", source);
    await publish(producer, 0, 100);
    await mirrored(first.url, "numbers", 100);
    const second = await start(env);
    const publishing = publish(producer, 100, 2_000);
    first.kill("SIGSTOP");
    await publishing;
    await mirrored(second.url, "numbers", 2_000);
    first.kill("SIGCONT");
    await publish(producer, 2_000, 2_500);
    await mirrored(second.url, "numbers", 2_500);
    expect(await numbers(second.url)).toEqual(upTo(2_500));
  }, 60_000);

  test("a process without a way to NATS leaves a mirror to one that has it, also when it came first or loses it later", async () => {
    const server = await startServer();
    const databaseUrl = await createTestDatabase();
    const sql = openSql(databaseUrl, 1);
    ends.push(() => sql.end());
    const proxy = await startTcpProxy(server.port);
    ends.push(proxy.stop);
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    const holder = async () =>
      (await sql<{ owner: string }[]>`select owner from leases where name = 'remote:numbers'`)[0]?.owner;
    const without = await start({ DATABASE_URL: databaseUrl });
    await start({ DATABASE_URL: databaseUrl, NATS_URL: "nats://127.0.0.1:1" });
    await putRemote(without.url, "numbers", source);
    await start({ DATABASE_URL: databaseUrl, NATS_URL: `nats://127.0.0.1:${proxy.port}` });
    await publish(producer, 0, 100);
    await mirrored(without.url, "numbers", 100);
    const first = await holder();
    await start({ DATABASE_URL: databaseUrl, NATS_URL: server.url });
    await proxy.set("refuse");
    proxy.cut();
    await publish(producer, 100, 200);
    await mirrored(without.url, "numbers", 200);
    expect(await holder()).not.toBe(first);
    expect(await numbers(without.url)).toEqual(upTo(200));
  }, 60_000);

  test("how a mirror stands is told as it is, also when who had it in hand is gone", async () => {
    const server = await startServer();
    const databaseUrl = await createTestDatabase();
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    const process = await start({ DATABASE_URL: databaseUrl, NATS_URL: server.url });
    const without = await start({ DATABASE_URL: databaseUrl });
    const unreachable = await start({ DATABASE_URL: databaseUrl, NATS_URL: "nats://127.0.0.1:1" });
    await putRemote(without.url, "numbers", source);
    await publish(producer, 0, 10);
    const up = async () =>
      (await (await fetch(`${without.url}/metrics`)).text()).match(/^sluice_remote_(up|pending).*$/gm);
    await until("it is told by whom it does not concern", async () => {
      const { state, pending } = await remote(without.url, "numbers");
      return state === "mirroring" && pending === "0";
    });
    await until("it is measured", async () => (await up())?.includes('sluice_remote_up{stream="numbers"} 1'));
    expect(await up()).toContain('sluice_remote_pending{stream="numbers"} 0');
    process.kill("SIGKILL");
    await process.exited;
    await until("it is missed", async () => (await remote(without.url, "numbers")).state === "no-nats");
    const idle = { pending: null, lagSeconds: null, mirrored: { jetstream: "svca_numbers", sequence: "10" } };
    expect(await remote(without.url, "numbers")).toMatchObject({ state: "no-nats", ...idle });
    expect(await remote(unreachable.url, "numbers")).toMatchObject({ state: "disconnected", ...idle });
    const bridge = await send<{ inbound: { streams: { state: string }[] } }>(`${unreachable.url}/api/bridge`);
    expect(bridge.body.inbound.streams.map(({ state }) => state)).toEqual(["disconnected"]);
    await until("it is measured", async () => (await up())?.includes('sluice_remote_up{stream="numbers"} 0'));
    expect((await up())?.filter((line) => line.startsWith("sluice_remote_pending"))).toEqual([]);
  }, 60_000);

  test("dead letters are put back while there is no NATS, by a process that has none", async () => {
    const server = await startServer();
    const databaseUrl = await createTestDatabase();
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    const process = await start({ DATABASE_URL: databaseUrl, NATS_URL: server.url });
    const { url } = process;
    await put(`${url}/api/schemas/Counted/versions/1`, { schema: { type: "object", required: ["m"] } });
    await put(`${url}/api/streams/numbers`, { validation: "enforce" });
    await putRemote(url, "numbers", { ...source, maxDeliveries: 1 });
    await publish(producer, 0, 2);
    await until("they are dead", async () => (await letters(url, "numbers")).length === 2);
    process.kill("SIGKILL");
    await process.exited;
    await server.kill();
    const without = await start({ DATABASE_URL: databaseUrl });
    await put(`${without.url}/api/streams/numbers`, { validation: "off" });
    await post(`${without.url}/api/remote-streams/numbers/dead-letters/replay`, { all: true });
    await until("they are events", async () => (await numbers(without.url)).length === 2);
    expect(await numbers(without.url)).toEqual([0, 1]);
    expect(await letters(without.url, "numbers")).toEqual([]);
  }, 60_000);

  test("a server that was wiped and refilled adds nothing, also when the mirror has forgotten events and ids", async () => {
    const server = await startServer();
    const databaseUrl = await createTestDatabase();
    const sql = openSql(databaseUrl, 1);
    ends.push(() => sql.end());
    const service = await startService({ DATABASE_URL: databaseUrl, NATS_URL: server.url, SERVICE_NAME: "svcb" });
    ends.push(service.stop);
    const { url } = service;
    let producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    await putRemote(url, "numbers", source);
    await publish(producer, 0, 100);
    await mirrored(url, "numbers", 100);
    await put(`${url}/api/streams/numbers`, { retention: { maxEvents: 10 } });
    await until("it is trimmed", async () => (await numbers(url)).length === 10);
    await sql`delete from event_ids`;
    for (const more of [0, 50]) {
      await server.wipe();
      await server.start();
      producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
      await publish(producer, 0, 100 + more);
      await mirrored(url, "numbers", 100 + more);
      await until("it is the new stream", async () => (await remote(url, "numbers")).pending === "0");
    }
    const offsets = (await readAll(url, "numbers")).map(({ offset, originoffset }) => [offset, originoffset]);
    // Offsets go on where they were: nothing was stored in between.
    expect(offsets.at(-1)).toEqual(["149", "149"]);
    await until("it is trimmed again", async () => (await numbers(url)).length === 10);
    expect(await numbers(url)).toEqual(upTo(150).slice(-10));
  }, 60_000);

  test("a server that was killed and started again goes on, and acknowledgements that were lost do no harm", async () => {
    const server = await startServer();
    const service = await startService({ NATS_URL: server.url, SERVICE_NAME: "svcb" });
    ends.push(service.stop);
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    await putRemote(service.url, "numbers", source);
    for (let round = 0; round < 3; round++) {
      await publish(producer, round * 200, round * 200 + 200);
      if (round === 1) await mirrored(service.url, "numbers", 400);
      await server.kill();
      await until("it is noticed", async () => (await remote(service.url, "numbers")).state === "disconnected");
      await server.start();
    }
    await publish(producer, 600, 700);
    await mirrored(service.url, "numbers", 700);
    expect(await numbers(service.url)).toEqual(upTo(700));
  }, 60_000);

  test("while the database is away nothing is lost and no try is used up", async () => {
    const server = await startServer();
    const direct = new URL(await createTestDatabase());
    const proxy = await startTcpProxy(Number(direct.port));
    ends.push(proxy.stop);
    const through = new URL(direct.href);
    through.port = String(proxy.port);
    const process = await start({
      DATABASE_URL: through.href,
      DATABASE_TIMEOUT: "2s",
      NATS_URL: server.url,
      LEASE_DURATION: "10s",
    });
    const producer = await produce(await server.connect(), "svca_numbers", ["svca.numbers.*"]);
    await putRemote(process.url, "numbers", { ...source, maxDeliveries: 1 });
    await publish(producer, 0, 100);
    await mirrored(process.url, "numbers", 100);
    // Answers to what is under way get lost, then nobody answers at all.
    await proxy.set("lose-answers");
    await publish(producer, 100, 300);
    await proxy.set("refuse");
    proxy.cut();
    await publish(producer, 300, 500);
    const health = async () => (await fetch(`${process.url}/api/remote-streams/numbers`)).status;
    await until("the database is missed", async () => (await health()) === 503);
    await proxy.set("pass");
    await until("it answers again", async () => (await health()) === 200);
    await mirrored(process.url, "numbers", 500);
    expect(await numbers(process.url)).toEqual(upTo(500));
    expect(await letters(process.url, "numbers")).toEqual([]);
    expect((await remote(process.url, "numbers")).retrying.count).toBe("0");
  }, 60_000);
});
