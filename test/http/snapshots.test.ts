// Snapshots of streams over HTTP: the newest state, as JSON or as bytes, never going back.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { expectDocumented } from "../support/openapi.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

type Saved = { offset: string; recordedtime: string; by: string };
type Snapshot = Saved & { state: unknown };

const path = "/api/streams/{name}/snapshot";
const urlOf = (stream: string, query = "") => `${service.url}${path.replace("{name}", stream)}${query}`;

function put(stream: string, body: string | Uint8Array, contentType = "application/json", query = "") {
  return send<Saved>(urlOf(stream, query), { method: "PUT", headers: { "content-type": contentType }, body });
}
const putState = (stream: string, offset: unknown, state: unknown) => put(stream, JSON.stringify({ offset, state }));
const get = (stream: string, query = "") => send<Snapshot>(urlOf(stream, query));
const fill = (stream: string, count: number) =>
  append(
    service.url,
    stream,
    Array.from({ length: count }, () => ({ type: "A" })),
  );

test("a state is saved at an offset, replaced by a newer one or one of the same offset, and never by an older one", async () => {
  await fill("forward", 10);
  const first = await putState("forward", "3", { total: 3 });
  expect([first.status, first.headers.get("etag")]).toEqual([201, '"3"']);
  expect(first.body).toEqual({ offset: "3", recordedtime: expect.any(String), by: "client" });
  expect((await putState("forward", 7, { total: 7 })).status).toBe(200);
  expect((await putState("forward", "7", { total: 7, more: true })).status).toBe(200);
  const problem = expectProblem(await putState("forward", "6", { total: 6 }), 409, "snapshot-outdated");
  expect(problem).toMatchObject({ stream: "forward", offset: "7" });
  const found = await get("forward");
  expect(found.headers.get("etag")).toBe('"7"');
  expect(found.body).toEqual({
    offset: "7",
    state: { total: 7, more: true },
    recordedtime: expect.any(String),
    by: "client",
  });
});

test("of snapshots that are put at once the newest stays", async () => {
  await fill("raced", 40);
  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => putState("raced", String((n * 7) % 40), n)));
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
  for (const { status } of answers) expect([200, 201, 409]).toContain(status);
  expect((await get("raced")).body).toMatchObject({
    offset: "39",
    state: answers.findIndex((_, n) => (n * 7) % 40 === 39),
  });
});

test("a state is given back with the digits and escapes it came with", async () => {
  await fill("exact", 1);
  const state = '{"big":123456789012345678901234567890,"tiny":1.10e-7,"text":"\\u00e9\\/"}';
  expect((await put("exact", `{"state" : 1, "state": ${state} , "offset":"0"}`)).status).toBe(201);
  expect((await get("exact")).text).toContain(`"state":${state},`);
  for (const value of ["null", "0", '""', "[]", "false"]) {
    expect((await put("exact", `{"offset":"0","state":${value}}`)).status).toBe(200);
    expect((await get("exact")).text).toContain(`"state":${value},`);
  }
});

test("bytes are given back as they are, with their media type, and nothing that a browser would run", async () => {
  await fill("bytes", 5);
  const bytes = Uint8Array.from({ length: 300 }, (_, n) => n % 256);
  const type = 'text/html; charset="utf-8"';
  expect((await put("bytes", bytes, type, "?offset=4")).status).toBe(201);
  const response = await fetch(urlOf("bytes"));
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
  expect(response.headers.get("content-type")).toBe(type);
  expect(response.headers.get("etag")).toBe('"4"');
  expect(response.headers.get("snapshot-offset")).toBe("4");
  expect(response.headers.get("snapshot-by")).toBe("client");
  expect(Date.parse(response.headers.get("snapshot-recorded-time") ?? "")).toBeGreaterThan(0);
  expect(response.headers.get("content-security-policy")).toBe("sandbox");
  // JSON takes the place of bytes, and bytes that of JSON.
  expect((await putState("bytes", "4", "json")).status).toBe(200);
  expect((await get("bytes")).body.state).toBe("json");
  expect((await put("bytes", "", "application/x-none", "?offset=4")).status).toBe(200);
  expect((await get("bytes")).text).toBe("");
});

