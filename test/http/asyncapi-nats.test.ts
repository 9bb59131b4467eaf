// The AsyncAPI document of a service with NATS: its servers, and a channel for each stream that is published there.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { messageOf } from "../../src/delivery/bridge/outbound/message.ts";
import { asyncApiDocument } from "../../src/http/asyncapi/document.ts";
import { defaultNaming } from "../../src/stream/cross-service/names.ts";
import {
  type AsyncApi,
  type DocumentedChannel,
  parseAsyncApi,
  readAsyncApi,
  validatorOf,
} from "../support/asyncapi.ts";
import { send } from "../support/client.ts";
import { put } from "../support/consume.ts";
import { storedEvent } from "../support/events.ts";
import { number, object, registerVersions } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
let url: string;
// Nothing is published here: the document says what is configured, whether NATS answers or not.
beforeAll(async () => {
  service = await startService({
    NATS_URL: "nats://127.0.0.1:9,tls://nats.example.com",
    NATS_USER: "bridge-user",
    NATS_PASSWORD: "bridge-secret",
    SERVICE_NAME: "shop",
  });
  url = service.url;
});
afterAll(() => service.stop());

const share = async (name: string, nats?: unknown) =>
  expect((await put(`${url}/api/streams/${name}`, { scope: "cross-service", nats })).status).toBe(201);

test("without cross-service streams there are the servers alone, without what opens them", async () => {
  const document = await readAsyncApi(url);
  await parseAsyncApi(document);
  expect(document.servers).toMatchObject({
    nats1: { host: "127.0.0.1:9", protocol: "nats" },
    nats2: { host: "nats.example.com:4222", protocol: "nats", description: "Over TLS" },
  });
  expect(JSON.stringify(document)).not.toMatch(/bridge-(user|secret)/);
  expect(Object.values(document.channels).filter(({ address }) => !address?.startsWith("/"))).toEqual([]);
  expect(Object.keys(document.components.messages).filter((name) => name.endsWith(".binary"))).toEqual([]);
});

test("each cross-service stream is a channel to which the service sends", async () => {
  await registerVersions(url, "Order placed", [object({ amount: number })]);
  await share("orders");
  await share("a:b", { subject: "all.{stream}", mode: "structured" });
  await put(`${url}/api/streams/private`, {});
  const document = await readAsyncApi(url);
  const parsed = await parseAsyncApi(document);
  const { "nats.orders": orders, "nats.a_b": other } = document.channels as Record<string, DocumentedChannel>;
  expect(orders).toMatchObject({
    address: "shop.orders.{type}",
    servers: [{ $ref: "#/servers/nats1" }, { $ref: "#/servers/nats2" }],
    bindings: { nats: { bindingVersion: "0.1.0" } },
    "x-jetstream": { stream: "shop_orders", subjects: ["shop.orders.*"] },
  });
  expect(Object.keys(orders?.parameters ?? {})).toEqual(["type"]);
  expect(Object.keys(orders?.messages ?? {})).toEqual(["event.binary", "Order_placed.v1.binary"]);
  expect(other).toMatchObject({ address: "all.a:b", parameters: {}, "x-jetstream": { subjects: ["all.a:b"] } });
  expect(Object.keys(other?.messages ?? {})).toEqual(["event", "Order_placed.v1"]);
  expect(Object.keys(document.channels).filter((key) => key.includes("private"))).toEqual([]);
  const operation = parsed.operations().get("send.nats.orders");
  expect({
    action: operation?.action(),
    channels: operation
      ?.channels()
      .all()
      .map((channel) => channel.id()),
  }).toEqual({
    action: "send",
    channels: ["nats.orders"],
  });
});

test("each remote stream is a channel from which the service receives", async () => {
  const mirror = async (name: string, source: object) =>
    expect((await put(`${url}/api/remote-streams/${name}`, source)).status).toBe(201);
  await mirror("users", { service: "crm", stream: "users" });
  await mirror("legacy", { subject: "legacy.orders.>" });
  await mirror("whole", { jetstream: "WHOLE" });
  const document = await readAsyncApi(url);
  const parsed = await parseAsyncApi(document);
  const channels = document.channels as Record<string, DocumentedChannel>;
  expect(channels["nats.remote.users"]).toMatchObject({
    address: "crm.users.{type}",
    servers: [{ $ref: "#/servers/nats1" }, { $ref: "#/servers/nats2" }],
    "x-jetstream": { stream: "crm_users", subjects: ["crm.users.*"] },
  });
  expect(Object.keys(channels["nats.remote.users"]?.messages ?? {})).toEqual(["event.binary", "event"]);
  expect(channels["nats.remote.legacy"]).toMatchObject({ address: "legacy.orders.>", parameters: {} });
  expect(channels["nats.remote.legacy"]).not.toHaveProperty("x-jetstream");
  expect(channels["nats.remote.whole"]).toMatchObject({
    address: null,
    "x-jetstream": { stream: "WHOLE", subjects: [] },
  });
  expect(parsed.operations().get("receive.nats.remote.users")?.action()).toBe("receive");
  expect((await send(`${url}/api/remote-streams/whole`, { method: "DELETE" })).status).toBe(204);
  expect(Object.keys((await readAsyncApi(url)).channels)).not.toContain("nats.remote.whole");
});

