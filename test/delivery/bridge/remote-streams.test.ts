// Mirrors of streams that are in JetStream: what becomes of each kind of message, and of streams that come later or go.
import { afterAll, describe, expect, test } from "bun:test";
import { consumersOf } from "../../support/bridge.ts";
import { append, type Envelope, expectProblem, readAll, send } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { letters, logId, mirrored, produce, putRemote, remote, sluiceHeaders } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { openEventStream } from "../../support/sse.ts";
import { until } from "../../support/until.ts";

describe.skipIf(natsServerPath === null)("mirrors", async () => {
  if (natsServerPath === null) return;
  const server = await startNatsServer();
  const service = await startService({ NATS_URL: server.url, SERVICE_NAME: "svcb" });
  const client = await server.connect();
  const manager = await client.jetstreamManager();
  afterAll(async () => {
    await service.stop();
    await server.stop();
  });
  const { url } = service;

  test("events of a service of this kind are appended once, in order, with all their attributes", async () => {
    const producer = await produce(client, "svca_numbers", ["svca.numbers.*"]);
    for (let offset = 0; offset < 3; offset++)
      await producer.publish("svca.numbers.Counted", { n: offset }, sluiceHeaders(offset));
    await producer.publish(
      "svca.numbers.Counted",
      { n: 3 },
      sluiceHeaders(3, {
        "ce-subject": "caf%C3%A9%20%22x%22",
        "ce-correlationid": "c-1",
        "ce-causationid": "c-0",
        "ce-partitionkey": "k-1",
        "ce-schemaversion": "3",
        "ce-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "ce-dataschema": "https://example.org/s",
        "ce-tenant": "acme",
      }),
    );
    expect((await putRemote(url, "numbers", { service: "svca", stream: "numbers" })).status).toBe(201);
    await mirrored(url, "numbers", 4);
    const events = await readAll(url, "numbers");
    expect(events.map(({ data }) => data)).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 }]);
    expect(events[3]).toMatchObject({
      id: "e-3",
      type: "Counted",
      source: "/svca/streams/numbers",
      time: "2026-01-01T00:00:00.000Z",
      datacontenttype: "application/json",
      subject: 'café "x"',
      correlationid: "c-1",
      causationid: "c-0",
      partitionkey: "k-1",
      schemaversion: "3",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      dataschema: "https://example.org/s",
      tenant: "acme",
      stream: "numbers",
      offset: "3",
      originstream: "numbers",
      originoffset: "3",
      originlogid: logId,
    });
    expect(events[3]?.recordedtime).not.toBe("2026-01-01T00:00:00.000Z");
    for (let offset = 4; offset < 300; offset++)
      await producer.publish("svca.numbers.Counted", { n: offset }, sluiceHeaders(offset));
    await mirrored(url, "numbers", 300);
    expect((await readAll(url, "numbers")).map(({ data }) => (data as { n: number }).n)).toEqual(
      Array.from({ length: 300 }, (_, n) => n),
    );
  });

  test("plain JSON, CloudEvents of both modes and other bytes become events", async () => {
    const producer = await produce(client, "LEGACY", ["legacy.>"]);
    await putRemote(url, "legacy", { subject: "legacy.orders.>" });
    await producer.publish("legacy.other", { not: "meant" });
    await producer.publish("legacy.orders.Placed", '{"amount":\n 1}');
    await producer.publish("legacy.orders.Placed", { amount: 2 }, { "Nats-Msg-Id": "given" });
    await producer.publish(
      "legacy.orders.x",
      { specversion: "1.0", id: "s-1", type: "Structured", source: "/foreign", shade: 7, data: { a: 1 } },
      { "Content-Type": "application/cloudevents+json; charset=UTF-8" },
    );
    await producer.publish(
      "legacy.orders.x",
      { specversion: "1.0", id: "s-2", type: "Unsaid", source: "/foreign", data: null, subject: null },
      {},
    );
    await producer.publish("legacy.orders.x", "<a/>", {
      "ce-specversion": "1.0",
      "ce-id": "b-1",
      "ce-type": "Binary",
      "ce-source": "/foreign",
      "content-type": "text/xml",
    });
    await producer.publish("legacy.orders.Scanned", new Uint8Array([0, 255, 1]), { "Content-Type": "image/png" });
    await producer.publish("legacy.orders.Empty", "");
    await mirrored(url, "legacy", 8);
    const events = await readAll(url, "legacy");
    expect(events.map(({ type, source, data, data_base64 }) => ({ type, source, data: data ?? data_base64 }))).toEqual([
      { type: "Placed", source: "nats:legacy.orders.Placed", data: { amount: 1 } },
      { type: "Placed", source: "nats:legacy.orders.Placed", data: { amount: 2 } },
      { type: "Structured", source: "/foreign", data: { a: 1 } },
      { type: "Unsaid", source: "/foreign", data: undefined },
      { type: "Binary", source: "/foreign", data: "<a/>" },
      { type: "Scanned", source: "nats:legacy.orders.Scanned", data: Buffer.from([0, 255, 1]).toString("base64") },
      { type: "Empty", source: "nats:legacy.orders.Empty", data: undefined },
    ]);
    expect(events[0]?.id).toStartWith("LEGACY:2:");
    expect(events[1]?.id).toBe("given");
    expect(events[2]).toMatchObject({ shade: 7 });
    expect(events[5]?.datacontenttype).toBe("image/png");
  });

  test("a mirror that is put with another source begins with the first message of that, and has nothing twice", async () => {
    const producer = await produce(client, "svca_mixed", ["svca.mixed.*"]);
    await producer.publish("svca.mixed.A", { n: 0 }, sluiceHeaders(0, { "ce-stream": "mixed", "ce-type": "A" }));
    await producer.publish("svca.mixed.B", { n: 1 }, sluiceHeaders(1, { "ce-stream": "mixed", "ce-type": "B" }));
    await putRemote(url, "mixed", { subject: "svca.mixed.B" });
    await mirrored(url, "mixed", 2);
    expect((await readAll(url, "mixed")).map(({ data }) => data)).toEqual([{ n: 1 }]);
    expect((await putRemote(url, "mixed", { service: "svca", stream: "mixed" })).status).toBe(200);
    await until("the other one is there too", async () => (await readAll(url, "mixed")).length === 2);
    await mirrored(url, "mixed", 2);
    expect((await readAll(url, "mixed")).map(({ data }) => data)).toEqual([{ n: 1 }, { n: 0 }]);
  });

  test("a remote stream that does not exist yet is waited for", async () => {
    await putRemote(url, "later", { service: "svca", stream: "later" });
    await until("it waits", async () => (await remote(url, "later")).state === "waiting");
    expect((await send(`${url}/api/streams/later`)).status).toBe(200);
    const producer = await produce(client, "svca_later", ["svca.later.*"]);
    await producer.publish("svca.later.Begun", { n: 1 });
    await mirrored(url, "later", 1);
    await until("it is told", async () => (await remote(url, "later")).state === "mirroring");
    expect(await readAll(url, "later")).toHaveLength(1);
  });

  test("a mirror is a stream like any other: it is followed, replayed and subscribed to", async () => {
    const producer = await produce(client, "svca_any", ["svca.any.*"]);
    await putRemote(url, "any", { service: "svca", stream: "any" });
    await send(`${url}/api/subscriptions/any-work`, {
      method: "PUT",
      body: JSON.stringify({ stream: "any", mode: "exclusive", from: "beginning" }),
    });
    const live = await openEventStream(`${url}/api/streams/any/events?from=latest`);
    await producer.publish("svca.any.Seen", { n: 1 });
    await until("the follower is told", () => live.events().some(({ type }) => type === "Seen"));
    live.close();
    expect((await readAll(url, "any"))[0]).toMatchObject({ type: "Seen", data: { n: 1 } });
    const claimed = await send<{ deliveries: { event: { type: string } }[] }>(
      `${url}/api/subscriptions/any-work/claims`,
      { method: "POST", body: JSON.stringify({ consumer: "c1", max: 10, wait: "5s" }) },
    );
    expect(claimed.body.deliveries.map(({ event }) => event.type)).toEqual(["Seen"]);
  });

  test("what one service appends is in the other, whichever mode it is published in", async () => {
    const origin = await startService({ NATS_URL: server.url, SERVICE_NAME: "svcc" });
    for (const mode of ["binary", "structured"]) {
      await put(`${origin.url}/api/streams/${mode}`, { scope: "cross-service", nats: { mode } });
      await putRemote(url, mode, { service: "svcc", stream: mode });
      const given = [
        {
          type: "Added",
          subject: "café",
          correlationid: "c",
          partitionkey: "k",
          tenant: "acme",
          data: { n: 1.5, t: 'a "b" %' },
        },
        { type: "Scanned", id: "mine", datacontenttype: "image/png", data_base64: "AP8B" },
        { type: "Empty" },
      ];
      await append(origin.url, mode, given);
      await mirrored(url, mode, 3);
      const own = ["position", "recordedtime"];
      const bare = (event: Envelope) =>
        Object.fromEntries(Object.entries(event).filter(([name]) => !own.includes(name) && !name.startsWith("origin")));
      const [there, here] = [await readAll(origin.url, mode), await readAll(url, mode)];
      expect(here.map(bare)).toEqual(there.map(bare));
      expect(here.map(({ originstream, originoffset }) => [originstream, originoffset])).toEqual(
        ["0", "1", "2"].map((offset) => [mode, offset]),
      );
    }
    await origin.stop();
  });

  test("mirrors whose names come to the same in JetStream have a consumer each, and tell its name", async () => {
    const producer = await produce(client, "svca_shared", ["svca.shared.*"]);
    for (const name of ["like.this", "like_this"]) await putRemote(url, name, { service: "svca", stream: "shared" });
    const names = await Promise.all(
      ["like.this", "like_this"].map(async (name) => {
        await until("it mirrors", async () => (await remote(url, name)).state === "mirroring");
        return (await remote(url, name)).consumer;
      }),
    );
    expect((await consumersOf(manager, "svca_shared")).toSorted()).toEqual(names.toSorted());
    await producer.publish("svca.shared.Seen", { n: 1 });
    for (const name of ["like.this", "like_this"]) await mirrored(url, name, 1);
  });

  test("what is removed is mirrored no more, its consumer is gone, and its events stay", async () => {
    const producer = await produce(client, "svca_gone", ["svca.gone.*"]);
    await putRemote(url, "gone", { service: "svca", stream: "gone" });
    await producer.publish("svca.gone.One", { n: 1 });
    await mirrored(url, "gone", 1);
    expect((await manager.consumers.info("svca_gone", "svcb_gone")).name).toBe("svcb_gone");
    expect((await send(`${url}/api/remote-streams/gone`, { method: "DELETE" })).status).toBe(204);
    await producer.publish("svca.gone.Two", { n: 2 });
    expectProblem(await send(`${url}/api/remote-streams/gone`), 404, "remote-stream-not-found");
    expectProblem(await send(`${url}/api/remote-streams/gone`, { method: "DELETE" }), 404, "remote-stream-not-found");
    expect(await consumersOf(manager, "svca_gone")).toEqual([]);
    expect(await readAll(url, "gone")).toHaveLength(1);
    // Put again, it begins anew, and what is there is known by its id.
    await putRemote(url, "gone", { service: "svca", stream: "gone" });
    await mirrored(url, "gone", 2);
    expect((await readAll(url, "gone")).map(({ type }) => type)).toEqual(["One", "Two"]);
  });

  test("a consumer of a mirror that has mirrored nothing yet goes with it, whoever is asked to remove it", async () => {
    const without = await startService({ DATABASE_URL: service.databaseUrl, SERVICE_NAME: "svcb" });
    await produce(client, "svca_hollow", ["svca.hollow.*"]);
    const consumers = async () => consumersOf(manager, "svca_hollow");
    for (const asked of [url, without.url]) {
      await putRemote(url, "hollow", { service: "svca", stream: "hollow" });
      await until("it has a consumer", async () => (await consumers()).length > 0);
      expect((await send(`${asked}/api/remote-streams/hollow`, { method: "DELETE" })).status).toBe(204);
      if (asked === url) expect(await consumers()).toEqual([]);
      await until("it is taken away", async () => (await consumers()).length === 0);
    }
    await without.stop();
  });

  test("a mirror that is put with another source leaves no consumer in the stream of the first, whether or not it had begun", async () => {
    const producer = await produce(client, "svca_first", ["svca.first.*"]);
    await produce(client, "svca_second", ["svca.second.*"]);
    await putRemote(url, "moving", { service: "svca", stream: "first" });
    await producer.publish("svca.first.Seen", { n: 1 });
    await mirrored(url, "moving", 1);
    const consumers = (stream: string) => consumersOf(manager, stream);
    for (const [was, is] of [
      ["first", "second"],
      ["second", "unborn"],
      ["unborn", "first"],
    ] as const) {
      const answer = await putRemote(url, "moving", { service: "svca", stream: is });
      expect(answer.body.mirrored?.jetstream).not.toBe(`svca_${was}`);
      if (was !== "unborn") await until(`${was} has none`, async () => (await consumers(`svca_${was}`)).length === 0);
      if (is !== "unborn") await until(`${is} has one`, async () => (await consumers(`svca_${is}`)).length === 1);
    }
    await mirrored(url, "moving", 1);
    expect(await readAll(url, "moving")).toHaveLength(1);
    expect((await remote(url, "moving")).mirrored).toEqual({ jetstream: "svca_first", sequence: "1" });
  });

  test("definitions that make no sense are refused, and say what is wrong", async () => {
    const bad: [unknown, string][] = [
      [{}, ""],
      [{ service: "svca" }, "/stream"],
      [{ stream: "users" }, "/service"],
      [{ service: "svca", stream: "a b" }, "/stream"],
      [{ service: "svcb", stream: "bad" }, "/stream"],
      [{ service: "svca", stream: "users", subject: "a.>" }, ""],
      [{ subject: "a b" }, "/subject"],
      [{ subject: "a..b" }, "/subject"],
      [{ subject: "a.>.b" }, "/subject"],
      [{ jetstream: "a.b" }, "/jetstream"],
      [{ service: "svca", stream: "users", maxDeliveries: 0 }, "/maxDeliveries"],
      [{ service: "svca", stream: "users", backoff: { initial: "1h", max: "1s" } }, "/backoff/max"],
      [{ service: "svca", stream: "users", retries: 3 }, "/retries"],
      [[], ""],
    ];
    for (const [body, path] of bad) {
      const problem = expectProblem(await putRemote(url, "bad", body), 422, "invalid-configuration");
      expect({ body, paths: (problem.errors as { path: string }[]).map((error) => error.path) }).toEqual({
        body,
        paths: expect.arrayContaining([path]),
      });
    }
    expectProblem(await putRemote(url, "a%20b", { subject: "a.>" }), 400, "invalid-stream-name");
    expectProblem(await send(`${url}/api/remote-streams/bad`, { method: "PUT", body: "{" }), 400, "malformed-body");
    expectProblem(await send(`${url}/api/remote-streams/bad`), 404, "remote-stream-not-found");
    expect((await send(`${url}/api/streams/bad`)).status).toBe(404);
    expect(await letters(url, "numbers")).toEqual([]);
  });
});
