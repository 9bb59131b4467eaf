// Messages that cannot become events: tried again where that can help, then dead letters, while the others go on.
import { afterAll, describe, expect, test } from "bun:test";
import { expectProblem, readAll, send } from "../../support/client.ts";
import { post, put } from "../../support/consume.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { letters, mirrored, produce, putRemote, remote, sluiceHeaders } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

const quick = { initial: "10ms", factor: 2, max: "40ms" };

describe.skipIf(natsServerPath === null)("poison", async () => {
  if (natsServerPath === null) return;
  const server = await startNatsServer({ config: "max_payload: 4MB\nmax_pending: 16MB" });
  const service = await startService({ NATS_URL: server.url, SERVICE_NAME: "svcb" });
  const client = await server.connect();
  afterAll(async () => {
    await service.stop();
    await server.stop();
  });
  const { url } = service;

  test("what can never be an event becomes a dead letter at once, and its neighbours events", async () => {
    const producer = await produce(client, "svca_bad", ["svca.bad.*"]);
    await putRemote(url, "bad", { service: "svca", stream: "bad" });
    const event = { specversion: "1.0", id: "1", type: "T", source: "/s" };
    const structured = { "Content-Type": "application/cloudevents+json" };
    await producer.publish("svca.bad.A", { n: 1 });
    await producer.publish("svca.bad.A", "{not json", structured);
    await producer.publish("svca.bad.A", { ...event, id: undefined }, structured);
    await producer.publish("svca.bad.A", { ...event, Wrong: 1 }, structured);
    await producer.publish("svca.bad.A", event, { "Content-Type": "application/cloudevents-batch+json" });
    await producer.publish("svca.bad.A", "[1", { "Content-Type": "application/json" });
    await producer.publish("svca.bad.A", '{"a":"\\u0000"}');
    await producer.publish("svca.bad.A", new Uint8Array([34, 255, 34]), structured);
    await producer.publish("svca.bad.A", { n: 2 }, { "ce-type": "T", "ce-id": "7", "ce-source": "/s" });
    await producer.publish("svca.bad.A", { text: "x".repeat(2_000_000) });
    await producer.publish("svca.bad.A", { n: 3 });
    await mirrored(url, "bad", 11);
    expect((await readAll(url, "bad")).map(({ data }) => data)).toEqual([{ n: 1 }, { n: 3 }]);
    const found = await letters(url, "bad");
    expect(found.map(({ sequence, reason, attempts }) => ({ sequence, reason, attempts }))).toEqual(
      [
        ["2", "malformed-body"],
        ["3", "invalid-event"],
        ["4", "invalid-event"],
        ["5", "unsupported-media-type"],
        ["6", "malformed-body"],
        ["7", "invalid-event"],
        ["8", "malformed-body"],
        ["9", "invalid-event"],
        ["10", "body-too-large"],
      ].map(([sequence, reason]) => ({ sequence: sequence as string, reason: reason as string, attempts: 1 })),
    );
    expect(found[0]).toMatchObject({ subject: "svca.bad.A", payload: "{not json", headers: structured });
    expect(Buffer.from(found[6]?.payloadBase64 ?? "", "base64")).toEqual(Buffer.from([34, 255, 34]));
    expect(found[8]?.payload?.length).toBe(2_000_011);

    const one = await send(`${url}/api/remote-streams/bad/dead-letters/${found[0]?.id}`);
    expect(one.body as unknown).toEqual(found[0]);
    const base = `${url}/api/remote-streams/bad/dead-letters`;
    expect((await post<unknown>(base, { ids: [found[0]?.id] }, "DELETE")).body).toEqual({ discarded: 1 });
    expectProblem(await send(`${base}/${found[0]?.id}`), 404, "dead-letter-not-found");
    expectProblem(await post(base, {}, "DELETE"), 422, "invalid-request");
    // What is tried again without a change is given up again.
    expect((await post<unknown>(`${base}/replay`, { all: true })).body).toEqual({ replayed: 8 });
    await until("all are given up again", async () => (await letters(url, "bad")).length === 8);
    expect((await post<unknown>(base, { all: true }, "DELETE")).body).toEqual({ discarded: 8 });
    expect(await remote(url, "bad")).toMatchObject({ deadLetters: { count: "0" }, retrying: { count: "0" } });
  });

  test("a message that is none, and says that it stood far behind, hides nothing of what comes after it", async () => {
    const producer = await produce(client, "svca_claims", ["svca.claims.*"]);
    await putRemote(url, "claims", { service: "svca", stream: "claims" });
    await producer.publish(
      "svca.claims.Counted",
      { n: -1 },
      sluiceHeaders(999_999, { "ce-stream": "claims", "ce-time": "once" }),
    );
    await producer.publish("svca.claims.Counted", { n: 0 }, sluiceHeaders(0, { "ce-stream": "claims" }));
    await mirrored(url, "claims", 2);
    expect((await readAll(url, "claims")).map(({ data }) => data)).toEqual([{ n: 0 }]);
    expect((await letters(url, "claims")).map(({ reason }) => reason)).toEqual(["invalid-event"]);
  });

  test("of the types of the service's own, transitions of sagas alone are taken, from the stream of a service alone", async () => {
    const producer = await produce(client, "svca_saga-orders", ["svca.saga-orders.*"]);
    await putRemote(url, "sagas", { service: "svca", stream: "saga-orders" });
    await putRemote(url, "forged", { jetstream: "svca_saga-orders" });
    const subject = "svca.saga-orders.x";
    const completed = { "ce-type": "sluice.saga-completed" };
    await producer.publish(subject, { n: 0 }, sluiceHeaders(0, completed));
    await producer.publish(subject, { n: 1 }, sluiceHeaders(1, { "ce-type": "sluice.stream-deleted" }));
    await producer.publish(subject, { n: 2 }, sluiceHeaders(2, { "ce-type": "sluice.streams-trimmed" }));
    await producer.publish(subject, { n: 3 }, sluiceHeaders(3, { ...completed, "ce-logid": "of a stranger" }));
    await producer.publish(subject, { n: 4 }, sluiceHeaders(4));
    await mirrored(url, "sagas", 5);
    await mirrored(url, "forged", 5);
    expect((await readAll(url, "sagas")).map(({ type }) => type)).toEqual(["sluice.saga-completed", "Counted"]);
    expect((await readAll(url, "forged")).map(({ type }) => type)).toEqual(["Counted"]);
    for (const [name, refused] of [
      ["sagas", ["2", "3", "4"]],
      ["forged", ["1", "2", "3", "4"]],
    ] as const) {
      const found = await letters(url, name);
      expect(found.map(({ sequence }) => sequence)).toEqual([...refused]);
      expect(new Set(found.map(({ reason }) => reason))).toEqual(new Set(["invalid-event"]));
    }
  });

  test("what does not match its schema is tried again, given up, and an event once the schema is mended", async () => {
    await put(`${url}/api/schemas/Counted/versions/1`, { schema: { type: "object", required: ["n"] } });
    await put(`${url}/api/streams/strict`, { validation: "enforce" });
    const producer = await produce(client, "svca_strict", ["svca.strict.*"]);
    await putRemote(url, "strict", { service: "svca", stream: "strict", maxDeliveries: 3, backoff: quick });
    for (let offset = 0; offset < 60; offset++)
      await producer.publish(
        "svca.strict.Counted",
        offset % 20 === 7 ? { m: 1 } : { n: offset },
        sluiceHeaders(offset),
      );
    await mirrored(url, "strict", 60);
    const counted = Array.from({ length: 60 }, (_, n) => n).filter((n) => n % 20 !== 7);
    expect((await readAll(url, "strict")).map(({ data }) => (data as { n: number }).n)).toEqual(counted);
    await until("they are given up", async () => (await letters(url, "strict")).length === 3);
    expect((await letters(url, "strict")).map(({ reason, attempts }) => ({ reason, attempts }))).toEqual(
      Array.from({ length: 3 }, () => ({ reason: "schema-mismatch", attempts: 3 })),
    );
    await put(`${url}/api/schemas/Counted`, { compatibility: "none" });
    await put(`${url}/api/schemas/Counted/versions/2`, { schema: { type: "object" } });
    await producer.publish("svca.strict.Counted", { m: 2 }, sluiceHeaders(60, { "ce-schemaversion": "2" }));
    await put(`${url}/api/streams/strict`, { validation: "off" });
    const base = `${url}/api/remote-streams/strict/dead-letters`;
    expect((await post<unknown>(`${base}/replay`, { all: true })).body).toEqual({ replayed: 3 });
    await until("they are events", async () => (await readAll(url, "strict")).length === 61);
    expect(await letters(url, "strict")).toEqual([]);
    expect((await readAll(url, "strict")).filter(({ data }) => "m" in (data as object))).toHaveLength(4);
  });

  test("what was refused last, when JetStream was wiped and refilled, is not refused a second time", async () => {
    await put(`${url}/api/schemas/Tallied/versions/1`, { schema: { type: "object", required: ["n"] } });
    await put(`${url}/api/streams/tallies`, { validation: "enforce" });
    await putRemote(url, "tallies", { service: "svca", stream: "tallies", maxDeliveries: 2, backoff: quick });
    const event = { "ce-stream": "tallies", "ce-type": "Tallied" };
    const fill = async (events: object[]) => {
      const producer = await produce(client, "svca_tallies", ["svca.tallies.*"]);
      for (const [offset, data] of events.entries())
        await producer.publish("svca.tallies.Tallied", data, sluiceHeaders(offset, event));
    };
    await fill([{ n: 0 }, { m: 1 }]);
    await until("it is given up", async () => (await letters(url, "tallies")).length === 1);
    await (await client.jetstreamManager()).streams.delete("svca_tallies");
    await fill([{ n: 0 }, { m: 1 }, { n: 2 }]);
    await until("the next is there", async () => (await readAll(url, "tallies")).length === 2);
    await until("nothing is tried again", async () => (await remote(url, "tallies")).retrying.count === "0");
    expect((await letters(url, "tallies")).map(({ payload }) => payload)).toEqual(['{"m":1}']);
  });

  test("an id that is taken by another content is a dead letter, and not one event is lost beside it", async () => {
    const producer = await produce(client, "svca_ids", ["svca.ids.*"]);
    const named = (id: string) => ({ "ce-specversion": "1.0", "ce-id": id, "ce-type": "T", "ce-source": "/s" });
    for (let n = 0; n < 10; n++) await producer.publish("svca.ids.T", { n }, named(n === 7 ? "i-3" : `i-${n}`));
    await producer.publish("svca.ids.T", { n: 3 }, named("i-3"));
    await putRemote(url, "ids", { service: "svca", stream: "ids" });
    await mirrored(url, "ids", 11);
    expect((await readAll(url, "ids")).map(({ data }) => (data as { n: number }).n)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 8, 9,
    ]);
    expect((await letters(url, "ids")).map(({ sequence, reason }) => ({ sequence, reason }))).toEqual([
      { sequence: "8", reason: "event-id-conflict" },
    ]);
  });
});
