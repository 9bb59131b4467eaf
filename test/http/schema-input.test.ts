// What the schema registry is given over HTTP: odd names, wrong bodies, and schemas that are hostile or huge.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { post, put } from "../support/consume.ts";
import {
  jsonata,
  preview,
  proposeVersion,
  registerVersions,
  removeVersion,
  type TypeBody,
  typeUrl,
  type Version,
  versionUrl,
} from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";

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
const historyOf = async (type: string) => (await get<{ changes: unknown[] }>(`${typeUrl(url, type)}/history`)).body;

/** Refused, and with a place; nothing of it is there. */
async function expectRefused(schema: unknown, path: string, message: RegExp) {
  const type = newType();
  const problem = expectProblem(await proposeVersion(url, type, 1, { schema }), 422, "invalid-schema");
  expect(problem.errors).toEqual([{ path, message: expect.stringMatching(message) }]);
  expectProblem(await get(typeUrl(url, type)), 404, "schema-not-found");
}

/** A type with this schema, and a stream that enforces it; null where the schema is refused. */
async function enforced(schema: unknown): Promise<{ type: string; stream: string } | null> {
  const type = newType();
  const stream = `enforced-${type}`;
  const answer = await proposeVersion(url, type, 1, { schema });
  if (answer.status === 422) return null;
  expect(answer.status).toBe(201);
  await put(`${url}/api/streams/${stream}`, { validation: "enforce" });
  return { type, stream };
}

test("types with odd characters are registered, served and deleted like others", async () => {
  for (const type of [
    "a/b",
    "a b+c&d=e?f#g",
    "Größe 😀",
    "100%",
    "a%2Fb",
    'quo"te\\',
    "..a",
    "a@2",
    "versions",
    "<x>",
  ]) {
    await registerVersions(url, type, [{ title: type }]);
    expect((await get<TypeBody>(typeUrl(url, type))).body.type).toBe(type);
    expect((await get(versionUrl(url, type, 1))).body).toMatchObject({ type, schema: { title: type } });
    expect((await historyOf(type)).changes).toHaveLength(1);
    expect((await preview(url, type, { data: 1 })).body.type).toBe(type);
    expect((await removeVersion(url, type, 1)).status).toBe(204);
    expectProblem(await get(typeUrl(url, type)), 404, "schema-not-found");
  }
  for (const type of ["sluice.own", "a\u0001b", "x".repeat(257)])
    expectProblem(await proposeVersion(url, type, 1, { schema: {} }), 400, "invalid-parameter");
});

test("what is not there is not found, and what is no version or no parameter is refused", async () => {
  const type = newType();
  expectProblem(await get(versionUrl(url, type, 1)), 404, "schema-not-found");
  expectProblem(await get(`${typeUrl(url, type)}/history`), 404, "schema-not-found");
  expectProblem(await removeVersion(url, type, 1), 404, "schema-not-found");
  expectProblem((await preview(url, type, { data: {} })) as never, 404, "schema-not-found");
  await registerVersions(url, type, [{}]);
  expectProblem(await get(versionUrl(url, type, 2)), 404, "schema-not-found");
  for (const version of ["0", "-1", "1.0", "01", "x", "1000000000"])
    expectProblem(await get(`${typeUrl(url, type)}/versions/${version}`), 400, "invalid-parameter");
  for (const query of ["?as=java", "?as=typescript&as=typescript", "?full=true"])
    expectProblem(await get(versionUrl(url, type, 1) + query), 400, "invalid-parameter");
  for (const query of ["prefix=%00", "after=a%00", "limit=0", "limit=1001", "type=x"])
    expectProblem(await get(`${url}/api/schemas?${query}`), 400, "invalid-parameter");
  expect((await get(`${url}/api/schemas?prefix=&after=`)).status).toBe(200);
  for (const query of ["after=-1", "after=1e1", "after=x", "limit=0"])
    expectProblem(await get(`${typeUrl(url, type)}/history?${query}`), 400, "invalid-parameter");
  expectProblem(await proposeVersion(url, type, 2, { schema: {} }, "?dryRun=yes"), 400, "invalid-parameter");
  expectProblem(await post(versionUrl(url, type, 1)), 405, "method-not-allowed");
  expectProblem(await send(typeUrl(url, type), { method: "DELETE" }), 405, "method-not-allowed");
});

