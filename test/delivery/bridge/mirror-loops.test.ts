// Mirrors that lead back to where events came from: each event is in each stream once, and nothing goes round.
import { afterAll, describe, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, readAll } from "../../support/client.ts";
import { put } from "../../support/consume.ts";
import { natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { logId, mirrored, produce, putRemote, sluiceHeaders } from "../../support/remote.ts";
import { startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

describe.skipIf(natsServerPath === null)("loops", async () => {
  if (natsServerPath === null) return;
  const server = await startNatsServer();
  const svca = await startService({ NATS_URL: server.url, SERVICE_NAME: "svca" });
  const svcb = await startService({ NATS_URL: server.url, SERVICE_NAME: "svcb" });
  const client = await server.connect();
  afterAll(async () => {
    await svca.stop();
    await svcb.stop();
    await server.stop();
  });

  const share = async (url: string, name: string, nats: object = {}) =>
    expect((await put(`${url}/api/streams/${name}`, { scope: "cross-service", nats })).status).toBeLessThan(300);
  const mirror = async (url: string, name: string, source: object) =>
    expect((await putRemote(url, name, source)).status).toBe(201);
  const types = async (url: string, name: string) => (await readAll(url, name)).map(({ type }) => type).toSorted();
  const origin = ({ originlogid, originstream, originoffset }: Envelope) => [originlogid, originstream, originoffset];

  test("two services that mirror each other's stream under one name have the events of both, each once", async () => {
    for (const { url } of [svca, svcb]) await share(url, "both");
    await mirror(svca.url, "both", { service: "svcb", stream: "both" });
    await mirror(svcb.url, "both", { service: "svca", stream: "both" });
    await append(svca.url, "both", [{ type: "A1" }, { type: "A2", id: "a2" }]);
    await append(svcb.url, "both", [{ type: "B1" }, { type: "B2", id: "b2", time: "2026-01-01T00:00:00Z" }]);
    // Four messages are in each JetStream stream: its own events, and those of the other service that are shared on.
    for (const { url } of [svca, svcb]) await mirrored(url, "both", 4);
    await append(svca.url, "both", [{ type: "A3" }]);
    for (const { url } of [svca, svcb]) {
      await mirrored(url, "both", 5);
      expect(await types(url, "both")).toEqual(["A1", "A2", "A3", "B1", "B2"]);
    }
  });

  test("two services that mirror a stream of each other under another name have what the other has", async () => {
    await share(svca.url, "orders");
    await share(svcb.url, "shipments");
    await mirror(svca.url, "shipments-of-b", { service: "svcb", stream: "shipments" });
    await mirror(svcb.url, "orders-of-a", { service: "svca", stream: "orders" });
    await append(svca.url, "orders", [{ type: "Placed" }]);
    await append(svcb.url, "shipments", [{ type: "Shipped" }]);
    await mirrored(svca.url, "shipments-of-b", 1);
    await mirrored(svcb.url, "orders-of-a", 1);
    expect(await types(svca.url, "shipments-of-b")).toEqual(["Shipped"]);
    expect(await types(svcb.url, "orders-of-a")).toEqual(["Placed"]);
  });

  test("a circle of three streams in two services brings each event to each of them once, with where it was first", async () => {
    const { url } = svca;
    for (const name of ["one", "two"]) await share(url, name);
    await share(svcb.url, "three");
    await mirror(url, "two", { service: "svca", stream: "one" });
    await mirror(svcb.url, "three", { service: "svca", stream: "two" });
    await mirror(url, "one", { service: "svcb", stream: "three" });
    await append(url, "one", [{ type: "First" }]);
    await append(url, "two", [{ type: "Second" }]);
    await append(svcb.url, "three", [{ type: "Third" }]);
    for (const [base, name] of [
      [url, "one"],
      [url, "two"],
      [svcb.url, "three"],
    ] as const) {
      await mirrored(base, name, 3);
      expect(await types(base, name)).toEqual(["First", "Second", "Third"]);
    }
    const [there] = await readAll(svcb.url, "three").then((events) => events.filter(({ type }) => type === "First"));
    expect(origin(there as Envelope).slice(1)).toEqual(["one", "0"]);
  });

  test("a stream that came to be the source of its own mirror is not read back", async () => {
    const { url } = svca;
    await mirror(url, "echo", { jetstream: "svca_echo" });
    await share(url, "echo");
    await append(url, "echo", [{ type: "A" }, { type: "B" }]);
    await mirrored(url, "echo", 2);
    expect(await types(url, "echo")).toEqual(["A", "B"]);
  });

  test("a mirror of what the local stream itself publishes is refused, however it is named", async () => {
    const { url } = svca;
    await share(url, "self");
    await share(url, "self-by-name", { stream: "svcx_y", subject: "named.self.{type}" });
    for (const [name, source, path] of [
      ["self", { service: "svca", stream: "self" }, "/stream"],
      ["self", { jetstream: "svca_self" }, "/jetstream"],
      ["self", { jetstream: "svca_self", subject: "svca.self.A" }, "/jetstream"],
      ["self", { subject: "svca.self.A" }, "/subject"],
      ["self", { subject: "svca.*.*" }, "/subject"],
      ["self", { subject: "svca.>" }, "/subject"],
      ["self", { subject: ">" }, "/subject"],
      ["self", { subject: "*.self.A" }, "/subject"],
      ["self-by-name", { service: "svcx", stream: "y" }, "/stream"],
      ["self-by-name", { subject: "named.self.>" }, "/subject"],
    ] as const) {
      const problem = expectProblem(await putRemote(url, name, source), 422, "invalid-configuration");
      expect({ source, path: (problem.errors as { path: string }[])[0]?.path }).toEqual({ source, path });
    }
    for (const subject of ["svca.self", "svca.self.A.b", "svca.selfish.*", "svcb.self.>", "svca.self.A.>"]) {
      const { status } = await putRemote(url, "self", { subject });
      expect({ subject, isPut: status === 200 || status === 201 }).toEqual({ subject, isPut: true });
    }
  });

  test("a service whose database was restored, so that its log is another one, is mirrored on with what is new", async () => {
    const { url } = svcb;
    const producer = await produce(client, "svcc_restored", ["svcc.restored.*"]);
    await mirror(url, "restored", { service: "svcc", stream: "restored" });
    const another = "0b6f3f52-1b6f-4c06-9a53-6f6d0b2f7a01";
    let published = 0;
    const publish = (offset: number, log: string, id: string) => {
      const more = { "Nats-Msg-Id": `m-${published++}`, "ce-id": id, "ce-logid": log };
      return producer.publish("svcc.restored.Counted", { id }, sluiceHeaders(offset, more));
    };
    for (let offset = 0; offset < 6; offset++) await publish(offset, logId, `lost-${offset}`);
    await mirrored(url, "restored", 6);
    // The backup was of offset 3: what came after it is gone there, and those offsets are given anew.
    for (let offset = 4; offset < 8; offset++) await publish(offset, another, `new-${offset}`);
    await mirrored(url, "restored", 10);
    expect((await readAll(url, "restored")).map(({ id }) => id)).toEqual([
      ...Array.from({ length: 6 }, (_, n) => `lost-${n}`),
      ...Array.from({ length: 4 }, (_, n) => `new-${n + 4}`),
    ]);
    // JetStream is filled again from the restored log: what is new there is known by its own log and offset.
    for (let offset = 4; offset < 9; offset++) await publish(offset, another, `new-${offset}`);
    await mirrored(url, "restored", 15);
    await until("the last one is there", async () => (await readAll(url, "restored")).length === 11);
  });
});
