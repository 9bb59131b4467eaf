// Modules: their event types are registered at the start, their upcasters are used, and what is wrong with them stops the start.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { append, type Envelope, expectProblem, send } from "../../support/client.ts";
import { ack, claim, put, subscription, tokens } from "../../support/consume.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import {
  jsonata,
  proposeVersion,
  registerVersions,
  type TypeBody,
  typeUrl,
  type Version,
  versionUrl,
} from "../../support/registry.ts";
import { type Service, spawnService, startService } from "../../support/service.ts";

const root = new URL("../../../", import.meta.url).pathname;
let folder: string;
const services: Service[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-modules-"));
});
afterAll(async () => {
  for (const service of services) await service.stop();
  await rm(folder, { recursive: true });
});

let files = 0;
/** A module's file; what is imported once stays as it was, so that each has a name of its own. */
async function write(code: string): Promise<string> {
  const path = join(folder, `module-${++files}.ts`);
  const imports = `import { defineEvent, defineModule, Type } from ${JSON.stringify(`${root}src/workflow/index.ts`)};\n`;
  await writeFile(path, imports + code);
  return path;
}
async function start(modules: readonly string[], databaseUrl?: string): Promise<Service> {
  const env = databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl };
  const service = await startService({ MODULES: modules.join(","), ...env });
  services.push(service);
  return service;
}
const refusal = (modules: readonly string[], databaseUrl?: string) =>
  start(modules, databaseUrl).then(
    () => "it started",
    (error: Error) => error.message,
  );

const page = async (url: string, stream: string, query = "schema=latest") =>
  (await send<{ events: Envelope[] }>(`${url}/api/streams/${stream}/events?${query}`)).body.events;

const moved = (more = "") => `
  const Moved = defineEvent("Moved", Type.Object({ x: Type.Number() }), { description: "It has moved" })
    .version(Type.Object({ x: Type.Number(), y: Type.Number() }), { upcast: ({ x }) => ({ x, y: x + 1 }) })
    .version(Type.Object({ x: Type.Number(), y: Type.Number(), z: Type.Optional(Type.Number()) }))
    .version(Type.Object({ point: Type.Array(Type.Number()) }), {
      upcast: ({ x, y, z = 0 }) => {
        if (x < 0) throw new Error("x is\\nnegative");
        return { point: [x, y, z] };
      },
    })${more};
  export default defineModule({ name: "space", events: [Moved] });`;

test("event types of modules are registered with who did it, and a second start changes nothing", async () => {
  const service = await start([await write(moved())]);
  const { versions } = (await send<TypeBody>(typeUrl(service.url, "Moved"))).body;
  expect(versions.map(({ description, upcast, registeredBy }) => [description, upcast, registeredBy])).toEqual([
    ["It has moved", null, "module space"],
    [null, { language: "code" }, "module space"],
    [null, null, "module space"],
    [null, { language: "code" }, "module space"],
  ]);
  expect((await send<Version>(versionUrl(service.url, "Moved", 1))).body.schema).toEqual({
    type: "object",
    properties: { x: { type: "number" } },
    required: ["x"],
  });
  const again = await start([await write(moved())], service.databaseUrl);
  const history = await send<{ changes: unknown[] }>(`${typeUrl(again.url, "Moved")}/history`);
  expect(history.body.changes).toHaveLength(4);
});

test("code and expressions take turns from version to version, and expressions are not taken away by a start", async () => {
  const { url, databaseUrl } = await start([await write(moved())]);
  const { schema } = (await send<Version>(versionUrl(url, "Moved", 3))).body;
  const third = { schema, upcast: jsonata('$merge([$, {"z": x * 10}])') };
  expect((await proposeVersion(url, "Moved", 3, third)).status).toBe(200);
  const fifth = { schema: { type: "array" }, upcast: jsonata("[$sum(point)]") };
  expect((await proposeVersion(url, "Moved", 5, fifth)).status).toBe(201);
  await append(url, "moves", [
    { type: "Moved", data: { x: 1 } },
    { type: "Moved", schemaversion: "2", data: { x: 1, y: 5 } },
    { type: "Moved", schemaversion: "3", data: { x: 1, y: 5, z: 6 } },
    { type: "Moved", data: { x: -1 } },
  ]);
  for (const base of [url, (await start([await write(moved())], databaseUrl)).url]) {
    const four = await page(base, "moves", "schema=Moved@4");
    expect(four.map(({ data }) => data)).toEqual([
      { point: [1, 2, 10] },
      { point: [1, 5, 10] },
      { point: [1, 5, 6] },
      { x: -1 },
    ]);
    expect(four[3]?.upcasterror).toBe("The upcaster failed: x is negative");
    expect((await page(base, "moves")).map(({ data }) => data)).toEqual([[13], [16], [12], { x: -1 }]);
  }
  const replaced = { schema: { type: "array" }, upcast: jsonata("[1]") };
  expect((await proposeVersion(url, "Moved", 5, replaced)).status).toBe(200);
});

