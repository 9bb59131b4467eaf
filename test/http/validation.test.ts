// Validation on append: what a stream enforces holds for every event of every process from the answer on.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, readAll, send } from "../support/client.ts";
import { put } from "../support/consume.ts";
import { number, object, registerVersions, text } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
let other: Service;
let url: string;
// Two processes on one database.
beforeAll(async () => {
  service = await startService();
  other = await startService({ DATABASE_URL: service.databaseUrl });
  url = service.url;
});
afterAll(async () => {
  await other.stop();
  await service.stop();
});

let names = 0;
/** A type of two versions and a stream that validates. */
async function validating(validation: string | null) {
  const type = `Order${++names}`;
  await registerVersions(url, type, [
    {
      ...object({ id: text, lines: { type: "array", items: object({ "a/b": number }) } }),
      additionalProperties: false,
    },
    { schema: object({ id: number }), upcast: { language: "jsonata", expression: '{"id": 1}' } },
  ]);
  if (validation !== null) await put(`${url}/api/streams/${type}`, { validation });
  return { type, valid: { type, data: { id: "1", lines: [] } }, invalid: { type, data: { id: 1, lines: [] } } };
}
const configure = (base: string, stream: string, validation: string) =>
  put(`${base}/api/streams/${stream}`, { validation });
const errorsOf = async (stream: string, body: unknown) =>
  expectProblem(await append(url, stream, body), 422, "schema-mismatch").errors;
const stored = async (stream: string) => (await readAll(url, stream)).map((event) => event.data);

test("a stream that does not validate, or only warns, stores what does not match", async () => {
  for (const validation of [null, "off", "warn"]) {
    const { type, invalid } = await validating(validation);
    expect((await append(url, type, [invalid, { type: "Unheard", data: 1 }])).status).toBe(201);
    expect(await stored(type)).toEqual([invalid.data, 1]);
    const described = await send<{ validation: string }>(`${url}/api/streams/${type}`);
    expect(described.body.validation).toBe(validation ?? "off");
  }
  expectProblem(await configure(url, "no-such-mode", "strict"), 422, "invalid-configuration");
});

test("a stream that enforces stores what matches, and refuses the rest with every place where it does not", async () => {
  const { type, valid } = await validating("enforce");
  expect((await append(url, type, valid)).status).toBe(201);
  const wrong = { type, data: { lines: [{ "a/b": 1 }, { "a/b": "x" }, {}], more: 1 } };
  const errors = (await errorsOf(type, wrong)) as { path: string; message: string }[];
  expect(errors.map(({ path, message }) => `${path} ${message}`).sort()).toEqual([
    "/data/id is required",
    "/data/lines/1/a~1b must be number",
    "/data/lines/2/a~1b is required",
    "/data/more is not allowed",
  ]);
  expect(await stored(type)).toEqual([valid.data]);
});

test("of an array nothing is stored, and the places name the event", async () => {
  const { type, valid, invalid } = await validating("enforce");
  expect(await errorsOf(type, [valid, invalid, valid, { ...valid, data: [] }])).toEqual([
    { path: "/1/data/id", message: "must be string" },
    { path: "/3/data", message: "must be object" },
  ]);
  expect(await errorsOf(type, [invalid])).toEqual([{ path: "/0/data/id", message: "must be string" }]);
  expect((await append(url, type, [valid, valid])).body.firstOffset).toBe("0");
});

test("a refusal names at most twenty places, however many there are", async () => {
  const { type, invalid } = await validating("enforce");
  expect(await errorsOf(type, Array(1_000).fill(invalid))).toHaveLength(20);
});

test("events are held to the version that they name, and to the first when they name none", async () => {
  const { type, invalid } = await validating("enforce");
  expect((await append(url, type, { ...invalid, schemaversion: "2" })).status).toBe(201);
  expect(await errorsOf(type, { ...invalid, schemaversion: "1" })).toMatchObject([{ path: "/data/id" }]);
  expect(await errorsOf(type, { ...invalid, schemaversion: "3" })).toEqual([
    { path: "/schemaversion", message: `${type} has versions 1 to 2` },
  ]);
  expect(await errorsOf(type, { type: "Unheard", data: 1 })).toEqual([
    { path: "/type", message: "Unheard has no schema" },
  ]);
});

test("events without data and with binary data do not match any schema", async () => {
  const { type } = await validating("enforce");
  await registerVersions(url, `${type}Any`, [true]);
  expect(await errorsOf(type, { type: `${type}Any` })).toEqual([{ path: "/data", message: "is required" }]);
  const binary = { type: `${type}Any`, datacontenttype: "text/plain", data_base64: "eA==" };
  expect(await errorsOf(type, binary)).toEqual([{ path: "/data", message: "must be JSON" }]);
  expect((await append(url, type, { type: `${type}Any`, data: null })).status).toBe(201);
});

test("what was stored before the stream enforced can be repeated, and answers as it did", async () => {
  const { type, invalid, valid } = await validating(null);
  const named = { ...invalid, id: "named" };
  const byId = await append(url, type, named);
  const byKey = await append(url, type, invalid, { "idempotency-key": `${type}-key` });
  await configure(url, type, "enforce");
  const again = await append(url, type, named);
  expect([again.status, again.body.events]).toEqual([200, [{ id: "named", offset: "0", duplicate: true }]]);
  const keyed = await append(url, type, invalid, { "idempotency-key": `${type}-key` });
  expect([keyed.status, keyed.body]).toEqual([byKey.status, byKey.body]);
  expect(byId.body.lastOffset).toBe("0");
  // With a new event beside it, it is judged with that.
  expectProblem(await append(url, type, [named, { ...valid, id: "new" }]), 422, "schema-mismatch");
  expect(await stored(type)).toEqual([invalid.data, invalid.data]);
});

