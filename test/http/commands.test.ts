// Commands over HTTP: what they store, what they refuse, what a broken handler comes to, and what repeating one does.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, readAll, send } from "../support/client.ts";
import { calls, gates, late } from "../support/modules/commands.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type Service, startService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const modules = new URL("../support/modules/commands.ts", import.meta.url).pathname;
let services: Service[];
let url: string;
let otherUrl: string;
beforeAll(async () => {
  const DATABASE_URL = await createTestDatabase();
  services = [];
  for (let n = 0; n < 2; n++) services.push(await startService({ MODULES: modules, DATABASE_URL }));
  [url, otherUrl] = services.map((service) => service.url) as [string, string];
});
afterAll(async () => {
  for (const service of services) await service.stop();
});

type Outcome = {
  workflowId: string;
  isNew: boolean;
  result: unknown;
  events: { stream: string; offset: string; id: string }[];
};
const run = <Body = Outcome>(name: string, body: unknown, headers: Record<string, string> = {}, at = url, query = "") =>
  send<Body>(`${at}/api/commands/${name}${query}`, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
const workflow = async (id: string, query = "") =>
  (await send<{ events: Envelope[] }>(`${url}/api/workflows/${encodeURIComponent(id)}/events${query}`)).body.events;
const lengthOf = async (stream: string) => (await readAll(url, stream)).length;

test("a command stores its events with the workflow, the command and its attributes, and answers where they are", async () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const { status, body, headers } = await run("note", { text: "hello", n: 3 }, { traceparent });
  expect(status).toBe(201);
  expect(body).toMatchObject({ isNew: true, result: { length: 5 }, events: [{ stream: "notes" }] });
  expect(headers.get("location")).toBe(`/api/workflows/${body.workflowId}/events`);
  const events = (await send<{ events: Envelope[] }>(url + headers.get("location"))).body.events;
  expect(events).toHaveLength(1);
  const [{ id = "", offset = "" } = {}] = body.events;
  expect(events[0]).toMatchObject({
    ...{ id, offset, type: "Noted", schemaversion: "1", source: "/sluice/streams/notes", subject: "hello" },
    ...{ partitionkey: "k3", mood: "good", correlationid: body.workflowId, traceparent, data: { text: "hello", n: 3 } },
  });
  expect(events[0]?.causationid).toBeString();
});

test("a workflow goes on under its id, given in the query or by the header, or begins under a chosen one", async () => {
  const first = await run("note", { text: "a", n: 1 });
  const id = first.body.workflowId;
  const second = await run("note", { text: "b", n: 2 }, { "workflow-id": id });
  const third = await run("note", { text: "c", n: 3 }, {}, otherUrl, `?workflowid=${id}`);
  expect([second.body, third.body]).toMatchObject([
    { workflowId: id, isNew: false },
    { workflowId: id, isNew: false },
  ]);
  expect((await workflow(id)).map((event) => (event.data as { text: string }).text)).toEqual(["a", "b", "c"]);
  const causes = (await workflow(id)).map((event) => event.causationid);
  expect(new Set(causes).size).toBe(3);
  const chosen = await run("note", { text: "d", n: 4 }, { "workflow-id": "cart of café 7" });
  expect(chosen.body).toMatchObject({ workflowId: "cart of café 7", isNew: true });
  expect(chosen.headers.get("location")).toBe("/api/workflows/cart%20of%20caf%C3%A9%207/events");
  expect(await workflow("cart of café 7")).toHaveLength(1);
  expectProblem(
    await run("note", { text: "e", n: 5 }, { "workflow-id": "x" }, url, "?workflowid=y"),
    400,
    "invalid-parameter",
  );
  expectProblem(await run("note", { text: "e", n: 5 }, { "workflow-id": "x".repeat(257) }), 400, "invalid-parameter");
  expectProblem(await run("note", { text: "e", n: 5 }, {}, url, "?workflow=y"), 400, "invalid-parameter");
});