test("bodies that are none are refused with the places where they are wrong", async () => {
  const type = newType();
  const path = versionUrl(url, type, 1);
  const malformed = ["{", '{"schema": "\\ud800"}', '{"schema": {"a\\u0000": 1}}', '{"schema":{"const":1e999999}}'];
  for (const body of [...malformed, `{"schema":${'{"not":'.repeat(2_000)}{}${"}".repeat(2_000)}}`])
    expectProblem(await send(path, { method: "PUT", body }), 400, "malformed-body");
  const wrong: [unknown, string, string][] = [
    [{}, "/schema", "invalid-request"],
    [[], "", "invalid-request"],
    [{ schema: {}, compatibility: "full" }, "/compatibility", "invalid-request"],
    [{ schema: {}, description: 1 }, "/description", "invalid-request"],
    [{ schema: {}, upcast: { ...jsonata("$"), from: 1 } }, "/upcast/from", "invalid-request"],
    [{ schema: {}, upcast: { language: "javascript", expression: "1" } }, "/upcast/language", "invalid-request"],
    [{ schema: {}, upcast: { language: "code" } }, "/upcast/language", "invalid-request"],
    [{ schema: {}, upcast: jsonata("$") }, "/upcast", "invalid-schema"],
    [{ schema: 1 }, "/schema", "invalid-schema"],
    [{ schema: null }, "/schema", "invalid-schema"],
    [{ schema: { type: "text" } }, "/schema/type", "invalid-schema"],
    [{ schema: { properties: { a: { minLength: -1 } } } }, "/schema/properties/a/minLength", "invalid-schema"],
  ];
  for (const [body, at, code] of wrong) {
    const problem = expectProblem(await put(path, body), 422, code);
    const paths = (problem.errors as { path: string }[]).map((error) => error.path);
    expect(
      paths.some((one) => one === at || one.startsWith(`${at}/`) || at.startsWith(one)),
      problem.detail,
    ).toBeTrue();
  }
  const errors = async (upcast: unknown) =>
    expectProblem(await proposeVersion(url, type, 2, { schema: {}, upcast }), 422, "invalid-schema").errors;
  await registerVersions(url, type, [{}]);
  expect(await errors(jsonata("{"))).toMatchObject([{ path: "/upcast/expression" }]);
  expect(await errors(jsonata("$now()"))).toMatchObject([{ path: "/upcast/expression" }]);
  expectProblem(await get(versionUrl(url, type, 2)), 404, "schema-not-found");
});

test("a schema that refers to anything outside itself is refused, and nothing is fetched", async () => {
  let fetched = 0;
  const elsewhere = Bun.serve({
    port: 0,
    fetch() {
      fetched++;
      return Response.json({ type: "string" });
    },
  });
  const remote = `http://127.0.0.1:${elsewhere.port}/schema.json`;
  const outside = /only references within the schema/;
  await expectRefused({ $ref: remote }, "/schema/$ref", outside);
  await expectRefused({ $defs: { a: { items: { $ref: remote } } } }, "/schema/$defs/a/items/$ref", outside);
  await expectRefused({ $dynamicRef: `${remote}#x` }, "/schema/$dynamicRef", outside);
  await expectRefused({ $id: remote, properties: { a: { $ref: "other.json" } } }, "/schema/properties/a/$ref", outside);
  await expectRefused({ $ref: "https://json-schema.org/draft/2020-12/schema" }, "/schema/$ref", outside);
  await expectRefused({ $ref: "file:///etc/passwd" }, "/schema/$ref", outside);
  await expectRefused({ $ref: "#/$defs/missing" }, "/schema", /missing/);
  await expectRefused({ $schema: remote }, "/schema/$schema", /must be .*2020-12/);
  await expectRefused({ $schema: "http://json-schema.org/draft-07/schema#" }, "/schema/$schema", /must be .*2020-12/);
  // With a base of its own a reference within the schema still leads into the schema.
  const based = await enforced({ $id: remote, properties: { a: { $ref: "#/$defs/a" } }, $defs: { a: { minimum: 1 } } });
  expect((await append(url, based?.stream as string, { type: based?.type, data: { a: 1 } })).status).toBe(201);
  expectProblem(
    await append(url, based?.stream as string, { type: based?.type, data: { a: 0 } }),
    422,
    "schema-mismatch",
  );
  await elsewhere.stop(true);
  expect(fetched).toBe(0);
});

