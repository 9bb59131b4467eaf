// What is told of a mirror that cannot go on, or goes on again: to people who look for the reason.
import { afterAll, describe, expect, test } from "bun:test";
import type { NatsConnection } from "nats";
import { consumersOf } from "../../support/bridge.ts";
import { readAll, send } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { mirrored, produce, putRemote, remote } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

describe.skipIf(natsServerPath === null)("what is told of a mirror", async () => {
  if (natsServerPath === null) return;
  const server = await startNatsServer();
  const service = await startService({ NATS_URL: server.url, SERVICE_NAME: "svcb" });
  const client: NatsConnection = await server.connect();
  const manager = await client.jetstreamManager();
  afterAll(async () => {
    await service.stop();
    await server.stop();
  });
  const { url } = service;
  const told = async (name: string, message: string) =>
    until(`it says ${message}`, async () => (await remote(url, name)).lastError?.message.includes(message) === true);

  for (const retention of ["interest", "workqueue"] as const)
    test(`a stream of JetStream that forgets what was acknowledged (${retention}) is not mirrored, and keeps its messages`, async () => {
      const name = `by-${retention}`;
      await manager.streams.add({ name, subjects: [`${name}.*`], retention: retention as never });
      if (retention === "interest") await manager.consumers.add(name, { durable_name: "somebody" });
      await putRemote(url, name, { jetstream: name });
      await told(name, `the JetStream stream ${name} has the retention ${retention}`);
      expect((await remote(url, name)).state).toBe("failing");
      await client.jetstream().publish(`${name}.a`, "{}");
      expect((await manager.streams.info(name)).state.messages).toBe(1);
      expect(await consumersOf(manager, name)).toEqual(retention === "interest" ? ["somebody"] : []);
    });

  test("a mirror that waits says what for", async () => {
    await putRemote(url, "later", { service: "svca", stream: "later" });
    await told("later", "JetStream has no stream svca_later");
    expect((await remote(url, "later")).state).toBe("waiting");
    await putRemote(url, "nobody", { subject: "nobody.has.this" });
    await told("nobody", "no stream of JetStream has the subject nobody.has.this");
    expect((await remote(url, "nobody")).state).toBe("waiting");
    await manager.streams.add({ name: "svca_later", subjects: ["svca.later.*"] });
    await until("it mirrors", async () => (await remote(url, "later")).state === "mirroring");
  });

  test("a subject that several streams of JetStream have is no one source", async () => {
    await manager.streams.add({ name: "one-half", subjects: ["halves.one"] });
    await manager.streams.add({ name: "other-half", subjects: ["halves.other"] });
    await putRemote(url, "halves", { subject: "halves.*" });
    await told("halves", "several streams of JetStream have the subject halves.*: one-half, other-half");
    expect((await remote(url, "halves")).state).toBe("failing");
  });

  test("what was mirrored and is gone is told, and no more once another source is mirrored", async () => {
    const producer = await produce(client, "gone", ["gone.*"]);
    await producer.publish("gone.a", { n: 1 });
    await putRemote(url, "going", { jetstream: "gone" });
    await mirrored(url, "going", 1);
    await manager.streams.delete("gone");
    await told("going", "JetStream has no stream gone");
    const other = await produce(client, "there", ["there.*"]);
    await putRemote(url, "going", { jetstream: "there" });
    await other.publish("there.a", { n: 2 });
    await until("the other is mirrored", async () => (await readAll(url, "going")).length === 2);
    expect((await remote(url, "going")).lastError).toBeNull();
  });

  test("messages that are given up when they come are counted, as those that were tried again are", async () => {
    const producer = await produce(client, "poison", ["poison.*"]);
    await put(`${url}/api/streams/poisoned`, { validation: "enforce" });
    await putRemote(url, "poisoned", { jetstream: "poison", backoff: { initial: "0s" }, maxDeliveries: 2 });
    const given = async () => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(/^sluice_remote_given_up_total (\d+)$/m.exec(text)?.[1]);
    };
    const before = await given();
    await producer.publish("poison.Odd", "{", { "Content-Type": "application/json" });
    await until("it is counted", async () => (await given()) === before + 1);
    await producer.publish("poison.Unregistered", { n: 1 });
    await until("it is counted", async () => (await given()) === before + 2);
    expect(
      (await send<{ deadLetters: unknown[] }>(`${url}/api/remote-streams/poisoned/dead-letters`)).body.deadLetters,
    ).toHaveLength(2);
  });
});