test("an offset that the stream has not come to is refused, and so is a stream that is not there", async () => {
  await fill("short", 2);
  const problem = expectProblem(await putState("short", "2", {}), 409, "cursor-beyond-head");
  expect(problem).toMatchObject({ cursor: "2", head: "1" });
  expectProblem(await putState("nowhere", "0", {}), 404, "stream-not-found");
  expectProblem(await get("nowhere"), 404, "stream-not-found");
  expectProblem(await get("short"), 404, "snapshot-not-found");
  await send(`${service.url}/api/streams/empty`, { method: "PUT" });
  expectProblem(await putState("empty", "0", {}), 409, "cursor-beyond-head");
});

test("a deleted stream takes its snapshots along, and its name begins without one", async () => {
  await fill("deleted", 3);
  await putState("deleted", "2", "old");
  await send(`${service.url}/api/streams/deleted`, { method: "DELETE" });
  expectProblem(await get("deleted"), 404, "stream-not-found");
  await fill("deleted", 2);
  expectProblem(await get("deleted"), 404, "snapshot-not-found");
  const problem = expectProblem(await putState("deleted", "2", "old"), 409, "snapshot-outdated");
  expect(problem.offset).toBe("2");
  expect((await putState("deleted", "3", "new")).status).toBe(201);
  expect((await get("deleted")).body).toMatchObject({ offset: "3", state: "new" });
});

test("what is no snapshot is refused with what is wrong", async () => {
  await fill("wrong", 1);
  const cases: [body: string, path: string][] = [
    ["{}", "/offset"],
    ['{"offset":"0"}', "/state"],
    ['{"offset":"-1","state":1}', "/offset"],
    ['{"offset":1.5,"state":1}', "/offset"],
    ['{"offset":1e300,"state":1}', "/offset"],
    ['{"offset":"0","state":1,"by":"me"}', "/by"],
    ['{"offset":"0","state":"\\u0000"}', "/state"],
    ["[]", ""],
    ["", "/offset"],
  ];
  for (const [body, at] of cases) {
    const { errors } = expectProblem(await put("wrong", body), 422, "invalid-request");
    expect((errors as { path: string }[]).map((error) => error.path)).toContain(at);
  }
  expectProblem(await put("wrong", "{"), 400, "malformed-body");
  const deep = `{"offset":"0","state":${"[".repeat(200)}${"]".repeat(200)}}`;
  expectProblem(await put("wrong", deep), 400, "malformed-body");
  expectProblem(await put("wrong", `"${"x".repeat(1_100_000)}"`), 413, "body-too-large");
  const refused: [type: string, query: string][] = [
    ["application/json", "?offset=0"],
    ["application/octet-stream", ""],
    ["application/octet-stream", "?offset=x"],
    ["application/octet-stream", "?offset=-1"],
    ["none", "?offset=0"],
    [`text/plain; a="${"b".repeat(300)}"`, "?offset=0"],
  ];
  for (const [type, query] of refused)
    expectProblem(await put("wrong", '{"offset":"0","state":1}', type, query), 400, "invalid-parameter");
  expectProblem(await get("wrong", "?by=me"), 400, "invalid-parameter");
});

test("the answers are documented", async () => {
  await fill("documented", 1);
  const json = { "content-type": "application/json" };
  const body = '{"offset":"0","state":[1]}';
  for (const status of [201, 200]) {
    const response = await fetch(urlOf("documented"), { method: "PUT", headers: json, body });
    expect(response.status).toBe(status);
    await expectDocumented("PUT", path, response);
  }
  await expectDocumented("GET", path, await fetch(urlOf("documented", "?by=client")));
  const missing = await fetch(urlOf("documented", "?by=decider:none"));
  expect(missing.status).toBe(404);
  await expectDocumented("GET", path, missing);
});
