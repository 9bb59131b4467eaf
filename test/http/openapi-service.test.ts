// The OpenAPI document against a running service: what is documented is served, and what is answered is documented.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { document, documented, documentText, expectDocumented, resolved } from "../support/openapi.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

type Headers = Record<string, string>;

const ofStream = "/api/streams/{name}";
const ofEvents = `${ofStream}/events`;
const json = { "content-type": "application/json" };

/** Sends a request to a documented path and checks the answer against the document. */
async function call(
  method: string,
  path: string,
  {
    name = "orders",
    query = "",
    headers = {},
    body,
  }: { name?: string; query?: string; headers?: Headers; body?: string } = {},
) {
  const url = `${service.url}${path.replace("{name}", name).replace("{offset}", "0")}${query}`;
  const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
  const value = await expectDocumented(method, path, response);
  return { status: response.status, headers: response.headers, value };
}

/** A problem that the document foresees. */
async function refused(expected: [status: number, code: string], ...request: Parameters<typeof call>): Promise<void> {
  const { status, value } = await call(...request);
  expect({ status, type: (value as { type?: string }).type }).toEqual({
    status: expected[0],
    type: `/problems/${expected[1]}`,
  });
}

test("the service serves the document that its routes make", async () => {
  const response = await fetch(`${service.url}/openapi.json`);
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(await response.text()).toBe(documentText);
  const etag = response.headers.get("etag") as string;
  expect((await fetch(`${service.url}/openapi.json`, { headers: { "if-none-match": etag } })).status).toBe(304);
});

test("each documented operation has a route", async () => {
  for (const { method, path } of documented) {
    const url = `${service.url}${path.replace("{name}", "nothing").replace("{offset}", "0").replace("{asset}", "page.js").replace("{code}", "overloaded")}`;
    const response = await fetch(url, { method, ...(method === "PUT" ? { body: "{}" } : {}) });
    const { type = "" } =
      /json/.test(response.headers.get("content-type") ?? "") && method !== "HEAD"
        ? ((await response.json()) as { type?: string })
        : {};
    expect({ method, path, type }).not.toMatchObject({ type: "/problems/not-found" });
    expect({ method, path, type }).not.toMatchObject({ type: "/problems/method-not-allowed" });
  }
});

test("every example of an append is accepted", async () => {
  const operation = document.paths[ofEvents]?.post;
  const binary = Object.fromEntries(
    (operation?.parameters ?? [])
      .map(resolved)
      .filter((parameter) => parameter.name?.startsWith("ce-"))
      .map((parameter) => [parameter.name as string, parameter.schema?.examples?.[0] as string]),
  );
  let appended = 0;
  for (const [mediaType, { examples }] of Object.entries(operation?.requestBody?.content ?? {})) {
    for (const [example, { value }] of Object.entries(examples ?? {})) {
      const headers: Headers =
        mediaType === "*/*" ? { ...binary, "content-type": "text/plain" } : { "content-type": mediaType };
      const body = mediaType === "*/*" ? String(value) : JSON.stringify(value);
      const name = `example-${appended++}`;
      const answer = await call("POST", ofEvents, { name, headers, body });
      expect({ mediaType, example, status: answer.status }).toMatchObject({ status: 201 });
      // Each event comes back with what its producer gave.
      const { value: page } = await call("GET", ofEvents, { name });
      if (mediaType !== "*/*") expect((page as { events: unknown[] }).events).toMatchObject([value].flat() as object[]);
    }
  }
  expect(appended).toBe(7);
});

