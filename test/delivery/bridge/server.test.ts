// The connection to NATS: it comes back for ever, and ends soon when it is to end, whatever the server does.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import type { NatsOptions } from "../../../src/delivery/bridge/jetstream.ts";
import { startNats } from "../../../src/delivery/bridge/nats.ts";
import { append, send } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { type NatsServer, natsServerPath, startNatsServer, streamSettings } from "../../support/nats-server.ts";
import { putRemote, remote } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

const unheard = { onConfirmed() {}, onRefused() {} };
/** Longer than the parts may take to end, and much shorter than a hanging server would have them wait. */
const endsWithinMs = 15_000;

describe.skipIf(natsServerPath === null)("with a server", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterEach(() => server.signal("SIGCONT"));
  afterAll(() => server.stop());
  const start = (more: Partial<NatsOptions> = {}) =>
    startNats({
      servers: [server.url],
      name: "test",
      credentials: null,
      tls: null,
      inboxPrefix: "_INBOX",
      timeoutMs: 2_000,
      log: createLog("silent", "test"),
      ...more,
    });

  test("a server that was killed and started again is found again", async () => {
    const nats = start();
    await until("it is connected", () => nats.state() === "connected");
    const made = await nats.createStream("kept", ["kept.*"], streamSettings);
    await server.kill();
    await until("it has noticed", () => nats.state() === "disconnected");
    expect(nats.lastError()).not.toBeNull();
    await server.start();
    await until("it is connected again", () => nats.state() === "connected");
    expect((await nats.findStream("kept"))?.created).toBe(made.created);
    await server.wipe();
    await server.start();
    await until("it is connected to a server without a memory", () => nats.connects() === 3);
    expect(await nats.findStream("kept")).toBeNull();
    await nats.stop();
  });

  test("what was published is written out before it ends, but not for longer than a moment", async () => {
    const proxy = await startTcpProxy(server.port);
    const nats = start({ servers: [`nats://127.0.0.1:${proxy.port}`], timeoutMs: 60_000 });
    await until("it is connected", () => nats.state() === "connected");
    const client = await server.connect();
    const received = client.subscribe("last.words");
    await client.flush();
    const publisher = nats.openPublisher(unheard);
    publisher.publish(0, "last.words", [], new Uint8Array());
    await ends(nats.stop());
    for await (const _ of received) break;
    const another = start({ servers: [`nats://127.0.0.1:${proxy.port}`], timeoutMs: 60_000 });
    await until("it is connected", () => another.state() === "connected");
    await proxy.set("stall");
    another.openPublisher(unheard).publish(0, "last.words", [], new Uint8Array(800_000));
    await ends(another.stop());
    expect(another.state()).toBe("closed");
    await proxy.stop();
  });

  test("a connection that takes nothing any more is given up, however much waits to be written", async () => {
    const proxy = await startTcpProxy(server.port);
    const nats = start({ servers: [`nats://127.0.0.1:${proxy.port}`], pingIntervalMs: 100 });
    await until("it is connected", () => nats.state() === "connected");
    await proxy.set("stall");
    const publisher = nats.openPublisher(unheard);
    for (let n = 0; n < 40; n++) publisher.publish(n, "any.subject", [], new Uint8Array(900_000));
    await until("it has noticed", () => nats.state() === "disconnected");
    await proxy.set("pass");
    await until("it is connected again", () => nats.state() === "connected");
    await nats.stop();
    await proxy.stop();
  });

  test("it ends while it is being connected to a server that does not answer", async () => {
    const proxy = await startTcpProxy(server.port);
    await proxy.set("stall");
    const nats = start({ servers: [`nats://127.0.0.1:${proxy.port}`], timeoutMs: 60_000 });
    await until("it has called", () => proxy.connections() === 1);
    await ends(nats.stop());
    expect(nats.state()).toBe("closed");
    await proxy.stop();
  });

  test("a service ends while NATS answers nothing, in the midst of questions of publishing and of mirrors", async () => {
    const service = await startService({ NATS_URL: server.url, SERVICE_NAME: "ending", NATS_CHECK_INTERVAL: "1s" });
    const states = async () => {
      const { body } = await send<{ outbound: { streams: { state: string }[] } }>(`${service.url}/api/bridge`);
      return body.outbound.streams.map(({ state }) => state);
    };
    await put(`${service.url}/api/streams/before`, { scope: "cross-service" });
    await append(service.url, "before", { type: "A" });
    await until("it publishes", async () => (await states())[0] === "publishing");
    server.signal("SIGSTOP");
    await append(service.url, "before", { type: "A" });
    await put(`${service.url}/api/streams/after`, { scope: "cross-service" });
    await putRemote(service.url, "far", { service: "svcb", stream: "far" });
    await until("it asks what is there", async () => (await states()).includes("aligning"));
    await until("the mirror has begun", async () => (await remote(service.url, "far")).state === "disconnected");
    await ends(service.stop());
  });
});

/** Fails when it has not ended in time. */
async function ends(ending: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("it has not ended")), endsWithinMs);
  await Promise.race([ending, late.promise]);
  clearTimeout(timer);
}
