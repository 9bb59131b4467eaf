// The AsyncAPI document of a running service: valid whatever is registered, complete, and true to what is sent.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { type AsyncApi, parseAsyncApi, readAsyncApi, validatorOf } from "../support/asyncapi.ts";
import { jsonata, number, object, people, proposeVersion, registerVersions, text } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  url = service.url;
});
afterAll(() => service.stop());

/** The message of a version by its title, with its name among the components. */
function messageOf(document: AsyncApi, type: string, version: number) {
  const title = `${type}, version ${version}`;
  const found = Object.entries(document.components.messages).filter(([, message]) => message.title === title);
  expect(found.map(([name]) => name)).toHaveLength(1);
  const [name, message] = found[0] as (typeof found)[number];
  return { name, message, schema: document.components.schemas[name]?.schema };
}

const channelKeys = ["streamEvents", "logEvents", "workflowEvents", "subscriptionEvents", "liveConnection"];

test("without types the document is valid, and has the event streams of the service", async () => {
  const document = await readAsyncApi(url);
  const parsed = await parseAsyncApi(document);
  expect(parsed.version()).toBe("3.0.0");
  expect(document.servers).toMatchObject({ http: { host: new URL(url).host, protocol: "http" } });
  expect(Object.values(document.channels).map(({ address }) => address)).toEqual([
    "/api/streams/{stream}/events",
    "/api/events",
    "/api/workflows/{id}/events",
    "/api/subscriptions/{id}/events",
    "/api/live/{id}",
  ]);
  const sent = parsed.operations().filterBySend();
  expect(sent.map((operation) => operation.channels().all()[0]?.id() as string)).toEqual(channelKeys);
  for (const operation of sent) expect(operation.messages().all().length).toBeGreaterThan(4);
});

test("the server is where the service is reached from outside", async () => {
  const proxied = await startService({
    PUBLIC_URL: "https://events.example.com/sluice",
    DATABASE_URL: service.databaseUrl,
  });
  const { servers } = await readAsyncApi(proxied.url);
  expect(servers.http).toMatchObject({ host: "events.example.com", pathname: "/sluice", protocol: "https" });
  await proxied.stop();
});

test("the document keeps its tag until the registry changes", async () => {
  const get = (headers: Record<string, string> = {}) => fetch(`${url}/asyncapi.json`, { headers });
  const etag = (await get()).headers.get("etag") as string;
  expect((await get({ "if-none-match": etag })).status).toBe(304);
  await registerVersions(url, "Tagged", [object({ a: text })]);
  const changed = await get({ "if-none-match": etag });
  expect(changed.status).toBe(200);
  expect(await changed.text()).toContain('"Tagged.v1"');
});

test("each version of a type is a message with its name, its description and its schema", async () => {
  const [first, second, third] = people as [unknown, { schema: unknown; upcast: unknown }, unknown];
  await registerVersions(url, "Person", [first, { ...second, description: "Two names" }, third]);
  const document = await readAsyncApi(url);
  await parseAsyncApi(document);
  expect([1, 2, 3].map((version) => messageOf(document, "Person", version).name)).toEqual([
    "Person.v1",
    "Person.v2",
    "Person.v3",
  ]);
  const { message, schema } = messageOf(document, "Person", 2);
  expect(message).toMatchObject({
    name: "Person",
    description: "Two names",
    contentType: "application/cloudevents+json",
  });
  expect(schema).toEqual(second.schema);
  for (const key of channelKeys) expect(Object.keys(document.channels[key]?.messages ?? {})).toContain("Person.v2");
});