test("a base of its own in a part of a schema leads nowhere outside, and disturbs no other schema", async () => {
  const schema = (minimum: number) => ({
    $id: "https://example.com/shared",
    $defs: { part: { $id: "part", $anchor: "n", minimum } },
    properties: { a: { $ref: "#/$defs/part" } },
  });
  const types = await Promise.all([1, 5].map((minimum) => enforced(schema(minimum))));
  for (const [n, made] of types.entries()) {
    const { type, stream } = made as { type: string; stream: string };
    expectProblem(await append(url, stream, { type, data: { a: 0 } }), 422, "schema-mismatch");
    expect((await append(url, stream, { type, data: { a: 3 } })).status).toBe(n === 0 ? 201 : 422);
  }
});

test("keywords that only the validator or the generator knows mean nothing", async () => {
  const schema = { $async: true, properties: { a: { type: "string", nullable: true } }, tsType: "any; evil()" };
  const { type, stream } = (await enforced({ ...schema, "x-b": { tsType: "evil()" } })) as {
    type: string;
    stream: string;
  };
  expect((await append(url, stream, { type, data: { a: "x" } })).status).toBe(201);
  for (const a of [1, null]) expectProblem(await append(url, stream, { type, data: { a } }), 422, "schema-mismatch");
  expect((await get(`${versionUrl(url, type, 1)}?as=typescript`)).text).not.toContain("evil");
});

test("a schema of almost a mebibyte is registered, served and enforced; a larger one is too large", async () => {
  const words = Array.from({ length: 20_000 }, (_, n) => `${n}`.padEnd(44, "x"));
  const schema = { properties: { word: { enum: words } } };
  const size = JSON.stringify({ schema }).length;
  expect(size).toBeGreaterThan(900_000);
  expect(size).toBeLessThan(1_048_576);
  const { type, stream } = (await enforced(schema)) as { type: string; stream: string };
  expect((await get(versionUrl(url, type, 1))).body.schema).toEqual(schema);
  expect((await append(url, stream, { type, data: { word: words[19_999] } })).status).toBe(201);
  expectProblem(await append(url, stream, { type, data: { word: "no" } }), 422, "schema-mismatch");
  expect((await registerNext(type, { properties: { word: { enum: [...words, "one more"] } } })).status).toBe(201);
  const larger = await proposeVersion(url, type, 3, { schema, description: "x".repeat(1_048_577 - size) });
  expectProblem(larger, 413, "body-too-large");
});
const registerNext = (type: string, schema: unknown) => proposeVersion(url, type, 2, { schema });

const chain = (combine: (next: object) => object) => ({
  ...combine({ $ref: "#/$defs/d0" }),
  $defs: Object.fromEntries(
    Array.from({ length: 60 }, (_, n) => [`d${n}`, n === 59 ? false : combine({ $ref: `#/$defs/d${n + 1}` })]),
  ),
});
const hostile: Record<string, [schema: unknown, data: unknown]> = {
  "that refers to itself without an end": [{ $ref: "#" }, {}],
  "whose parts refer to each other in a circle": [
    { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { allOf: [{ $ref: "#/$defs/a" }] } } },
    {},
  ],
  "whose alternatives double at every step": [chain((next) => ({ anyOf: [next, next] })), {}],
  "with a pattern that backtracks": [{ pattern: "^(([a-z])+.)+[A-Z]([a-z])+$" }, "a".repeat(50_000)],
  "with a pattern that is none": [{ pattern: "(" }, "a"],
  "of items that have to differ": [{ uniqueItems: true }, Array.from({ length: 30_000 }, (_, n) => ({ n }))],
  "with a number of things out of reach": [{ minItems: 1e300, pattern: "a{1000000000}", multipleOf: 1e-300 }, "a"],
};
for (const [what, [schema, data]] of Object.entries(hostile))
  test(`a schema ${what} is refused or bounded, and the service goes on`, async () => {
    const made = await enforced(schema);
    const hung = made === null ? null : append(url, made.stream, { type: made.type, data });
    const other = (await enforced({ type: "string" })) as { type: string; stream: string };
    expect((await append(url, other.stream, { type: other.type, data: "text" })).status).toBe(201);
    expectProblem(await append(url, other.stream, { type: other.type, data: 1 }), 422, "schema-mismatch");
    if (hung !== null) expect([201, 422]).toContain((await hung).status);
    expect((await get(`${url}/readyz`)).status).toBe(200);
  });