test("a workflow is read, replayed and followed like the log, by its own events only", async () => {
  const id = (await run("note", { text: "one", n: 1 })).body.workflowId;
  const stream = await openEventStream(`${url}/api/workflows/${id}/events?from=beginning`);
  const texts = () =>
    stream.frames.filter(({ event }) => event === null).map(({ data }) => JSON.parse(data as string).data.text);
  await until("its history came", () => texts().length === 1);
  await run("note", { text: "of another", n: 1 });
  await run("spread", { streams: ["elsewhere"], text: "two" }, { "workflow-id": id });
  await until("what is new came", () => texts().length === 2);
  expect(texts()).toEqual(["one", "two"]);
  stream.close();
  const replay = await fetch(`${url}/api/workflows/${id}/events`, { headers: { accept: "application/x-ndjson" } });
  expect((await replay.text()).trim().split("\n")).toHaveLength(2);
  expect(await workflow(id, "?types=Other")).toEqual([]);
  expect(await workflow("there-is-none")).toEqual([]);
  expectProblem(await send(`${url}/api/workflows/${id}/events?correlation=x`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/api/workflows/${id}/events?stream=x`), 400, "invalid-parameter");
  expectProblem(await send(`${url}/api/workflows/${"x".repeat(257)}/events`), 400, "invalid-parameter");
});

test("events of several streams are stored in the order in which they were emitted, all or none", async () => {
  const { body } = await run("spread", { streams: ["s-b", "s-a", "s-b", "s-b"], text: "x" });
  expect(body.events.map(({ stream, offset }) => [stream, offset])).toEqual([
    ["s-b", "0"],
    ["s-a", "0"],
    ["s-b", "1"],
    ["s-b", "2"],
  ]);
  const numbers = (await workflow(body.workflowId)).map((event) => (event.data as { n: number }).n);
  expect(numbers).toEqual([0, 1, 2, 3]);
  // What is refused for one stream is not stored in the others.
  await send(`${url}/api/streams/strict`, { method: "PUT", body: '{"validation":"enforce"}' });
  await append(url, "strict", { type: "Noted", data: { text: "a", n: 1 } });
  expect((await run("spread", { streams: ["s-c", "strict"], text: "fits" })).status).toBe(201);
  expectProblem(await run("spread", { streams: ["s-c", "strict", "s-d"], text: "" }), 500, "command-failed");
  expect([await lengthOf("s-c"), await lengthOf("strict"), await lengthOf("s-d")]).toEqual([1, 2, 0]);
});

test("a body that does not fit is refused with all its paths, and nothing is called", async () => {
  const before = calls.count;
  const problem = expectProblem(await run("note", { text: "", n: "x", more: 1 }), 422, "invalid-request");
  expect((problem.errors as { path: string }[]).map(({ path }) => path).sort()).toEqual(["/more", "/n", "/text"]);
  const missing = expectProblem(await run("note", ""), 422, "invalid-request");
  expect((missing.errors as { path: string }[]).map(({ path }) => path).sort()).toEqual(["/n", "/text"]);
  expectProblem(await run("note", "[1"), 400, "malformed-body");
  expectProblem(await run("note", "[]"), 422, "invalid-request");
  expectProblem(await run("note", "[".repeat(100_000) + "]".repeat(100_000)), 400, "malformed-body");
  expectProblem(await run("nobody", {}), 404, "command-not-found");
  expectProblem(await send(`${url}/api/commands/note`), 405, "method-not-allowed");
  expectProblem(await run("note", `{"text":"${"x".repeat(1_100_000)}","n":1}`), 413, "body-too-large");
  expect(calls.count).toBe(before);
});

test("a command that refuses says why, and stores nothing", async () => {
  const before = await lengthOf("notes");
  const problem = expectProblem(await run("note", { text: "a", n: -1 }), 409, "command-rejected");
  expect(problem).toMatchObject({ detail: "Notes have no negative numbers", command: "note", details: { n: -1 } });
  expect(await lengthOf("notes")).toBe(before);
});

test.each([
  ["throws", /its handler threw an error/],
  ["hangs", /did not finish within 150 ms/],
  ["late", /did not finish within 150 ms/],
  ["result", /result refuses: \/ok must be boolean/],
  ["event", /emitted Noted, which its schema refuses: .*\/text/],
  ["nul", /emitted Noted to notes, which cannot be stored: \/data/],
  ["stream", /emitted Noted to a stream that has no valid name/],
  ["many", /at most 1000 events/],
  ["twice", /emitted two events of the id same to notes/],
  ["large", /cannot be stored: .*bytes, and 1048576 are allowed/],
  ["bigint", /returned what is no JSON: \/more is a bigint/],
  ["aborts", /its handler threw an error/],
  ["textless", /its handler threw an error/],
])(
  "a handler that breaks (%s) is a failure of the service that tells no secrets, and stores nothing",
  async (how, detail) => {
    const before = await lengthOf("notes");
    const answer = await run("broken", { how });
    const problem = expectProblem(answer, 500, "command-failed");
    expect(problem.detail).toMatch(detail);
    expect(answer.text).not.toContain("secret");
    if (how === "late") await until("it was told", () => late.length === 1);
    expect(await lengthOf("notes")).toBe(before);
    expect((await run("broken", { how: "not" })).body.result).toEqual({ ok: true });
  },
);

test("a refusal whose details are no JSON is told without them", async () => {
  const problem = expectProblem(await run("refusing", {}), 409, "command-rejected");
  expect(problem).toMatchObject({ detail: "It has its reasons", details: {} });
});

test("the same key and the same request are answered as before, by every process, and nothing happens twice", async () => {
  const before = calls.count;
  const key = { "idempotency-key": "twice" };
  const first = await run("note", { text: "once", n: 1 }, key);
  const second = await run("note", { text: "once", n: 1 }, key, otherUrl);
  expect([second.status, second.body]).toEqual([201, first.body]);
  expect(calls.count).toBe(before + 1);
  expectProblem(await run("note", { text: "other", n: 1 }, key), 422, "idempotency-key-reused");
  expectProblem(
    await run("note", { text: "once", n: 1 }, { ...key, "workflow-id": "w" }),
    422,
    "idempotency-key-reused",
  );
  // The key of another command is another key.
  expect((await run("silent", {}, key)).status).toBe(200);
  expectProblem(await run("note", { text: "a", n: 1 }, { "idempotency-key": "a b" }), 400, "invalid-parameter");
});

test("a command that emits nothing is remembered by its key, too", async () => {
  const key = { "idempotency-key": "silent" };
  const first = await run("silent", {}, key);
  expect([first.status, first.body.events]).toEqual([200, []]);
  expect((await run("silent", {}, key, otherUrl)).body).toEqual(first.body);
  expect((await run("silent", {})).body.result).not.toEqual(first.body.result);
});

test("a key whose request is running is refused by its process; on two processes one of them is stored, and both are told the same", async () => {
  const before = await lengthOf("notes");
  const key = { "idempotency-key": "running" };
  const first = run("gated", {}, key);
  await until("it runs", () => gates.length === 1);
  expectProblem(await run("gated", {}, key), 409, "idempotency-key-in-use");
  const second = run("gated", {}, key, otherUrl);
  await until("both run", () => gates.length === 2);
  for (const open of gates.splice(0)) open();
  const [a, b] = await Promise.all([first, second]);
  expect(a.body).toEqual(b.body);
  expect(await lengthOf("notes")).toBe(before + 1);
});

test("a request that a refusal answered can be made again with its key", async () => {
  const key = { "idempotency-key": "refused" };
  expectProblem(await run("note", { text: "a", n: -1 }, key), 409, "command-rejected");
  expect((await run("note", { text: "a", n: 1 }, key)).status).toBe(201);
});

test("commands are listed with their schemas, and each is an operation of the document", async () => {
  type Listed = { name: string; description: string | null; body: { properties: object }; result: unknown };
  const { body } = await send<{ commands: Listed[] }>(`${url}/api/commands`);
  expect(body.commands.map(({ name }) => name)).toEqual(["broken", "gated", "note", "refusing", "silent", "spread"]);
  const listed = body.commands.find(({ name }) => name === "note");
  expect(listed).toMatchObject({ description: "Takes a note", result: { required: ["length"] } });
  type Operation = { summary: string; requestBody: { content: { "application/json": { schema: unknown } } } };
  const document = await send<{ paths: Record<string, { post: Operation }> }>(`${url}/openapi.json`);
  const operation = document.body.paths["/api/commands/note"]?.post as Operation;
  expect(operation.summary).toBe("Takes a note");
  expect(operation.requestBody.content["application/json"].schema).toEqual(listed?.body);
});

test("while the database is away, a command is told so, with a key and in a workflow too; and goes on when it is back", async () => {
  const databaseUrl = new URL(services[0]?.databaseUrl as string);
  const proxy = await startTcpProxy(Number(databaseUrl.port));
  databaseUrl.port = String(proxy.port);
  const service = await startService({ MODULES: modules, DATABASE_URL: databaseUrl.href });
  const note = (headers: Record<string, string>) => run("note", { text: "away", n: 1 }, headers, service.url);
  try {
    await proxy.set("refuse");
    proxy.cut();
    for (const headers of [{}, { "idempotency-key": "away" }, { "workflow-id": "away" }] as Record<string, string>[]) {
      const { status, text } = await note(headers);
      expect({ status, text }).toEqual({
        status: 503,
        text: expect.stringMatching(/"\/problems\/(storage-unavailable|outcome-unknown)"/),
      });
    }
    await proxy.set("pass");
    await until("it is back", async () => (await note({ "idempotency-key": "away" })).status === 201);
  } finally {
    await service.stop();
    await proxy.stop();
  }
});
