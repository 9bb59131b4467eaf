// The connection to NATS: it comes back for ever.
import { afterAll, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { startNats } from "../../../src/delivery/bridge/nats.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { until } from "../../support/until.ts";

const server = natsServerPath === null ? null : await startNatsServer();
afterAll(() => server?.stop());

test.skipIf(server === null)("a server that was killed and started again is found again", async () => {
  if (server === null) return;
  const nats = startNats({
    servers: [server.url],
    name: "test",
    credentials: null,
    tls: null,
    inboxPrefix: "_INBOX",
    timeoutMs: 2_000,
    log: createLog("silent", "test"),
  });
  await until("it is connected", () => nats.state() === "connected");
  const settings = {
    maxAgeMs: 0,
    maxBytes: -1,
    maxMessages: -1,
    replicas: 1,
    storage: "file",
    duplicateWindowMs: 1_000,
    description: "of a test",
  } as const;
  const made = await nats.createStream("kept", ["kept.*"], settings);
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
