// Publishing under faults: whatever ends in between, JetStream comes to hold the events of the log, in order, each once.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type postgres from "postgres";
import { countOf, heldBy, offsetsOf, range } from "../../support/bridge.ts";
import { append, send } from "../../support/client.ts";
import { type NatsServer, natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import {
  type Service,
  type ServiceProcess,
  spawnService,
  startLoggedService,
  startService,
} from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

const share = (url: string, stream: string, nats: object = {}) =>
  send(`${url}/api/streams/${stream}`, { method: "PUT", body: JSON.stringify({ scope: "cross-service", nats }) });
const events = (count: number, from = 0) => range(count, from).map((n) => ({ type: "Counted", data: { n } }));

describe.skipIf(natsServerPath === null)("one process", () => {
  let server: NatsServer;
  let service: Service;
  let sql: postgres.Sql;
  const env = () => ({
    NATS_URL: server.url,
    DATABASE_URL: service?.databaseUrl ?? "",
    LEASE_DURATION: "1s",
    NATS_CHECK_INTERVAL: "1s",
  });
  beforeAll(async () => {
    server = await startNatsServer();
    service = await startService({
      NATS_URL: server.url,
      LEASE_DURATION: "1s",
      NATS_CHECK_INTERVAL: "1s",
      LOG_LEVEL: process.env.TEST_LOG ?? "silent",
    });
    sql = openSql(service.databaseUrl);
  });
  afterAll(async () => {
    await sql.end();
    await service.stop();
    await server.stop();
  });
  const published = async (stream: string, count: number) => {
    const client = await server.connect();
    await until(`${count} of ${stream} are there`, async () => (await countOf(client, `sluice_${stream}`)) === count);
    const offsets = await offsetsOf(client, `sluice_${stream}`);
    await client.close();
    return offsets;
  };
  const noted = (stream: string, offset: number) =>
    until(`offset ${offset} of ${stream} is noted`, async () => {
      const rows = await sql`
        select c."offset" from bridge_cursors c join streams s on s.id = c.stream_id where s.name = ${stream}`;
      return Number(rows[0]?.offset ?? -2) === offset;
    });
  const restart = async () => {
    await service.stop();
    service = { ...(await startService(env())) };
  };

  test("a server that is killed again and again gets every event once", async () => {
    await share(service.url, "killed");
    let appended = 0;
    for (let round = 0; round < 4; round++) {
      for (let n = 0; n < 5; n++) {
        await append(service.url, "killed", events(200, appended));
        appended += 200;
      }
      await server.kill();
      expect((await append(service.url, "killed", events(100, appended))).status).toBe(201);
      appended += 100;
      await server.start();
    }
    expect(await published("killed", appended)).toEqual(range(appended));
  });

  test("what a silent JetStream has taken after all is not told as held up", async () => {
    const error = async () => {
      const { body } = await send<{ outbound: { streams: { stream: string; error: string | null }[] } }>(
        `${service.url}/api/bridge`,
      );
      return body.outbound.streams.find(({ stream }) => stream === "silent")?.error;
    };
    await share(service.url, "silent");
    await append(service.url, "silent", events(1));
    expect(await published("silent", 1)).toEqual([0]);
    server.signal("SIGSTOP");
    await append(service.url, "silent", events(1, 1));
    await until("the silence is told", async () => /does not answer/.test((await error()) ?? ""));
    server.signal("SIGCONT");
    expect(await published("silent", 2)).toEqual([0, 1]);
    await until("it is over", async () => (await error()) === null);
  });

  test("a server that was wiped is filled again, without the ids that it knew", async () => {
    await share(service.url, "wiped");
    await append(service.url, "wiped", events(500));
    expect(await published("wiped", 500)).toEqual(range(500));
    await server.wipe();
    await append(service.url, "wiped", events(100, 500));
    await server.start();
    expect(await published("wiped", 600)).toEqual(range(600));
  });

  test("a JetStream stream that was deleted while the connection stands is filled again", async () => {
    await share(service.url, "deleted");
    await append(service.url, "deleted", events(50));
    expect(await published("deleted", 50)).toEqual(range(50));
    const client = await server.connect();
    await (await client.jetstreamManager()).streams.delete("sluice_deleted");
    await append(service.url, "deleted", events(10, 50));
    expect(await published("deleted", 60)).toEqual(range(60));
  });

  test("a JetStream stream that is deleted while nothing is appended is filled again, as is one that was made anew", async () => {
    await share(service.url, "idle");
    await append(service.url, "idle", events(50));
    expect(await published("idle", 50)).toEqual(range(50));
    const client = await server.connect();
    const manager = await client.jetstreamManager();
    const { created } = await manager.streams.info("sluice_idle");
    await manager.streams.delete("sluice_idle");
    expect(await published("idle", 50)).toEqual(range(50));
    const { config, created: again } = await manager.streams.info("sluice_idle");
    expect(again).not.toBe(created);
    await manager.streams.delete("sluice_idle");
    await manager.streams.add(config);
    expect(await published("idle", 50)).toEqual(range(50));
    await client.jetstream().publish("sluice.idle.Strange", "{}");
    await until("the stranger's message is noted", async () => {
      const rows = await sql`select nats_sequence from bridge_cursors where nats_stream = 'sluice_idle'`;
      return Number(rows[0]?.nats_sequence) === 51;
    });
    const { body } = await send<{ outbound: { streams: { stream: string; state: string; error: string | null }[] } }>(
      `${service.url}/api/bridge`,
    );
    expect(body.outbound.streams.find(({ stream }) => stream === "idle")).toMatchObject({ error: null });
    await client.close();
  });

  test("events are not published again after the window in which JetStream knows ids", async () => {
    await share(service.url, "aged", { retention: { maxAge: "1h" } });
    await append(service.url, "aged", events(20));
    expect(await published("aged", 20)).toEqual(range(20));
    await noted("aged", 19);
    await service.stop();
    const client = await server.connect();
    const manager = await client.jetstreamManager();
    // Known as a duplicate as long as JetStream knows the id, then refused for the last message it names. (Of a wrong sequence some
    // servers tell before they look at the id.)
    const [newest] = (await heldBy(client, "sluice_aged")).slice(-1);
    const isKnown = () =>
      client
        .jetstream()
        .publish("sluice.aged.A", "", {
          msgID: newest?.headers["Nats-Msg-Id"] as string,
          expect: { lastMsgID: "no-such-message" },
        })
        .then(
          ({ duplicate }) => duplicate,
          () => false,
        );
    expect(await isKnown()).toBe(true);
    // The window of a real day, in the time of a test.
    await manager.streams.update("sluice_aged", { duplicate_window: 100_000_000 });
    await until("JetStream has forgotten the ids", async () => !(await isKnown()));
    await sql`update bridge_cursors set "offset" = -1, position = -1, nats_sequence = 0`;
    service = await startService(env());
    await append(service.url, "aged", events(5, 20));
    expect(await published("aged", 25)).toEqual(range(25));
  });

  for (const purged of [false, true])
    test(`a crash at any point between publish and cursor loses nothing, and repeats ${purged ? "what JetStream has forgotten" : "nothing"}`, async () => {
      const stream = `crash-${purged}`;
      await share(service.url, stream);
      let appended = 0;
      for (const back of [0, 1, 7, 40]) {
        await append(service.url, stream, events(40, appended));
        appended += 40;
        await noted(stream, appended - 1);
        await service.stop();
        const client = await server.connect();
        const manager = await client.jetstreamManager();
        await sql`
          update bridge_cursors c set "offset" = c."offset" - ${back}, nats_sequence = c.nats_sequence - ${back},
            position = coalesce((select e.position from events e where e.stream_id = c.stream_id and e."offset" = c."offset" - ${back}), -1)
          from streams s where s.id = c.stream_id and s.name = ${stream}`;
        if (purged) await manager.streams.purge(`sluice_${stream}`);
        service = await startService(env());
        await append(service.url, stream, events(1, appended));
        appended += 1;
        await noted(stream, appended - 1);
        expect(await offsetsOf(client, `sluice_${stream}`)).toEqual(
          purged ? range(back + 1, appended - back - 1) : range(appended),
        );
        await client.close();
      }
    });

  for (const restarted of [false, true])
    test(`messages of strangers that JetStream has forgotten are not taken for events${restarted ? ", after a restart neither" : ""}`, async () => {
      const stream = `forgotten-${restarted}`;
      await share(service.url, stream);
      await append(service.url, stream, events(10));
      await noted(stream, 9);
      if (restarted) await service.stop();
      const client = await server.connect();
      for (let n = 0; n < 5; n++) await client.jetstream().publish(`sluice.${stream}.Strange`, "{}");
      await (await client.jetstreamManager()).streams.purge(`sluice_${stream}`);
      await client.close();
      if (restarted) service = await startService(env());
      await append(service.url, stream, events(10, 10));
      expect(await published(stream, 10)).toEqual(range(10, 10));
    });

  test("a JetStream that is restored to an older state is filled again from there", async () => {
    await share(service.url, "restored");
    await append(service.url, "restored", events(10));
    await noted("restored", 9);
    await server.backUp();
    await server.start();
    const client = await server.connect();
    for (let n = 0; n < 5; n++) await client.jetstream().publish("sluice.restored.Strange", "{}");
    await client.close();
    await append(service.url, "restored", events(10, 10));
    await noted("restored", 19);
    await server.restore();
    await server.start();
    await append(service.url, "restored", events(1, 20));
    expect(await published("restored", 21)).toEqual(range(21));
  });

  test("a cursor that is lost altogether is found again in JetStream", async () => {
    await share(service.url, "lost");
    await append(service.url, "lost", events(30));
    await noted("lost", 29);
    await service.stop();
    await sql`delete from bridge_cursors`;
    service = await startService(env());
    await append(service.url, "lost", events(5, 30));
    expect(await published("lost", 35)).toEqual(range(35));
  });

  test("messages of strangers in a stream repeat nothing and hold nothing up", async () => {
    await share(service.url, "strangers");
    await append(service.url, "strangers", events(10));
    await noted("strangers", 9);
    const client = await server.connect();
    await client.jetstream().publish("sluice.strangers.Strange", "{}");
    await append(service.url, "strangers", events(10, 10));
    const offsets = await published("strangers", 21);
    expect(offsets.filter((offset) => !Number.isNaN(offset))).toEqual(range(20));
  });

  test("a flood of strangers' messages behind the cursor is looked through", async () => {
    await share(service.url, "flooded");
    await append(service.url, "flooded", events(10));
    await noted("flooded", 9);
    await service.stop();
    // As if a crash had come before the note.
    await sql`
      update bridge_cursors c set "offset" = 4, nats_sequence = 5 from streams s where s.id = c.stream_id and s.name = 'flooded'`;
    const client = await server.connect();
    for (let n = 0; n < 5_000; n++) client.publish("sluice.flooded.Strange", "{}");
    await client.flush();
    await until("they are there", async () => (await countOf(client, "sluice_flooded")) === 5_010);
    await client.close();
    service = await startService(env());
    await append(service.url, "flooded", events(5, 10));
    const offsets = await published("flooded", 5_015);
    expect(offsets.filter((offset) => !Number.isNaN(offset))).toEqual(range(15));
  });

  test("an event larger than the server allows is withheld, and what follows is published", async () => {
    await share(service.url, "large");
    await append(service.url, "large", events(2));
    // With its headers it is larger than the megabyte of the server.
    const large = { type: "Large", id: "too-large", data: "x".repeat(1_048_500) };
    expect((await append(service.url, "large", large)).status).toBe(201);
    await append(service.url, "large", events(2, 2));
    expect(await published("large", 4)).toEqual([0, 1, 3, 4]);
    await restart();
    await append(service.url, "large", events(1, 4));
    expect(await published("large", 5)).toEqual([0, 1, 3, 4, 5]);
    const rows = await sql`select "offset", event_id, type from bridge_withheld`;
    expect(rows.map((row) => ({ ...row }))).toEqual([{ offset: "2", event_id: "too-large", type: "Large" }] as never);
  });

  test("events that retention removed before they were published are passed over", async () => {
    await append(service.url, "trimmed", events(100));
    await share(service.url, "trimmed-witness");
    await send(`${service.url}/api/streams/trimmed`, {
      method: "PUT",
      body: JSON.stringify({ retention: { maxEvents: 10 } }),
    });
    await until("they are removed", async () => {
      const { body } = await send<{ firstOffset: string }>(`${service.url}/api/streams/trimmed`);
      return body.firstOffset === "90";
    });
    await send(`${service.url}/api/streams/trimmed`, {
      method: "PUT",
      body: JSON.stringify({ scope: "cross-service" }),
    });
    await append(service.url, "trimmed", events(5));
    expect(await published("trimmed", 15)).toEqual(range(15, 90));
  });

  test("a stream that is deleted and made again goes on in the same JetStream stream", async () => {
    await share(service.url, "reborn");
    await append(service.url, "reborn", events(5));
    expect(await published("reborn", 5)).toEqual(range(5));
    await send(`${service.url}/api/streams/reborn`, { method: "DELETE" });
    await share(service.url, "reborn");
    await append(service.url, "reborn", events(5));
    expect(await published("reborn", 10)).toEqual(range(10));
  });
});

test.skipIf(natsServerPath === null)(
  "a slow connection gets every event once and in order, and appends do not wait for it",
  async () => {
    const server = await startNatsServer();
    const proxy = await startTcpProxy(server.port);
    const service = await startService({ NATS_URL: `nats://127.0.0.1:${proxy.port}`, NATS_CHECK_INTERVAL: "1s" });
    await share(service.url, "slow");
    await append(service.url, "slow", events(1));
    const client = await server.connect();
    await until("the first is there", async () => (await countOf(client, "sluice_slow")) === 1);
    await proxy.set("slow");
    for (let n = 1; n < 4_000; n += 200) expect((await append(service.url, "slow", events(200, n))).status).toBe(201);
    await until("it comes along", async () => (await countOf(client, "sluice_slow")) > 500);
    expect((await append(service.url, "slow", events(1, 4_001))).status).toBe(201);
    await until("all is there", async () => (await countOf(client, "sluice_slow")) === 4_002);
    expect(await offsetsOf(client, "sluice_slow")).toEqual(range(4_002));
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    const figure = (name: string) => new RegExp(`^sluice_bridge_${name} (\\d+)$`, "m").exec(metrics)?.[1];
    // Nothing was sent a second time.
    expect([figure("published_total"), figure("realigned_total")]).toEqual(["4002", "0"]);
    await service.stop();
    await proxy.stop();
    await server.stop();
  },
);

test.skipIf(natsServerPath === null)(
  "that another log is published under the same names is told once, by each, and publishing goes on",
  async () => {
    const server = await startNatsServer();
    const env = { NATS_URL: server.url, SERVICE_NAME: "twin" };
    const services = [await startLoggedService(env), await startLoggedService(env)] as const;
    const client = await server.connect();
    let count = 0;
    for (const { url } of services) await share(url, "users");
    for (let round = 0; round < 3; round++)
      for (const { url } of services) {
        await append(url, "users", events(1, round));
        count++;
        await until("it is there", async () => (await countOf(client, "twin_users")) === count);
      }
    expect(await offsetsOf(client, "twin_users")).toEqual([0, 0, 1, 1, 2, 2]);
    const logIds = (await heldBy(client, "twin_users")).map(({ headers }) => headers["ce-logid"]);
    for (const [n, { lines }] of services.entries()) {
      const told = lines().filter(({ msg }) => msg.includes("another service with this name"));
      expect(told).toHaveLength(1);
      expect(told[0]).toMatchObject({ stream: "users", jetstream: "twin_users", logId: logIds[1 - n] });
    }
    for (const service of services) await service.stop();
    await server.stop();
  },
);

describe.skipIf(natsServerPath === null)("two processes", () => {
  let server: NatsServer;
  let databaseUrl: string;
  let sql: postgres.Sql;
  const processes: ServiceProcess[] = [];
  const spawn = async () => {
    const process = await spawnService({ DATABASE_URL: databaseUrl, NATS_URL: server.url, LEASE_DURATION: "1s" });
    processes.push(process);
    return process;
  };
  beforeAll(async () => {
    server = await startNatsServer();
    databaseUrl = await createTestDatabase();
    sql = openSql(databaseUrl);
  });
  afterAll(async () => {
    for (const process of processes) process.kill("SIGKILL");
    for (const process of processes) await process.exited;
    await sql.end();
    await server.stop();
  });
  const publishes = async (process: ServiceProcess) => {
    const text = await (await fetch(`${process.url}/metrics`)).text();
    return /^sluice_bridge_publishes 1$/m.test(text);
  };

  test("one publishes, and the other takes over when it is killed or stands still; who was still adds nothing", async () => {
    const one = await spawn();
    await share(one.url, "shared");
    const client = await server.connect();
    await append(one.url, "shared", events(100));
    await until("the first publishes", async () => (await countOf(client, "sluice_shared")) === 100);
    const two = await spawn();
    expect([await publishes(one), await publishes(two)]).toEqual([true, false]);
    for (let n = 100; n < 1_000; n += 100) await append(two.url, "shared", events(100, n));
    // With much under way the first stands still, beyond its lease.
    one.kill("SIGSTOP");
    for (let n = 1_000; n < 2_000; n += 100) await append(two.url, "shared", events(100, n));
    await until("the second publishes", () => publishes(two));
    await until("all is there", async () => (await countOf(client, "sluice_shared")) === 2_000);
    one.kill("SIGCONT");
    await until("the first has noticed", async () => !(await publishes(one)));
    two.kill("SIGKILL");
    await two.exited;
    await append(one.url, "shared", events(100, 2_000));
    await until("the first publishes again", () => publishes(one));
    await until("all is there again", async () => (await countOf(client, "sluice_shared")) === 2_100);
    const held = await heldBy(client, "sluice_shared");
    expect(held.map(({ headers }) => Number(headers["ce-offset"]))).toEqual(range(2_100));
    expect(new Set(held.map(({ headers }) => headers["ce-id"])).size).toBe(2_100);
  });
});
