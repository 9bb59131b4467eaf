// Questions to JetStream: the circuit breaker counts silence alone, and nobody waits longer than he wants to.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { createBreaker } from "../../../src/delivery/bridge/breaker.ts";
import {
  JetStreamError,
  type Nats,
  NatsUnavailable,
  notPermitted,
  subjectsOverlap,
} from "../../../src/delivery/bridge/jetstream.ts";
import { startNats } from "../../../src/delivery/bridge/nats.ts";
import { askedUntil, guarded } from "../../../src/delivery/bridge/questions.ts";
import { range } from "../../support/bridge.ts";
import { send } from "../../support/client.ts";
import { type NatsServer, natsServerPath, startNatsServer, streamSettings } from "../../support/nats-server.ts";
import { putRemote } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

const log = createLog("silent", "test");
const startOn = async (server: NatsServer, timeoutMs = 60_000) => {
  const nats = startNats({
    servers: [server.url],
    name: "test",
    credentials: null,
    tls: null,
    inboxPrefix: "_INBOX",
    timeoutMs,
    log,
  });
  await until("it is connected", () => nats.state() === "connected");
  return nats;
};
const errorOf = (question: Promise<unknown>): Promise<unknown> =>
  question.then(
    () => null,
    (error: unknown) => error,
  );

test("one stream of which nothing is heard keeps nobody from asking for another", async () => {
  let nowMs = 0;
  const breaker = createBreaker(log, () => nowMs);
  const silent = () => Promise.reject(new NatsUnavailable("nobody answers"));
  for (const _ of range(5)) await errorOf(breaker.run("silent", silent));
  expect([breaker.state(), breaker.cause()]).toEqual(["open", "silent: nobody answers"]);
  for (const _ of range(5)) await errorOf(breaker.run("silent", silent));
  expect(await breaker.run("heard", () => Promise.resolve("an answer"))).toBe("an answer");
  expect(breaker.state()).toBe("open");
  // Nobody asks about it any more.
  nowMs += 61_000;
  expect([breaker.state(), breaker.cause()]).toEqual(["closed", null]);
});

describe.skipIf(natsServerPath === null)("with JetStream", () => {
  let server: NatsServer;
  let nats: Nats;
  beforeAll(async () => {
    server = await startNatsServer();
    nats = await startOn(server);
  });
  afterAll(async () => {
    await nats.stop();
    await server.stop();
  });

  test("what JetStream refuses, or has not, is an answer", async () => {
    const breaker = createBreaker(log);
    const asked = guarded(nats, breaker);
    await asked.createStream("taken", ["taken.*"], streamSettings);
    for (const _ of range(10)) {
      expect(await errorOf(asked.createStream("other", ["taken.*"], streamSettings))).toMatchObject({
        code: subjectsOverlap,
      });
      expect(await errorOf(asked.updateStream("none", ["none"], streamSettings))).toBeInstanceOf(JetStreamError);
      expect(await asked.findStream("none")).toBeNull();
      expect(await asked.streamsOfSubject("none")).toEqual([]);
      expect(await asked.message("taken", 7)).toBeNull();
      expect(await asked.findConsumer("taken", "none")).toBeNull();
      await asked.deleteConsumer("taken", "none");
    }
    expect(breaker.state()).toBe("closed");
  });

  test("a question is given up when its signal fires", async () => {
    const stop = new AbortController();
    const asked = askedUntil(nats, stop.signal);
    server.signal("SIGSTOP");
    try {
      // Without the signal it would last for a minute.
      const hanging = [asked.findStream("any"), asked.message("any", 1), asked.deleteConsumer("any", "any")];
      stop.abort(new Error("it ends"));
      for (const question of hanging) expect(await errorOf(question)).toMatchObject({ message: "it ends" });
      expect(await errorOf(asked.findStream("any"))).toMatchObject({ message: "it ends" });
    } finally {
      server.signal("SIGCONT");
    }
  });
});

test.skipIf(natsServerPath === null)("five silences in a row open the circuit; no connection is none", async () => {
  const server = await startNatsServer({ config: "jetstream: false" });
  const nats = await startOn(server);
  const breaker = createBreaker(log);
  const asked = guarded(nats, breaker);
  for (const _ of range(5)) {
    expect(breaker.state()).toBe("closed");
    expect(await errorOf(asked.findStream("any"))).toBeInstanceOf(JetStreamError);
  }
  expect(breaker.state()).toBe("open");
  const resting = await errorOf(asked.deleteConsumer("any", "any"));
  expect(resting).toBeInstanceOf(NatsUnavailable);
  expect((resting as Error).message).toMatch(/asked again later.*it is off/);
  expect(breaker.cause()).toContain("it is off");
  await server.kill();
  await until("it has noticed", () => nats.state() === "disconnected");
  const fresh = createBreaker(log);
  for (const _ of range(10))
    expect(await errorOf(guarded(nats, fresh).findStream("any"))).toBeInstanceOf(NatsUnavailable);
  expect(fresh.state()).toBe("closed");
  expect(fresh.cause()).toBeNull();
  await nats.stop();
  await server.stop();
});

test("an answer, also one that refuses, ends the row of silences", async () => {
  const breaker = createBreaker(log);
  const silent = () => Promise.reject(new NatsUnavailable("nobody answers"));
  const refusing = () => Promise.reject(new JetStreamError(notPermitted, "the account may not"));
  for (const _ of range(4)) {
    for (const _ of range(4)) await errorOf(breaker.run("a", silent));
    expect(await errorOf(breaker.run("a", refusing))).toMatchObject({ code: notPermitted });
    expect(breaker.state()).toBe("closed");
  }
  for (const _ of range(5)) await errorOf(breaker.run("a", silent));
  expect([breaker.state(), breaker.cause()]).toEqual(["open", "a: nobody answers"]);
});

test.skipIf(natsServerPath === null)("mirrors ask through the same circuit as publishing", async () => {
  const server = await startNatsServer({ config: "jetstream: false" });
  const service = await startService({ NATS_URL: server.url });
  await putRemote(service.url, "far", { service: "svcb", stream: "far" });
  await until("the circuit opens", async () => {
    const { body } = await send<{ breaker: string; lastError: string | null }>(`${service.url}/api/bridge`);
    expect([body.breaker, body.lastError]).toEqual(
      body.breaker === "closed" ? ["closed", null] : [body.breaker, expect.stringContaining("it is off")],
    );
    return body.breaker === "open";
  });
  await service.stop();
  await server.stop();
});
