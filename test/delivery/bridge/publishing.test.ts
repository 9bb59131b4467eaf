// Publishing: what is appended to a cross-service stream comes to JetStream, in order, each event once.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CloudEvent, HTTP } from "cloudevents";
import { countOf, heldBy, offsetsOf, range } from "../../support/bridge.ts";
import { append, send } from "../../support/client.ts";
import { type NatsServer, natsServerPath, startNatsServer } from "../../support/nats-server.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { type Service, startService } from "../../support/service.ts";
import { until } from "../../support/until.ts";

const shared = (url: string, stream: string, more: object = {}) =>
  send<{ nats: unknown }>(`${url}/api/streams/${stream}`, {
    method: "PUT",
    body: JSON.stringify({ scope: "cross-service", ...more }),
  });
const events = (count: number, from = 0) => range(count, from).map((n) => ({ type: "Counted", data: { n } }));

describe.skipIf(natsServerPath === null)("with a server", () => {
  let server: NatsServer;
  let service: Service;
  beforeAll(async () => {
    server = await startNatsServer();
    service = await startService({
      NATS_URL: server.url,
      SERVICE_NAME: "svca",
      LEASE_DURATION: "1s",
      LOG_LEVEL: process.env.TEST_LOG ?? "silent",
    });
  });
  afterAll(async () => {
    await service.stop();
    await server.stop();
  });

  test("an event is a message whose headers are its attributes, under the names of service, stream and type", async () => {
    const { body } = await shared(service.url, "users");
    expect(body.nats).toMatchObject({ stream: "svca_users", subject: "svca.users.{type}", mode: null });
    await append(service.url, "users", {
      id: "u 1",
      type: "User Created",
      time: "2026-11-21T10:00:00.000Z",
      subject: 'Zoë "Z" 100%',
      correlationid: "c-1",
      partitionkey: "k 1",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      flag: true,
      data: { name: "Zoë" },
    });
    const client = await server.connect();
    await until("it is there", async () => (await countOf(client, "svca_users")) === 1);
    const [held] = await heldBy(client, "svca_users");
    expect(held).toMatchObject({
      subject: "svca.users.User_Created",
      text: '{"name":"Zoë"}',
      headers: {
        "ce-specversion": "1.0",
        "ce-id": "u%201",
        "ce-type": "User%20Created",
        "ce-source": "/svca/streams/users",
        "ce-time": "2026-11-21T10:00:00.000Z",
        "ce-subject": "Zo%C3%AB%20%22Z%22%20100%25",
        "ce-correlationid": "c-1",
        "ce-partitionkey": "k%201",
        "ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ce-flag": "true",
        "ce-schemaversion": "1",
        "ce-stream": "users",
        "ce-offset": "0",
        "ce-datacontenttype": "application/json",
        "Content-Type": "application/json",
        "Nats-Msg-Id": "u%201",
        "Nats-Expected-Stream": "svca_users",
        "Nats-Expected-Last-Sequence": "0",
      },
    });
  });

  test("events come in their order, each once, also many and of many streams", async () => {
    const streams = range(5).map((n) => `many-${n}`);
    for (const stream of streams) await shared(service.url, stream);
    await Promise.all(
      streams.map(async (stream) => {
        for (let n = 0; n < 3_000; n += 500) await append(service.url, stream, events(500, n));
      }),
    );
    const client = await server.connect();
    for (const stream of streams) {
      await until(`all of ${stream} is there`, async () => (await countOf(client, `svca_${stream}`)) === 3_000);
      expect(await offsetsOf(client, `svca_${stream}`)).toEqual(range(3_000));
    }
  });

  test("what was appended before the stream became cross-service is published too", async () => {
    await append(service.url, "late", events(1_000));
    await append(service.url, "late", events(500, 1_000));
    await shared(service.url, "late");
    const client = await server.connect();
    await until("all is there", async () => (await countOf(client, "svca_late")) === 1_500);
    expect(await offsetsOf(client, "svca_late")).toEqual(range(1_500));
  });

  test("an internal stream is not published", async () => {
    await shared(service.url, "witness");
    await append(service.url, "private", events(1));
    await append(service.url, "witness", events(1));
    const client = await server.connect();
    await until("the witness is there", async () => (await countOf(client, "svca_witness")) === 1);
    const names = await (await client.jetstreamManager()).streams.names().next();
    expect(names).not.toContain("svca_private");
  });

  test("binary data travels as it is", async () => {
    await shared(service.url, "pictures");
    await append(service.url, "pictures", {
      type: "Taken",
      datacontenttype: "image/x; q=1",
      data_base64: Buffer.from([0, 255, 1]).toString("base64"),
    });
    const client = await server.connect();
    await until("it is there", async () => (await countOf(client, "svca_pictures")) === 1);
    const manager = await client.jetstreamManager();
    const held = await manager.streams.getMessage("svca_pictures", { seq: 1 });
    expect([...held.data]).toEqual([0, 255, 1]);
    expect(held.header.get("Content-Type")).toBe("image/x; q=1");
  });

  test("text travels as text, and all that is JSON as JSON", async () => {
    await shared(service.url, "texts");
    const given: [datacontenttype: string | undefined, data: unknown, payload: string][] = [
      ["text/plain", 'Zoë said: "hello"', 'Zoë said: "hello"'],
      ["text/plain; charset=utf-8", "", ""],
      ["application/xml", "<a/>\n", "<a/>\n"],
      ["text/plain", { n: 1 }, '{"n":1}'],
      ["text/plain", 7, "7"],
      ["application/json", "hello", '"hello"'],
      ["application/problem+json; a=b", "hello", '"hello"'],
      ["text/json", "hello", '"hello"'],
      [undefined, "hello", '"hello"'],
    ];
    const appended = given.map(([datacontenttype, data]) => ({ type: "Said", datacontenttype, data }));
    expect((await append(service.url, "texts", appended)).status).toBe(201);
    const client = await server.connect();
    await until("all are there", async () => (await countOf(client, "svca_texts")) === given.length);
    const held = await heldBy(client, "svca_texts");
    expect(held.map(({ text }) => text)).toEqual(given.map(([, , payload]) => payload));
    expect(held.map(({ headers }) => headers["Content-Type"])).toEqual(
      given.map(([type]) => type ?? "application/json"),
    );
    await shared(service.url, "said", { nats: { mode: "structured" } });
    await append(service.url, "said", { type: "Said", datacontenttype: "text/plain", data: "hello" });
    await until("it is there", async () => (await countOf(client, "svca_said")) === 1);
    const [whole] = await heldBy(client, "svca_said");
    expect(JSON.parse(whole?.text as string)).toMatchObject({ datacontenttype: "text/plain", data: "hello" });
  });

  for (const mode of ["binary", "structured"])
    test(`a stock client and the package cloudevents read the ${mode} mode`, async () => {
      const client = await server.connect();
      const subscription = client.subscribe(`svca.read-${mode}.*`, { max: 1 });
      await shared(service.url, `read-${mode}`, { nats: { mode } });
      await append(service.url, `read-${mode}`, { id: "e-1", type: "Read", subject: "s", data: { n: 1 } });
      for await (const message of subscription) {
        const headers: Record<string, string> = {};
        for (const [name, values] of message.headers ?? []) headers[name] = values[0] ?? "";
        const event = HTTP.toEvent<{ n: number }>({ headers, body: message.string() }) as CloudEvent<{ n: number }>;
        expect(event).toBeInstanceOf(CloudEvent);
        expect(event.toJSON()).toMatchObject({
          specversion: "1.0",
          id: "e-1",
          type: "Read",
          source: `/svca/streams/read-${mode}`,
          subject: "s",
          datacontenttype: "application/json",
          stream: `read-${mode}`,
          offset: mode === "binary" ? expect.anything() : "0",
          data: { n: 1 },
        });
        expect(event.validate()).toBe(true);
      }
    });

  test("two events of one id and of two sources are two messages", async () => {
    await shared(service.url, "twins");
    await append(service.url, "twins", { id: "same", source: "/a", type: "A" });
    await append(service.url, "twins", { id: "same", source: "/b", type: "A" });
    await append(service.url, "twins", { id: "other", type: "A" });
    const client = await server.connect();
    await until("all three are there", async () => (await countOf(client, "svca_twins")) === 3);
    const held = await heldBy(client, "svca_twins");
    expect(held.map(({ headers }) => [headers["ce-id"], headers["ce-offset"]])).toEqual([
      ["same", "0"],
      ["same", "1"],
      ["other", "2"],
    ]);
  });
});

test.skipIf(natsServerPath === null)("what is appended without NATS_URL is published once there is one", async () => {
  const databaseUrl = await createTestDatabase();
  const before = await startService({ DATABASE_URL: databaseUrl });
  await shared(before.url, "early");
  await append(before.url, "early", events(10));
  await before.stop();
  const server = await startNatsServer();
  const after = await startService({ DATABASE_URL: databaseUrl, NATS_URL: server.url });
  const client = await server.connect();
  await until("all is there", async () => (await countOf(client, "sluice_early")) === 10);
  expect(await offsetsOf(client, "sluice_early")).toEqual(range(10));
  await after.stop();
  await server.stop();
});