test("what is published is what the document says, in both modes", async () => {
  const document = await readAsyncApi(url);
  const validate = validatorOf(document);
  const schemas = { revision: () => 0, linkOf: () => `"${url}/api/schemas/Order%20placed/versions/1"` };
  const events = [
    storedEvent({ position: 1, type: "Order placed", data: '{"amount":1}', correlationId: "c ü", partitionKey: "k" }),
    storedEvent({
      position: 2,
      type: "Other",
      attributes: '{"source":"/x","subject":"s","tenant":"acme","urgent":true}',
    }),
    storedEvent({
      position: 3,
      type: "Printed",
      data: null,
      binary: new Uint8Array([1]),
      attributes: '{"source":"/x","datacontenttype":"image/png"}',
    }),
  ];
  const names = ["Order_placed.v1", "event", "event"];
  for (const [i, event] of events.entries()) {
    const { headers, data } = messageOf(event, "binary", crypto.randomUUID(), schemas);
    const pointer = `#/components/messages/${names[i]}.binary`;
    expect(validate(`${pointer}/headers`, Object.fromEntries(headers))).toEqual([]);
    if (event.data !== null)
      expect(validate(`${pointer}/payload`, JSON.parse(new TextDecoder().decode(data)))).toEqual([]);
    const structured = messageOf(event, "structured", crypto.randomUUID(), schemas);
    const envelope = JSON.parse(new TextDecoder().decode(structured.data));
    expect(validate(`#/components/messages/${names[i]}/payload`, envelope)).toEqual([]);
  }
  // A schema that takes everything would pass all of that.
  const [first] = events as [(typeof events)[number]];
  const headers = Object.fromEntries(messageOf(first, "binary", "log", schemas).headers);
  expect(headers).toMatchObject({
    "ce-schemaversion": "1",
    "ce-dataschema": `${url}/api/schemas/Order%2520placed/versions/1`,
  });
  const place = "#/components/messages/Order_placed.v1.binary";
  expect(validate(`${place}/headers`, { ...headers, "ce-type": "Order placed" })).toHaveLength(1);
  expect(validate(`${place}/headers`, { ...headers, "ce-schemaversion": "2" })).toHaveLength(1);
  expect(validate(`${place}/payload`, { amount: "1" })).toHaveLength(1);
});

test("a stream that becomes internal again, or is deleted, has no channel", async () => {
  await share("leaving");
  expect(Object.keys((await readAsyncApi(url)).channels)).toContain("nats.leaving");
  await put(`${url}/api/streams/leaving`, { scope: "internal" });
  expect(Object.keys((await readAsyncApi(url)).channels)).not.toContain("nats.leaving");
  await share("gone");
  await send(`${url}/api/streams/gone`, { method: "DELETE" });
  expect(Object.keys((await readAsyncApi(url)).channels)).not.toContain("nats.gone");
});

test("a service without NATS has neither its servers nor its channels", async () => {
  const alone = await startService({ DATABASE_URL: service.databaseUrl });
  const { servers, channels } = await readAsyncApi(alone.url);
  expect(Object.keys(servers)).toEqual(["http"]);
  expect(Object.keys(channels)).toHaveLength(5);
  await alone.stop();
});

test("many streams and many types are not multiplied", async () => {
  const components = Array.from({ length: 100 }, (_, n) => ({
    name: `T${n}.v1`,
    type: `T${n}`,
    version: 1,
    description: null,
    schema: true,
  }));
  const streams = Array.from({ length: 100 }, (_, n) => ({
    name: `s${n}`,
    jetstream: `shop_s${n}`,
    subject: `shop.s${n}.{type}`,
    mode: n === 0 ? ("structured" as const) : null,
  }));
  const text = asyncApiDocument({
    publicUrl: url,
    registered: { components, leftOut: 0 },
    nats: {
      servers: ["nats://127.0.0.1:9"],
      naming: defaultNaming("shop"),
      streams,
      remotes: [],
      hasMore: true,
      mode: "binary",
    },
  });
  const document = JSON.parse(text) as AsyncApi;
  await parseAsyncApi(document);
  const { "nats.s0": structured, "nats.s1": binary } = document.channels as Record<string, DocumentedChannel>;
  expect(Object.keys(structured?.messages ?? {})).toEqual(["event"]);
  expect(Object.keys(binary?.messages ?? {})).toEqual(["event.binary"]);
  expect(document.info.description).toContain("more streams in NATS");
});
