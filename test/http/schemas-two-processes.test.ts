// The schema registry of two processes on one database: one history for both, and each hears of what the other changes.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import { claim, put, subscription } from "../support/consume.ts";
import { createTestDatabase } from "../support/postgres.ts";
import {
  jsonata,
  number,
  object,
  people,
  preview,
  proposeVersion,
  registerVersions,
  removeVersion,
  type TypeBody,
  text,
  typeUrl,
  type Version,
  versionUrl,
} from "../support/registry.ts";
import { type ServiceProcess, spawnService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

let one: ServiceProcess;
let two: ServiceProcess;
beforeAll(async () => {
  const env = { DATABASE_URL: await createTestDatabase() };
  [one, two] = await Promise.all([spawnService(env), spawnService(env)]);
});
afterAll(async () => {
  for (const service of [one, two]) {
    service.kill("SIGTERM");
    expect(await service.exited).toBe(0);
  }
});

let names = 0;
const newType = () => `Shared${++names}`;
const page = async (base: string, stream: string, query = "schema=latest") =>
  (await send<{ events: Envelope[] }>(`${base}/api/streams/${stream}/events?${query}`)).body.events;
const both = <T>(request: (base: string) => Promise<T>) => Promise.all([request(one.url), request(two.url)]);

test("of two that register different schemas as one version at once, exactly one succeeds", async () => {
  for (let round = 0; round < 30; round++) {
    const type = newType();
    const schemas = [object({ a: text }), object({ a: number })];
    const answers = await Promise.all(
      [one, two].map(({ url }, n) => proposeVersion(url, type, 1, { schema: schemas[n] })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    const lost = answers.find(({ status }) => status === 409) as (typeof answers)[0];
    expect(expectProblem(lost, 409, "schema-conflict").changes).toHaveLength(1);
    const won = answers.findIndex(({ status }) => status === 201);
    const served = await both((base) => send<Version>(versionUrl(base, type, 1)));
    expect(served.map(({ body }) => body.schema)).toEqual([schemas[won], schemas[won]]);
  }
});

test("of two that register the same schema at once, one creates it, and both succeed", async () => {
  for (let round = 0; round < 30; round++) {
    const type = newType();
    const answers = await both((base) => proposeVersion(base, type, 1, { schema: object({ a: text }) }));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 201]);
    const { changes } = (await send<{ changes: unknown[] }>(`${typeUrl(one.url, type)}/history`)).body;
    expect(changes).toHaveLength(1);
  }
});

test("many that register version after version at once leave one history without gaps", async () => {
  const type = newType();
  const register = async (base: string) => {
    for (let version = 1; version <= 8; version++) {
      const { status } = await proposeVersion(base, type, version, { schema: { title: `version ${version}` } });
      expect([200, 201]).toContain(status);
    }
  };
  await Promise.all([one, one, two, two].map(({ url }) => register(url)));
  const { versions } = (await send<TypeBody>(typeUrl(two.url, type))).body;
  expect(versions.map(({ version }) => version)).toEqual(["1", "2", "3", "4", "5", "6", "7", "8"]);
});

test("a version is judged by what the other process has just set or registered", async () => {
  for (let round = 0; round < 10; round++) {
    const type = newType();
    await registerVersions(one.url, type, [{ ...object({ a: text }), additionalProperties: false }]);
    await put(typeUrl(one.url, type), { compatibility: "full" });
    const next = { schema: { ...object({ a: text }), additionalProperties: { type: "string" } } };
    expectProblem(await proposeVersion(two.url, type, 2, next), 409, "incompatible-schema");
  }
});

test("what one process has registered is read as by the other, also by who follows there already", async () => {
  const type = newType();
  await append(one.url, type, { type, data: { name: "Ada Lovelace" } });
  const follower = await openEventStream(`${two.url}/api/streams/${type}/events?schema=latest&from=beginning`);
  await follower.until("it has come as it is stored", () => follower.events()[0]?.schemaversion === "1");
  await registerVersions(one.url, type, people);
  const wanted = { schemaversion: "3", data: { name: { first: "Ada", last: "Lovelace" } } };
  const upcast = await until("the other has heard of it", async () => {
    const [event] = await page(two.url, type);
    return event?.schemaversion === "3" ? event : null;
  });
  expect(upcast).toMatchObject(wanted);
  await append(two.url, type, { type, data: { name: "Ada Lovelace" } });
  await follower.until("the next has come", () => follower.events().length === 2);
  expect(follower.events()[1]).toMatchObject(wanted);
  follower.close();
});

test("a version that is asked for by its number is known everywhere at once", async () => {
  for (let round = 0; round < 10; round++) {
    const type = newType();
    await append(two.url, type, { type, data: { name: "Ada Lovelace" } });
    await registerVersions(one.url, type, people);
    expect((await page(two.url, type, `schema=${type}@2`))[0]?.data).toEqual({ first: "Ada", last: "Lovelace" });
    const source = subscription(two.url, type);
    const made = await put(source.url, { stream: type, mode: "exclusive", from: "beginning", receiveAs: `${type}@3` });
    expect(made.status).toBe(201);
    expect((await claim(source, { consumer: "a" }))[0]?.event.schemaversion).toBe("3");
    expect((await preview(two.url, type, { data: { name: "A B" } })).body.to).toBe("3");
  }
});

test("an upcaster that was mended at one process is used by the other", async () => {
  const type = newType();
  const body = (expression: string) => ({ schema: object({ n: number }), upcast: jsonata(expression) });
  await registerVersions(one.url, type, [object({ a: number }), body('{"n": 1}')]);
  await append(one.url, type, { type, data: { a: 1 } });
  await until("the first is used", async () => (await page(two.url, type))[0]?.schemaversion === "2");
  await proposeVersion(one.url, type, 2, body('{"n": 2}'));
  await until("the second is used", async () => JSON.stringify((await page(two.url, type))[0]?.data) === '{"n":2}');
  expect((await page(one.url, type))[0]?.data).toEqual({ n: 2 });
});

test("a version that was deleted is gone everywhere, and its number can have another schema", async () => {
  const type = newType();
  await registerVersions(one.url, type, [
    object({ a: text }),
    { schema: object({ b: text }), upcast: jsonata('{"b": a}') },
  ]);
  await append(one.url, type, { type, data: { a: "x" } });
  await until("it is used", async () => (await page(two.url, type))[0]?.schemaversion === "2");
  expect((await removeVersion(one.url, type, 2)).status).toBe(204);
  expectProblem(await send(versionUrl(two.url, type, 2)), 404, "schema-not-found");
  await until("it is used no more", async () => (await page(two.url, type))[0]?.schemaversion === "1");
  await registerVersions(two.url, type, [
    object({ a: text }),
    { schema: object({ c: text }), upcast: jsonata('{"c": a}') },
  ]);
  await until("the new one is used", async () => JSON.stringify((await page(one.url, type))[0]?.data) === '{"c":"x"}');
});