test("an upcaster of a module stays where a request says none, and gives way to one that does until the module comes again", async () => {
  const { url, databaseUrl } = await start([await write(moved())]);
  const { schema } = (await send<Version>(versionUrl(url, "Moved", 2))).body;
  const request = { schema, upcast: jsonata('{"x": x, "y": 0}') };
  const described = await proposeVersion(url, "Moved", 2, { schema, description: "d" });
  expect([described.status, described.body.description]).toEqual([200, "d"]);
  expect(described.body.upcast).toEqual({ language: "code" });
  expect((await proposeVersion(url, "Moved", 2, request)).body.upcast).toEqual(request.upcast);
  const again = await start([await write(moved())], databaseUrl);
  expect((await send<Version>(versionUrl(again.url, "Moved", 2))).body.upcast).toEqual({ language: "code" });
});

test("a schema that was changed under its version stops the start, with what has changed", async () => {
  const { databaseUrl } = await start([await write(moved())]);
  const changed = moved().replace("Type.Object({ x: Type.Number() })", "Type.Object({ x: Type.String() })");
  expect(await refusal([await write(changed)], databaseUrl)).toBe(
    [
      "module space: Version 1 of Moved has another schema, and stays so: give the new one the next version",
      '  /properties/x/type was "number", is "string"',
    ].join("\n"),
  );
  const further = moved('.version(Type.Object({ point: Type.String() }), { upcast: () => ({ point: "" }) })');
  const service = await start([await write(further)], databaseUrl);
  expect((await send<TypeBody>(typeUrl(service.url, "Moved"))).body.versions).toHaveLength(5);
});

test("a version that does not read the one before and has no upcaster stops the start, with what is in the way", async () => {
  const message = await refusal([await write(moved(".version(Type.Object({ other: Type.Number() }))"))]);
  expect(message).toMatch(
    /^module space: Version 5 of Moved is not backward compatible with the one before: \/other .+$/,
  );
});

test("what is no module, or one of two that are in each other's way, stops the start with one line", async () => {
  const one = await write('export default defineModule({ name: "one", events: [defineEvent("A", Type.Any())] });');
  const two = await write('export default defineModule({ name: "two", events: [defineEvent("A", Type.Any())] });');
  const same = await write('export default defineModule({ name: "one" });');
  const wrong: [string[], RegExp][] = [
    [[one, two], /^the modules one and two both define the event type A$/],
    [[one, same], /^there are two modules of the name one$/],
    [[join(folder, "none.ts")], /^module .*none\.ts cannot be loaded: .+$/],
    [[await write("export default {};")], /is no module: its default export must be made by defineModule$/],
    [[await write("export const module = 1;")], /is no module: its default export must be made by defineModule$/],
    [[await write("const = 1;")], /^module .* cannot be loaded: .+$/],
    [[await write('throw new Error("not today");')], /^module .* cannot be loaded: not today$/],
    [
      [await write('export default defineModule({ name: "A B" });')],
      /cannot be loaded: a module is named by 1 to 63 lower-case/,
    ],
    [
      [
        await write(
          'const A = defineEvent("A", Type.Any()); export default defineModule({ name: "a", events: [A, A] });',
        ),
      ],
      /cannot be loaded: module a defines A twice$/,
    ],
  ];
  for (const [modules, message] of wrong) expect(await refusal(modules)).toMatch(message);
});

