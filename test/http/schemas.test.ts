// The schema registry over HTTP: versions are registered, judged, served, changed where they may be, and deleted.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectProblem, send } from "../support/client.ts";
import { post, put } from "../support/consume.ts";
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
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  url = service.url;
});
afterAll(() => service.stop());

let names = 0;
const newType = () => `Type${++names}`;
const get = <Body = Version>(path: string, headers: Record<string, string> = {}) => send<Body>(path, { headers });
type Change = { id: string; version: string | null; change: string; detail: unknown; by: string; at: string };
const historyOf = async (type: string, query = "") =>
  (await get<{ changes: Change[]; next: string | null }>(`${typeUrl(url, type)}/history${query}`)).body;

test("a version is served as it was registered, with who did it and when", async () => {
  const type = newType();
  const schema = { title: "z", properties: { b: text, a: { const: 1e2 } }, $comment: "order is kept" };
  const answer = await proposeVersion(url, type, 1, { schema, description: "the first" });
  expect(answer.status).toBe(201);
  expect(answer.body).toEqual({
    type,
    version: "1",
    schema,
    description: "the first",
    upcast: null,
    registeredAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    registeredBy: "api",
  });
  const served = await get(versionUrl(url, type, 1));
  expect({ status: served.status, text: served.text }).toEqual({ status: 200, text: answer.text });
  const { schema: _, type: __, ...listed } = answer.body;
  expect((await get<TypeBody>(typeUrl(url, type))).body).toEqual({
    type,
    compatibility: "backward",
    versions: [listed],
  });
  const bare = await get(versionUrl(url, type, 1), { accept: "application/schema+json" });
  expect(bare.headers.get("content-type")).toBe("application/schema+json");
  expect(bare.text).toBe(JSON.stringify(schema));
});

test("registering the same again changes nothing, in whatever order its members are", async () => {
  const type = newType();
  await registerVersions(url, type, [{ schema: { type: "object", title: "t" }, description: "d" }]);
  const again = await proposeVersion(url, type, 1, { description: "d", schema: { title: "t", type: "object" } });
  expect(again.status).toBe(200);
  expect((await historyOf(type)).changes).toHaveLength(1);
});

test("another schema under a version is a conflict that lists what has changed, and stores nothing", async () => {
  const type = newType();
  await registerVersions(url, type, [object({ a: text, "b/~": number })]);
  const other = { ...object({ a: text, "b/~": text }), title: "new" };
  const problem = expectProblem(await proposeVersion(url, type, 1, { schema: other }), 409, "schema-conflict");
  expect(problem.changes).toEqual([
    { path: "/properties/b~1~0/type", was: "number", is: "string" },
    { path: "/title", was: null, is: "new" },
  ]);
  expectProblem(await proposeVersion(url, type, 1, { schema: other }, "?dryRun=true"), 409, "schema-conflict");
  expect((await get(versionUrl(url, type, 1))).body.schema).toEqual(object({ a: text, "b/~": number }));
});

test("versions have no gaps", async () => {
  const type = newType();
  const early = expectProblem(await proposeVersion(url, type, 2, { schema: {} }), 409, "schema-version-gap");
  expect(early).toMatchObject({ eventType: type, version: "2", next: "1" });
  expectProblem(await get(typeUrl(url, type)), 404, "schema-not-found");
  await registerVersions(url, type, [{}]);
  const far = await proposeVersion(url, type, 999_999_999, { schema: {} }, "?dryRun=true");
  expect(expectProblem(far, 409, "schema-version-gap").next).toBe("2");
});

test("a version that does not read what the one before wrote is refused with a list, unless an upcaster is given", async () => {
  const type = newType();
  await registerVersions(url, type, [object({ a: text })]);
  const next = { schema: object({ a: number, b: text }) };
  const problem = expectProblem(await proposeVersion(url, type, 2, next), 409, "incompatible-schema");
  const differences = problem.differences as { direction: string; path: string; message: string }[];
  expect(differences.map(({ direction, path }) => [direction, path]).sort()).toEqual([
    ["backward", "/a"],
    ["backward", "/b"],
  ]);
  for (const { message } of differences) expect(problem.detail).toContain(message);
  const dry = await proposeVersion<object>(url, type, 2, next, "?dryRun=true");
  expect(dry).toMatchObject({ status: 200, body: { outcome: "incompatible", compatible: false, differences } });
  const upcast = jsonata('{"a": 1, "b": a}');
  const fit = await proposeVersion<object>(url, type, 2, { ...next, upcast }, "?dryRun=true");
  expect(fit.body).toEqual({ outcome: "created", compatible: true, compatibility: "backward", differences: [] });
  expectProblem(await get(versionUrl(url, type, 2)), 404, "schema-not-found");
  expect((await proposeVersion(url, type, 2, { ...next, upcast })).body.upcast).toEqual(upcast);
});

