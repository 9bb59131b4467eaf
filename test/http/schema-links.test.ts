// The links that events bear to the schemas of their data.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, send } from "../support/client.ts";
import { object, people, registerVersions, text, versionUrl } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  url = service.url;
});
afterAll(() => service.stop());

let names = 0;
const newName = () => `Person${++names}`;
const events = (stream: string, query: string) => `${url}/api/streams/${stream}/events?${query}`;
const page = async (path: string) => (await send<{ events: Envelope[] }>(path)).body.events;
const ada = [{ name: "Ada Lovelace" }, {}, { name: { first: "Ada", last: "Lovelace" } }] as const;

test("events link to the served schema of their version, also those from before it was registered", async () => {
  const type = newName();
  const live = await openEventStream(events(type, "from=beginning"));
  await append(url, type, { type, data: ada[0] });
  await live.until("it has come", () => live.events().length === 1);
  expect(live.events()[0]).not.toHaveProperty("dataschema");
  await registerVersions(url, type, people);
  const late = await openEventStream(events(type, "from=beginning"));
  await late.until("it has come again", () => late.events().length === 1);
  const [read] = await page(events(type, ""));
  expect(late.events()).toEqual([read as Envelope]);
  expect(read?.dataschema).toBe(versionUrl(url, type, 1));
  expect((await send<{ schema: unknown }>(String(read?.dataschema))).body.schema).toEqual(people[0]);
  const [upcast] = await page(events(type, "schema=latest"));
  expect(upcast?.dataschema).toBe(versionUrl(url, type, 3));
  live.close();
  late.close();
});

test("a producer's own link to a schema is kept as it is stored, and gives way where the data are other ones", async () => {
  const type = newName();
  await registerVersions(url, type, people);
  const dataschema = "https://example.com/person.json";
  await append(url, type, { type, dataschema, data: ada[0], mood: "kept" });
  expect((await page(events(type, "")))[0]).toMatchObject({ dataschema, mood: "kept" });
  expect((await page(events(type, "schema=1")))[0]).toMatchObject({ dataschema });
  const [upcast] = await page(events(type, "schema=latest"));
  expect(upcast).toMatchObject({ dataschema: versionUrl(url, type, 3), mood: "kept", data: ada[2] });
});

test("without an upcaster data stay as they are where they are valid so", async () => {
  const type = newName();
  await registerVersions(url, type, [object({ a: text }), { type: "object", properties: { a: text, b: text } }]);
  await append(url, type, { type, data: { a: "x" } });
  expect(await page(events(type, "schema=latest"))).toMatchObject([
    { schemaversion: "2", data: { a: "x" }, dataschema: versionUrl(url, type, 2) },
  ]);
});

test("links lead to where the service is reached from outside", async () => {
  const base = "https://events.example.com/sluice";
  const inner = await startService({ DATABASE_URL: service.databaseUrl, PUBLIC_URL: `${base}/` });
  const type = `Größe/${newName()}`;
  await registerVersions(inner.url, type, [{}]);
  await append(inner.url, "outside", { type, data: {} });
  const answer = await send<{ events: Envelope[] }>(`${inner.url}/api/streams/outside/events`);
  expect(answer.body.events[0]?.dataschema).toBe(versionUrl(base, type, 1));
  await inner.stop();
});