test("a process that is refused its modules ends with the reason and nothing else", async () => {
  const file = await write('throw new Error("not today");');
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    DATABASE_URL: await createTestDatabase(),
    LOG_LEVEL: "error",
  };
  const child = Bun.spawn([process.execPath, `${root}src/main.ts`, "start"], {
    env: { ...env, PORT: "0", MODULES: file },
    stdout: "pipe",
    stderr: "pipe",
  });
  expect(await child.exited).toBe(1);
  expect(await new Response(child.stderr).text()).toBe(`module ${file} cannot be loaded: not today\n`);
  expect(await new Response(child.stdout).text()).toBe("");
});

test("an upcaster that throws, gives nothing or gives a promise fails its events, and nothing else", async () => {
  const file = await write(`
    const Odd = defineEvent("Odd", Type.Any()).version(Type.Any(), {
      upcast: (data) => data === "promise" ? Promise.reject(new Error("late")) : data === "nothing" ? undefined : data.must.be.there,
    });
    export default defineModule({ name: "odd", events: [Odd] });`);
  const { url } = await start([file]);
  const data = ["promise", "nothing", "throw", { must: { be: { there: 1 } } }];
  await append(
    url,
    "odd",
    data.map((one) => ({ type: "Odd", data: one })),
  );
  const found = await page(url, "odd");
  expect(found.map((event) => event.data)).toEqual(["promise", "nothing", "throw", 1]);
  expect(found.slice(0, 2).map(({ upcasterror }) => upcasterror)).toEqual([
    "The upcaster gives a promise",
    "The upcaster gives nothing",
  ]);
  expect(found[2]?.upcasterror).toMatch(/^The upcaster failed: .*undefined/);
});

test("a process without the module shows events as they are stored, and leaves deliveries to those that have it", async () => {
  const having = await start([await write(moved())]);
  const lacking = await start([], having.databaseUrl);
  await append(lacking.url, "moves", { type: "Moved", data: { x: 1 } });
  const [event] = await page(lacking.url, "moves");
  expect(event).toMatchObject({ schemaversion: "1", data: { x: 1 } });
  expect(event?.upcasterror).toBe("The upcaster Moved 1 → 2 is code that this process does not have");
  const source = subscription(having.url, "moves");
  await put(source.url, { stream: "moves", mode: "exclusive", from: "beginning", receiveAs: "latest" });
  const there = `${lacking.url}/api/subscriptions/moves/claims`;
  for (let n = 0; n < 3; n++) {
    const refused = await send(there, { method: "POST", body: '{"consumer":"b"}' });
    expectProblem(refused, 503, "schemas-unavailable");
  }
  const claimed = await claim(source, { consumer: "a", wait: "20s" });
  expect(claimed.map((one) => [one.event.data, one.attempt])).toEqual([[{ point: [1, 2, 0] }, 1]]);
  expect(await ack(source, tokens(claimed))).toEqual(["settled"]);
});

test("processes that start at once with the same module all start", async () => {
  const env = { DATABASE_URL: await createTestDatabase(), MODULES: await write(moved()), LOG_LEVEL: "info" };
  const started = await Promise.all([spawnService(env), spawnService(env), spawnService(env)]);
  const { versions } = (await send<TypeBody>(typeUrl(started[0].url, "Moved"))).body;
  expect(versions).toHaveLength(4);
  for (const service of started) {
    service.kill("SIGTERM");
    expect(await service.exited).toBe(0);
  }
});

test("a module takes over a type that was registered over HTTP, with its upcasters", async () => {
  const { url, databaseUrl } = await start([]);
  const x = { type: "object", properties: { x: { type: "number" } }, required: ["x"] };
  const y = { ...x, properties: { x: { type: "number" }, y: { type: "number" } }, required: ["x", "y"] };
  await registerVersions(url, "Moved", [x, { schema: y, upcast: jsonata('{"x": x, "y": 0}') }]);
  await append(url, "moves", { type: "Moved", data: { x: 1 } });
  expect((await page(url, "moves"))[0]?.data).toEqual({ x: 1, y: 0 });
  const taken = await start([await write(moved())], databaseUrl);
  expect((await page(taken.url, "moves", "schema=2"))[0]?.data).toEqual({ x: 1, y: 2 });
});