test("the answers of the other operations are documented too", async () => {
  const body = JSON.stringify([
    { id: "a", type: "OrderPlaced", data: { amount: 120 } },
    { id: "b", type: "OrderPaid", tenant: "acme", urgent: true, count: 3 },
  ]);
  expect((await call("POST", ofEvents, { headers: json, body })).status).toBe(201);
  expect((await call("POST", ofEvents, { headers: json, body })).status).toBe(200);
  for (const path of [ofEvents, "/api/events"]) {
    for (const accept of ["application/json", "application/cloudevents-batch+json", "application/x-ndjson"]) {
      expect((await call("GET", path, { headers: { accept } })).status).toBe(200);
    }
    expect((await call("GET", path, { query: "?limit=1&direction=backward" })).headers.get("link")).toContain("next");
    const headers = { accept: "text/event-stream" };
    expect((await call("GET", path, { query: "?from=beginning&to=1&progress=true", headers })).status).toBe(200);
    expect((await call("GET", path, { headers: { ...headers, "last-event-id": "end:1" } })).status).toBe(204);
  }
  expect((await call("GET", `${ofEvents}/{offset}`)).status).toBe(200);
  expect((await call("PUT", ofStream, { name: "quiet", headers: json, body: '{"replay":false}' })).status).toBe(201);
  expect((await call("PUT", ofStream, { name: "quiet" })).status).toBe(200);
  const ephemeral = '{"type":"ephemeral","visibilityTimeout":"1m","retention":{"maxEvents":"10"}}';
  expect((await call("PUT", ofStream, { name: "mails", headers: json, body: ephemeral })).status).toBe(201);
  for (const method of ["GET", "HEAD"]) expect((await call(method, ofStream)).headers.get("etag")).toBe('"1"');
  expect((await call("GET", "/api/streams", { query: "?limit=1" })).status).toBe(200);
  expect((await call("DELETE", ofStream, { name: "quiet" })).status).toBe(204);
  for (const path of ["/livez", "/readyz", "/metrics", "/docs"]) expect((await call("GET", path)).status).toBe(200);
});

test("what is refused is refused as documented", async () => {
  const body = '{"id":"r","type":"Refused"}';
  const headers = json;
  const name = "refused";
  expect((await call("POST", ofEvents, { name, headers, body })).status).toBe(201);
  await refused([400, "malformed-body"], "POST", ofEvents, { name, headers, body: "{" });
  await refused([400, "invalid-stream-name"], "POST", ofEvents, { name: "no%20name", headers, body });
  await refused([400, "invalid-parameter"], "POST", ofEvents, { name, headers: { ...json, "if-match": "17" }, body });
  await refused([409, "event-id-conflict"], "POST", ofEvents, { name, headers, body: '{"id":"r","type":"Other"}' });
  await refused([412, "wrong-expected-version"], "POST", ofEvents, {
    name,
    headers: { ...json, "if-none-match": "*" },
    body: '{"type":"Late"}',
  });
  await refused([413, "body-too-large"], "POST", ofEvents, { name, headers, body: `"${"x".repeat(1_100_000)}"` });
  await refused([415, "unsupported-media-type"], "POST", ofEvents, {
    name,
    headers: { "content-type": "text/plain" },
    body,
  });
  await refused([422, "invalid-event"], "POST", ofEvents, { name, headers, body: '{"type":"sluice.own"}' });
  await refused([422, "empty-append"], "POST", ofEvents, { name, headers, body: "[]" });
  const query = (text: string, accept = "*/*") => ({ name, query: text, headers: { accept } });
  await refused([400, "invalid-parameter"], "GET", ofEvents, query("?limit=0"));
  await refused([400, "invalid-place"], "GET", ofEvents, query("?from=yesterday"));
  await refused([400, "invalid-filter"], "GET", ofEvents, query("?where=%24.amount"));
  await refused([404, "stream-not-found"], "GET", "/api/events", query("?stream=missing"));
  await refused([406, "not-acceptable"], "GET", ofEvents, query("", "image/png"));
  await refused([409, "cursor-beyond-head"], "GET", ofEvents, query("?from=99"));
  await refused([414, "uri-too-long"], "GET", "/api/streams", query(`?prefix=${"x".repeat(9_000)}`));
  await refused([409, "stream-type-fixed"], "PUT", ofStream, { name, headers, body: '{"type":"ephemeral"}' });
  const replayed = '{"type":"ephemeral","replay":true}';
  await refused([422, "invalid-configuration"], "PUT", ofStream, { name, headers, body: replayed });
  await refused([404, "stream-not-found"], "DELETE", ofStream, { name: "missing" });
});
