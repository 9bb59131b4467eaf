// What the bridge makes in JetStream, what it leaves alone, and what it says of itself.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { countOf, range } from "../../support/bridge.ts";
import { append, expectProblem, send } from "../../support/client.ts";
import { type NatsServer, natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { type Service, startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

type Shown = {
  stream: string;
  state: string;
  error: string | null;
  offset: string | null;
  lagEvents: string;
  withheld: string;
};
type Bridge = {
  configured: boolean;
  connected: boolean;
  breaker: string;
  outbound: { publishes: boolean; streams: Shown[] };
};

const put = (url: string, stream: string, body: object) =>
  send<{ nats: Record<string, unknown> }>(`${url}/api/streams/${stream}`, {
    method: "PUT",
    body: JSON.stringify({ scope: "cross-service", ...body }),
  });
const bridge = async (url: string) => (await send<Bridge>(`${url}/api/bridge`)).body;
const shown = async (url: string, stream: string) =>
  (await bridge(url)).outbound.streams.find((each) => each.stream === stream);

describe.skipIf(natsServerPath === null)("with a server", () => {
  let server: NatsServer;
  let service: Service;
  beforeAll(async () => {
    server = await startNatsServer();
    service = await startService({ NATS_URL: server.url, LEASE_DURATION: "1s", NATS_MAX_AGE: "7d" });
  });
  afterAll(async () => {
    await service.stop();
    await server.stop();
  });
  const infoOf = async (name: string) => {
    const client = await server.connect();
    const info = await (await client.jetstreamManager()).streams.info(name).catch(() => null);
    await client.close();
    return info;
  };

  test("a JetStream stream is made as configured, and changed when its configuration is", async () => {
    await put(service.url, "made", { nats: { retention: { maxEvents: 50 }, storage: "memory" } });
    const made = await until("it is made", () => infoOf("sluice_made"));
    expect(made.config).toMatchObject({
      subjects: ["sluice.made.*"],
      max_age: 7 * 86_400 * 1e9,
      max_msgs: 50,
      max_bytes: -1,
      storage: "memory",
      num_replicas: 1,
      duplicate_window: 120e9,
    });
    const again = await put(service.url, "made", {
      nats: { subject: "moved.{stream}.{type}", retention: { maxAge: "1h", maxBytes: "1000000" }, storage: "memory" },
    });
    expect(again.body.nats).toMatchObject({ stream: "sluice_made", subject: "moved.made.{type}" });
    const changed = await until("it is changed", async () => {
      const info = await infoOf("sluice_made");
      return info?.config.max_age === 3_600e9 ? info : null;
    });
    expect(changed.config).toMatchObject({ subjects: ["moved.made.*"], max_msgs: -1, max_bytes: 1_000_000 });
    expect(changed.created).toBe(made.created);
  });

  test("what was described can be written again", async () => {
    const { body } = await put(service.url, "written", { nats: { mode: "structured", replicas: 1 } });
    expect((await put(service.url, "written", { nats: body.nats })).body.nats).toEqual(body.nats);
  });

  test("two streams of one name in NATS, or of overlapping subjects, are refused", async () => {
    await put(service.url, "eu.orders", {});
    const problem = expectProblem(await put(service.url, "eu_orders", {}), 409, "nats-name-taken");
    expect(problem.holder).toBe("eu.orders");
    expectProblem(await send(`${service.url}/api/streams/eu_orders`), 404, "stream-not-found");
    const subject = "sluice.eu_orders.Placed";
    expectProblem(await put(service.url, "other", { nats: { subject } }), 409, "nats-name-taken");
    expect((await put(service.url, "other", { nats: { subject: "sluice.elsewhere.Placed" } })).status).toBe(201);
    const taken = await Promise.all(
      range(8).map((n) =>
        put(service.url, `racer-${n}`, { nats: { stream: "one-name", subject: `race-${n}.{type}` } }),
      ),
    );
    expect(taken.filter(({ status }) => status === 201)).toHaveLength(1);
    await send(`${service.url}/api/streams/eu.orders`, { method: "DELETE" });
    expect((await put(service.url, "eu_orders", {})).status).toBe(201);
  });

  test("a JetStream stream of somebody else is left alone, the stream says so, and others go on", async () => {
    const client = await server.connect();
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: "theirs", subjects: ["sluice.clash.>"] });
    await manager.streams.add({ name: "sluice_named", subjects: ["elsewhere.>"] });
    // One that takes the very subject is used as it is.
    await manager.streams.add({ name: "sluice_theirs", subjects: ["sluice.theirs.*"], max_msgs: 7 });
    for (const stream of ["clash", "named", "fine", "theirs"]) {
      await put(service.url, stream, {});
      await append(service.url, stream, { type: "A" });
    }
    await until("the other is published", async () => (await countOf(client, "sluice_fine")) === 1);
    await until("and the one that fits", async () => (await countOf(client, "sluice_theirs")) === 1);
    expect((await manager.streams.info("sluice_theirs")).config.max_msgs).toBe(7);
    const clash = await until("the clash is told", async () => {
      const found = await shown(service.url, "clash");
      return found?.error && found;
    });
    expect(clash).toMatchObject({ offset: null, lagEvents: "1", error: expect.stringContaining("overlap") });
    await until("the other clash is told", async () =>
      /somebody else/.test((await shown(service.url, "named"))?.error ?? ""),
    );
    expect((await manager.streams.info("sluice_named")).config.subjects).toEqual(["elsewhere.>"]);
    await manager.streams.delete("theirs");
    await until("it goes on by itself", async () => (await countOf(client, "sluice_clash")) === 1);
    await until("and says so", async () => (await shown(service.url, "clash"))?.error === null);
  });

  test("connection, lag and confirmations are told over HTTP and as metrics; readiness does not hang on them", async () => {
    await put(service.url, "told", {});
    await append(service.url, "told", { type: "A" });
    await until("it is noted", async () => (await shown(service.url, "told"))?.offset === "0");
    expect(await shown(service.url, "told")).toMatchObject({ state: "publishing", lagEvents: "0", withheld: "0" });
    await server.kill();
    await until("that it is gone is told", async () => !(await bridge(service.url)).connected);
    expect((await append(service.url, "told", { type: "A" })).status).toBe(201);
    await until("the lag is told", async () => (await shown(service.url, "told"))?.lagEvents === "1");
    const ready = await send<{ checks: { bridge: { detail: string } } }>(`${service.url}/readyz`);
    expect([ready.status, ready.body.checks.bridge.detail]).toEqual([200, expect.stringContaining("not connected")]);
    const guide = await Bun.file(`${import.meta.dir}/../../../docs/operation.md`).text();
    const text = await (await fetch(`${service.url}/metrics`)).text();
    expect(text).toMatch(/^sluice_bridge_connected 0$/m);
    const names = [...text.matchAll(/^# TYPE sluice_(bridge_\w+) /gm)].map(([, name]) => name as string);
    expect(names.length).toBeGreaterThan(9);
    expect(names.filter((name) => !guide.includes(`\`${name}\``))).toEqual([]);
    await server.start();
    await until("the lag is gone", async () => (await shown(service.url, "told"))?.lagEvents === "0");
  });
});

test.skipIf(natsServerPath === null)(
  "with NATS_TOPOLOGY=verify nothing is made, and what others made is used",
  async () => {
    const server = await startNatsServer();
    const service = await startService({ NATS_URL: server.url, NATS_TOPOLOGY: "verify" });
    await put(service.url, "checked", {});
    await append(service.url, "checked", { type: "A" });
    await until("its absence is told", async () =>
      /does not exist/.test((await shown(service.url, "checked"))?.error ?? ""),
    );
    const client = await server.connect();
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: "sluice_checked", subjects: ["sluice.checked.>"], max_msgs: 7 });
    await until("it is published", async () => (await countOf(client, "sluice_checked")) === 1);
    expect((await manager.streams.info("sluice_checked")).config).toMatchObject({
      subjects: ["sluice.checked.>"],
      max_msgs: 7,
    });
    await service.stop();
    await server.stop();
  },
);