test("the compatibility of a type is its own, also before it has versions, and what is there is not judged anew", async () => {
  const type = newType();
  const schema = (properties: Record<string, unknown>, required: string[]) => ({
    schema: { type: "object", properties, required, additionalProperties: false },
  });
  expect((await put(typeUrl(url, type), { compatibility: "forward" })).status).toBe(200);
  await registerVersions(url, type, [schema({ a: text, b: text }, ["a"])]);
  const fewer = schema({ a: text, b: text, c: text }, ["a"]);
  const forward = expectProblem(await proposeVersion(url, type, 2, fewer), 409, "incompatible-schema");
  expect(forward.differences).toMatchObject([{ direction: "forward", path: "/c" }]);
  await registerVersions(url, type, [schema({ a: text, b: text }, ["a"]), schema({ a: text, b: text }, ["a", "b"])]);
  await put(typeUrl(url, type), { compatibility: "full" });
  const both = expectProblem(await proposeVersion(url, type, 3, fewer), 409, "incompatible-schema");
  expect(new Set((both.differences as { direction: string }[]).map((one) => one.direction))).toEqual(
    new Set(["forward"]),
  );
  expect((await proposeVersion(url, type, 2, schema({ a: text, b: text }, ["a", "b"]))).status).toBe(200);
  expectProblem(await put(typeUrl(url, type), { compatibility: "none" }), 422, "invalid-request");
  expectProblem(await put(typeUrl(url, type), {}), 422, "invalid-request");
});

test("the description and the upcaster of a version can be changed, and its history tells", async () => {
  const type = newType();
  await registerVersions(url, type, people);
  const body = { schema: (people[1] as { schema: object }).schema };
  const mended = jsonata('{"first": name, "last": ""}');
  expect((await proposeVersion(url, type, 2, { ...body, description: "d", upcast: mended })).status).toBe(200);
  expectProblem(await proposeVersion(url, type, 2, body), 409, "incompatible-schema");
  await put(typeUrl(url, type), { compatibility: "full" });
  const { changes } = await historyOf(type);
  expect(changes.map(({ version, change, detail, by }) => [version, change, detail, by]).slice(3)).toEqual([
    ["2", "upcaster", mended, "api"],
    ["2", "description", "d", "api"],
    [null, "compatibility", "full", "api"],
  ]);
  expect(changes.slice(0, 3).map(({ version, change }) => [version, change])).toEqual(
    ["1", "2", "3"].map((version) => [version, "registered"]),
  );
  const paged: string[] = [];
  let next: string | null = `${new URL(typeUrl(url, type)).pathname}/history?limit=4`;
  while (next !== null) {
    const page: { changes: Change[]; next: string | null } = (await get<never>(url + next)).body;
    paged.push(...page.changes.map(({ id }) => id));
    next = page.next;
  }
  expect(paged).toEqual(changes.map(({ id }) => id));
});

test("types are listed page by page in the order of their names", async () => {
  const prefix = `List${++names}-`;
  const types = ["b", "Ä", "a,b", "a", "B", "😀", "a%2F"].map((end) => prefix + end);
  for (const type of types) await registerVersions(url, type, [{}, {}]);
  const listed: { type: string; compatibility: string; latest: string }[] = [];
  let next: string | null = `/api/schemas?limit=2&prefix=${prefix}`;
  let pages = 0;
  for (; next !== null; pages++) {
    const page: { schemas: typeof listed; next: string | null } = (await get<never>(url + next)).body;
    listed.push(...page.schemas);
    next = page.next;
  }
  expect(pages).toBe(4);
  const order = [...types].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect(listed).toEqual(order.map((type) => ({ type, compatibility: "backward", latest: "2" })));
});

test("an upcast is previewed with what the target's schema says of it", async () => {
  const type = newType();
  await registerVersions(url, type, people);
  const show = async (body: unknown) => (await preview(url, type, body)).body;
  const data = { name: "Ada Lovelace" };
  const latest = { name: { first: "Ada", last: "Lovelace" } };
  expect(await show({ data })).toEqual({ type, from: "1", to: "3", data: latest, valid: true, errors: [] });
  expect(await show({ from: "2", to: 3, data: latest.name })).toMatchObject({ data: latest, from: "2", valid: true });
  expect(await show({ from: 1, to: 1, data: {} })).toEqual({
    type,
    from: "1",
    to: "1",
    data: {},
    valid: false,
    errors: [{ path: "/name", message: "is required" }],
  });
  const backward = expectProblem((await preview(url, type, { from: 3, to: 2, data })) as never, 422, "invalid-request");
  expect(backward.errors).toMatchObject([{ path: "/to" }]);
  expectProblem((await preview(url, type, { from: 1, to: 4, data })) as never, 404, "schema-not-found");
  for (const body of [{}, { data, from: 0 }, { data, to: "latest" }, { data, at: 1 }])
    expectProblem((await preview(url, type, body)) as never, 422, "invalid-request");
  await proposeVersion(url, type, 3, { ...(people[2] as object), upcast: jsonata('$error("no such name")') });
  const failed = expectProblem((await preview(url, type, { data })) as never, 422, "upcast-failed");
  expect(failed).toMatchObject({ eventType: type, from: "1", to: "3" });
  expect(failed.detail).toContain("no such name");
});