/** Schemas with what a document makes difficult, data that match them, and data that do not. */
const difficult: Record<string, { schema: unknown; good: unknown[]; bad: unknown[] }> = {
  Recursive: {
    schema: { ...object({ value: number }), properties: { value: number, next: { $ref: "#" } } },
    good: [{ value: 1, next: { value: 2 } }],
    bad: [{ value: 1, next: { value: "2" } }],
  },
  Definitions: {
    schema: { $ref: "#/$defs/tree", $defs: { tree: { type: "array", items: { $ref: "#/$defs/tree" } } }, maxItems: 2 },
    good: [[[], [[]]]],
    bad: [[[1]], [[], [], []]],
  },
  Anchors: {
    schema: object({ a: { $ref: "#here" }, b: { $defs: { x: { $anchor: "here", ...number } } } }),
    good: [{ a: 1, b: null }],
    bad: [{ a: "1", b: null }],
  },
  Identified: {
    schema: {
      $id: "https://example.com/identified",
      $schema: "https://json-schema.org/draft/2020-12/schema",
      ...object({ at: { ...text, format: "date-time" } }),
    },
    good: [{ at: "2026-11-21T10:00:00Z" }],
    bad: [{}],
  },
  "Only in 2020-12": {
    schema: {
      type: "array",
      prefixItems: [text, number],
      items: false,
      unevaluatedItems: false,
      minContains: 1,
      contains: number,
    },
    good: [["a", 1]],
    bad: [["a"], [1, "a"], ["a", 1, 2]],
  },
  "Beside a reference": {
    schema: { properties: { a: { $ref: "#/$defs/short", minLength: 2 } }, $defs: { short: { ...text, maxLength: 3 } } },
    good: [{ a: "ab" }],
    bad: [{ a: "a" }, { a: "abcd" }],
  },
  // The parser would hold these against AsyncAPI's own keywords if the schema did not say its format.
  "Other dialects": {
    schema: {
      type: "object",
      discriminator: { propertyName: "kind" },
      additionalItems: 3,
      deprecated: true,
      example: 1,
    },
    good: [{}],
    bad: [3],
  },
  True: { schema: true, good: [1], bad: [] },
  False: { schema: false, good: [], bad: [1] },
  "a/b~c%25 {d}": {
    schema: { properties: { "x/y~z%": { $ref: "#/$defs/p~1q~0r%2525" } }, $defs: { "p/q~r%25": number } },
    good: [{ "x/y~z%": 1 }],
    bad: [{ "x/y~z%": "" }],
  },
};

test("the schemas in the document accept and refuse what the registered ones do", async () => {
  for (const [type, { schema }] of Object.entries(difficult)) await registerVersions(url, type, [{ schema }]);
  const document = await readAsyncApi(url);
  const parsed = await parseAsyncApi(document);
  const validate = validatorOf(document);
  for (const [type, { schema, good, bad }] of Object.entries(difficult)) {
    const { name } = messageOf(document, type, 1);
    expect(parsed.components().messages().get(name)?.payload()).toBeDefined();
    const registered = new Ajv2020({ strict: false, validateFormats: false }).compile(schema as object);
    for (const [values, expected] of [
      [good, true],
      [bad, false],
    ] as const) {
      for (const value of values) {
        const inDocument = validate(`#/components/schemas/${name}`, value).length === 0;
        expect({ type, value, registered: registered(value), inDocument }).toEqual({
          type,
          value,
          registered: expected,
          inDocument: expected,
        });
      }
    }
  }
});

test("what readers of the document would take for references to elsewhere is only served by itself", async () => {
  const schemas = {
    "Base inside": {
      properties: { a: { $id: "inner", properties: { b: { $ref: "#/$defs/q" } }, $defs: { q: text } } },
    },
    Dynamic: { $dynamicAnchor: "node", properties: { next: { $dynamicRef: "#node" } } },
    "Member of that name": object({ $ref: text }),
    "Definition of that name": { $defs: { $ref: text } },
    "Constant reference": { const: { $ref: "#/nowhere" } },
    "Reference in an example": { examples: [[{ deep: { $ref: "https://example.com/never-fetched" } }]] },
  };
  for (const [type, schema] of Object.entries(schemas)) await registerVersions(url, type, [{ schema }]);
  const document = await readAsyncApi(url);
  await parseAsyncApi(document);
  for (const type of Object.keys(schemas)) {
    const path = `/api/schemas/${encodeURIComponent(type)}/versions/1`;
    expect(messageOf(document, type, 1).schema).toEqual({
      description: expect.stringContaining(`GET ${path} serves it`),
    });
    expect((await fetch(url + path)).status).toBe(200);
  }
});