test("a refused append takes neither its key nor its ids", async () => {
  const { type, valid, invalid } = await validating("enforce");
  const refused = await append(url, type, { ...invalid, id: "x" }, { "idempotency-key": `${type}-k` });
  expectProblem(refused, 422, "schema-mismatch");
  expect((await append(url, type, { ...valid, id: "x" }, { "idempotency-key": `${type}-k` })).status).toBe(201);
});

test("what one process was told to enforce, another enforces from the answer on, and the other way round", async () => {
  for (let round = 0; round < 10; round++) {
    const { type, invalid, valid } = await validating(null);
    expect((await append(other.url, type, invalid)).status).toBe(201);
    expect((await configure(url, type, "enforce")).status).toBe(200);
    expectProblem(await append(other.url, type, invalid), 422, "schema-mismatch");
    expect((await append(other.url, type, valid)).status).toBe(201);
    expect((await configure(url, type, "off")).status).toBe(200);
    expect((await append(other.url, type, invalid)).status).toBe(201);
    expect(await stored(type)).toHaveLength(3);
  }
});

test("a version that one process has registered is enforced by another at once", async () => {
  for (let round = 0; round < 10; round++) {
    const type = `Fresh${++names}`;
    await configure(url, type, "enforce");
    expectProblem(await append(other.url, type, { type, data: 1 }), 422, "schema-mismatch");
    await registerVersions(url, type, [{ type: "number" }]);
    expect((await append(other.url, type, { type, data: 1 })).status).toBe(201);
    expectProblem(await append(other.url, type, { type, data: "x" }), 422, "schema-mismatch");
  }
});

test("a queue validates what is put into it, too", async () => {
  const { type, valid, invalid } = await validating(null);
  await put(`${url}/api/streams/${type}-queue`, { type: "ephemeral", validation: "enforce" });
  expectProblem(await append(url, `${type}-queue`, invalid), 422, "schema-mismatch");
  expect((await append(url, `${type}-queue`, valid)).status).toBe(201);
});

test("a stream that was deleted forgets its validation", async () => {
  const { type, invalid, valid } = await validating("enforce");
  await append(url, type, valid);
  expect((await send(`${url}/api/streams/${type}`, { method: "DELETE" })).status).toBe(204);
  expect((await append(other.url, type, invalid)).status).toBe(201);
  expect((await append(url, type, invalid)).status).toBe(201);
});

test("what is appended while the stream changes its mind is judged by one mind or the other", async () => {
  const { type, invalid, valid } = await validating(null);
  await configure(url, type, "off");
  const writers = [url, other.url].flatMap((base) =>
    Array.from({ length: 4 }, async () => {
      const seen: number[] = [];
      for (let n = 0; n < 30; n++) seen.push((await append(base, type, n % 2 === 0 ? invalid : valid)).status);
      return seen;
    }),
  );
  for (let n = 0; n < 20; n++)
    expect((await configure([url, other.url][n % 2] as string, type, n % 2 === 0 ? "enforce" : "off")).status).toBe(
      200,
    );
  const statuses = (await Promise.all(writers)).flat();
  expect(statuses.filter((status) => status !== 201 && status !== 422)).toEqual([]);
  expect(statuses.filter((_, n) => n % 2 === 1).every((status) => status === 201)).toBeTrue();
  expect(await stored(type)).toHaveLength(statuses.filter((status) => status === 201).length);
});

test("concurrent appends to streams that validate and streams that do not each have their own outcome", async () => {
  const strict = await validating("enforce");
  const lax = await validating(null);
  const warned = await validating("warn");
  const appends = Array.from({ length: 90 }, async (_, n) => {
    const stream = [strict, lax, warned][n % 3] as typeof strict;
    const isValid = n % 2 === 0;
    const { status } = await append([url, other.url][n % 2] as string, stream.type, {
      ...(isValid ? stream.valid : stream.invalid),
      id: `e-${n}`,
    });
    expect(status).toBe(isValid || stream !== strict ? 201 : 422);
  });
  await Promise.all(appends);
  const ids = async (stream: string) =>
    new Set((await readAll(url, stream)).map(({ id }: Envelope) => Number(id.slice(2))));
  const wanted = (rest: number) => Array.from({ length: 90 }, (_, n) => n).filter((n) => n % 3 === rest);
  expect(await ids(strict.type)).toEqual(new Set(wanted(0).filter((n) => n % 2 === 0)));
  expect(await ids(lax.type)).toEqual(new Set(wanted(1)));
  expect(await ids(warned.type)).toEqual(new Set(wanted(2)));
});

test("the data of one event in binary mode are named as one, also where they are an array", async () => {
  const type = "Listed";
  await registerVersions(url, type, [{ type: "array", items: { type: "string" } }]);
  await configure(url, type, "enforce");
  const headers = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-type": type,
    "ce-source": "/x",
    "ce-id": "1",
  };
  const answer = await send(`${url}/api/streams/${type}/events`, { method: "POST", headers, body: "[1]" });
  expect(expectProblem(answer, 422, "schema-mismatch").errors).toEqual([
    { path: "/data/0", message: "must be string" },
  ]);
});