test("a version is served as TypeScript, which says what its data are", async () => {
  const type = "Order placed/now";
  const schema = {
    ...object({ id: text, lines: { type: "array", items: { $ref: "#/$defs/line" } } }),
    $defs: { line: object({ sku: text, pair: { type: "array", prefixItems: [text, number] } }) },
  };
  await registerVersions(url, type, [schema]);
  const answer = await get(`${versionUrl(url, type, 1)}?as=typescript`);
  expect(answer.headers.get("content-type")).toBe("application/typescript; charset=utf-8");
  expect(answer.text).toMatch(/^export interface \w+ \{/m);
  for (const part of [/\bid: string;/, /\bsku: string;/, /lines: Line\[\];/]) expect(answer.text).toMatch(part);
  expect(() => new Bun.Transpiler({ loader: "ts" }).transformSync(answer.text)).not.toThrow();
});

test("TypeScript is named by the type, whatever that or the schema's title is", async () => {
  for (const [type, name] of [
    ["订单", "Event1"],
    ["2nd/try", "Event2NdTry1"],
    ["*/ alert(1) /*", "Alert11"],
  ]) {
    const schema = {
      title: "订单",
      description: "*/ alert(1) /*",
      ...object({ a: { ...object({ b: text }), title: "*" } }),
    };
    await registerVersions(url, type as string, [schema]);
    const { text: code } = await get(`${versionUrl(url, type as string, 1)}?as=typescript`);
    expect(code).toContain(`export interface ${name} {`);
    expect(new Bun.Transpiler({ loader: "ts" }).transformSync(code).trim()).toBe("");
  }
});

test("only the newest version is deleted, and only while no event has it", async () => {
  const type = newType();
  await registerVersions(url, type, people);
  expectProblem(await removeVersion(url, type, 1), 409, "schema-in-use");
  await post(`${url}/api/streams/used/events`, { type, schemaversion: "3", data: {} });
  const used = expectProblem(await removeVersion(url, type, 3), 409, "schema-in-use");
  expect(used.detail).toContain("such as 0 of stream used");
  await send(`${url}/api/streams/used`, { method: "DELETE" });
  expect((await removeVersion(url, type, 3)).status).toBe(204);
  expect((await historyOf(type)).changes.at(-1)).toMatchObject({ version: "3", change: "deleted" });
  expect((await proposeVersion(url, type, 3, { schema: object({ other: text }), upcast: jsonata("{}") })).status).toBe(
    201,
  );
});

test("the same upcaster is the same however it is written, and registering it again changes nothing for anybody", async () => {
  const type = "Reordered";
  const upcast = { language: "jsonata", expression: '{"b": a}' };
  await registerVersions(url, type, [object({ a: text }), { schema: object({ b: text }), upcast }]);
  await put(typeUrl(url, type), { compatibility: "full" });
  const sql = openSql(service.databaseUrl, 1);
  const revision = async () => (await sql`select revision from schema_registry`)[0]?.revision;
  const before = await revision();
  const { language, expression } = upcast;
  const again = await proposeVersion(url, type, 2, { schema: object({ b: text }), upcast: { expression, language } });
  expect(again.status).toBe(200);
  expect(await revision()).toBe(before);
  await sql.end();
});

test("a schema whose references would lead elsewhere within the OpenAPI document is only served by itself", async () => {
  const nested = { properties: { a: { $id: "inner", properties: { b: { $ref: "#/$defs/q" } }, $defs: { q: text } } } };
  await registerVersions(url, "Nested", [nested]);
  await registerVersions(url, "Anchored", [{ $ref: "#here", $defs: { x: { ...text, $anchor: "here" } } }]);
  const { components } = (await send<{ components: { schemas: Record<string, unknown> } }>(`${url}/openapi.json`)).body;
  expect(components.schemas["Nested.v1"]).toEqual({ description: expect.stringContaining("serves it") });
  expect(components.schemas["Anchored.v1"]).toEqual({
    $ref: "#/components/schemas/Anchored.v1/$defs/x",
    $defs: { x: text },
  });
});