test("types whose names a component cannot have are told apart", async () => {
  const types = [
    "my event",
    "my_event",
    "my/event",
    "my.event",
    "名前",
    "äö",
    "__",
    "<b>",
    "a#b?c",
    "__proto__",
    "constructor",
    "event",
    "event.v1.event",
    "x".repeat(256),
    "🙂".repeat(100),
  ];
  for (const [n, type] of types.entries()) await registerVersions(url, type, [{ schema: { const: n } }]);
  const document = await readAsyncApi(url);
  const parsed = await parseAsyncApi(document);
  const names = types.map((type) => messageOf(document, type, 1).name);
  expect(new Set(names).size).toBe(types.length);
  for (const [n, type] of types.entries()) {
    const { name, schema } = messageOf(document, type, 1);
    expect(name).toMatch(/^[a-zA-Z0-9.\-_]+$/);
    expect(schema).toEqual({ const: n });
    expect(parsed.components().messages().get(name)?.name()).toBe(type);
  }
  expect(document.components.messages.event?.title).toBe("Any event");
});

test("two hundred types make a valid document", async () => {
  const many = await startService();
  for (let n = 0; n < 200; n++) {
    const answer = await proposeVersion(many.url, `Type${n}`, 1, {
      schema: { ...object({ a: text }), properties: { a: text, next: { $ref: "#" } } },
    });
    expect(answer.status).toBe(201);
  }
  const upcast = jsonata('{"a": a, "b": 1}');
  expect((await proposeVersion(many.url, "Type7", 2, { schema: object({ a: text, b: number }), upcast })).status).toBe(
    201,
  );
  const document = await readAsyncApi(many.url);
  const parsed = await parseAsyncApi(document);
  expect(
    parsed
      .components()
      .messages()
      .all()
      .filter((message) => message.id().startsWith("Type")),
  ).toHaveLength(201);
  await many.stop();
});

test("a large registry makes a document of bounded size, which says what it leaves out", async () => {
  const large = await startService();
  const sql = openSql(large.databaseUrl, 1);
  await registerVersions(large.url, "Zmall", [object({ a: text })]);
  const schema = (bytes: number) => JSON.stringify({ ...object({ a: text }), description: "x".repeat(bytes) });
  const add = async (types: string[], text: string) => {
    const named = sql`select t from json_array_elements_text(${JSON.stringify(types)}::text::json) t`;
    await sql`insert into schema_types (type, revision) select n.t, 1000 from (${named}) n`;
    await sql`
      insert into schema_versions (type, version, schema, content_hash, reads_previous, registered_at, registered_by)
      select n.t, 1, ${text}::text::json, gen_random_uuid(), true, clock_timestamp(), 'api' from (${named}) n`;
    await sql`update schema_registry set revision = revision + 1000`;
  };
  // One that is larger than all the room there is must not take it from the others.
  await add(["A"], schema(3_000_000));
  const restarted = await startService({ DATABASE_URL: large.databaseUrl });
  let document = await readAsyncApi(restarted.url);
  expect(messageOf(document, "A", 1).schema).toEqual({ description: expect.stringContaining("no room") });
  expect(messageOf(document, "Zmall", 1).schema).toEqual(object({ a: text }));
  await restarted.stop();
  await add(
    Array.from({ length: 1_000 }, (_, n) => `Type${String(n).padStart(3, "0")}`),
    schema(90_000),
  );
  const again = await startService({ DATABASE_URL: large.databaseUrl });
  document = await readAsyncApi(again.url);
  const bytes = JSON.stringify(document).length;
  expect(bytes).toBeGreaterThan(900_000);
  expect(bytes).toBeLessThan(3_000_000);
  expect(Object.keys(document.components.messages).filter((name) => /^(A|Type\d+|Zmall)\.v1$/.test(name))).toHaveLength(
    500,
  );
  expect(document.info.description).toContain("no room for: 502.");
  const schemas = Object.values(document.components.schemas).map((component) => JSON.stringify(component).length);
  expect(schemas.filter((length) => length > 90_000)).toHaveLength(11);
  await sql.end();
  await again.stop();
  await large.stop();
});
