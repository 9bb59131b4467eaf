// Bad input is refused with the right problem, stores nothing, and leaves the service serving.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, expectProblem, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

afterEach(async () => {
  const [row] =
    await sql`select (select count(*) from events)::int as events, (select count(*) from streams where created_at is not null)::int as streams`;
  expect(row).toEqual({ events: 0, streams: 1 });
  expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
});

async function refused(
  status: number,
  code: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  return expectProblem(await append(service.url, "bad", body, headers), status, code);
}

async function refusedAt(path: string, body: unknown, headers: Record<string, string> = {}): Promise<void> {
  const { errors } = await refused(422, "invalid-event", body, headers);
  expect((errors as { path: string }[]).map((error) => error.path)).toContain(path);
}

describe("a body that is no JSON is malformed:", () => {
  const bodies: [name: string, body: string | Uint8Array][] = [
    ["nothing", ""],
    ["white space", " \n "],
    ["an open object", '{"type":"A"'],
    ["two values", '{"type":"A"} {"type":"B"}'],
    ["a trailing comma", '[{"type":"A"},]'],
    ["single quotes", "{'type':'A'}"],
    ["NaN", '{"type":"A","data":NaN}'],
    ["a raw line break in a string", '{"type":"A","data":"a\nb"}'],
    ["a raw U+001E in a string", '{"type":"A","data":"a\x1eb"}'],
    ["a NUL", '{"type":"A"}\0'],
    ["a leading zero", '{"type":"A","data":01}'],
    ["a byte that is no UTF-8", Uint8Array.from([0x7b, 0xff, 0x7d])],
    ["UTF-8 cut off", new TextEncoder().encode('{"type":"\u00e9').slice(0, -1)],
    ["an encoded surrogate", Uint8Array.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ["an overlong form", Uint8Array.from([0x22, 0xc0, 0x80, 0x22])],
    ["UTF-16", Buffer.from('{"type":"A"}', "utf16le")],
    ["half a million open brackets", "[".repeat(500_000)],
  ];
  for (const [name, body] of bodies) {
    test(name, async () => {
      await refused(400, "malformed-body", body);
      const isArray = typeof body === "string" && body.startsWith("[");
      const form = isArray ? "application/cloudevents-batch+json" : "application/cloudevents+json";
      await refused(400, "malformed-body", body, { "content-type": form });
    });
  }
});

describe("an event of the wrong shape is invalid, and the path says where:", () => {
  const wrong: [path: string, body: unknown][] = [
    ["", "null"],
    ["", "1"],
    ["", '"text"'],
    ["/0", [[{ type: "A" }]]],
    ["/1", [{ type: "A" }, 5]],
    ["/type", {}],
    ["/type", { type: 1 }],
    ["/type", { type: "" }],
    ["/type", { type: null }],
    ["/type", { type: "x".repeat(257) }],
    ["/type", { type: "sluice.stream-deleted" }],
    ["/1/type", [{ type: "A" }, { type: "sluice." }]],
    ["/id", { type: "A", id: "" }],
    ["/id", { type: "A", id: 7 }],
    ["/id", { type: "A", id: "x".repeat(257) }],
    ["/source", { type: "A", source: "" }],
    ["/source", { type: "A", source: {} }],
    ["/subject", { type: "A", subject: 1 }],
    ["/time", { type: "A", time: "yesterday" }],
    ["/time", { type: "A", time: "2026-11-21" }],
    ["/time", { type: "A", time: "2026-13-01T00:00:00Z" }],
    ["/time", { type: "A", time: "2026-02-31T00:00:00Z" }],
    ["/time", { type: "A", time: "2026-11-21T10:00:00" }],
    ["/time", { type: "A", time: 5 }],
    ["/specversion", { type: "A", specversion: "0.3" }],
    ["/schemaversion", { type: "A", schemaversion: 0 }],
    ["/schemaversion", { type: "A", schemaversion: 1.5 }],
    ["/schemaversion", { type: "A", schemaversion: "01" }],
    ["/schemaversion", { type: "A", schemaversion: 1_000_000_000 }],
    ["/partitionkey", { type: "A", partitionkey: "" }],
    ["/correlationid", { type: "A", correlationid: "x".repeat(257) }],
    ["/data_base64", { type: "A", data_base64: "not base64!" }],
    ["/data_base64", { type: "A", data_base64: "YQ" }],
    ["/data_base64", { type: "A", data: 1, data_base64: "YQ==" }],
    ["/data_base64", { type: "A", data: null, data_base64: "YQ==" }],
    ["/data_base64", { type: "A", data_base64: 5 }],
    ["/Extension", { type: "A", Extension: "x" }],
    ["/an-attribute", { type: "A", "an-attribute": "x" }],
    ["/a~1b", { type: "A", "a/b": "x" }],
    ["/", { type: "A", "": "x" }],
    [`/${"x".repeat(65)}`, { type: "A", ["x".repeat(65)]: "x" }],
    ["/extension", { type: "A", extension: { deep: 1 } }],
    ["/extension", { type: "A", extension: [1] }],
    ["/extension", { type: "A", extension: 1.5 }],
    ["/extension", { type: "A", extension: 2147483648 }],
    ["/extension", { type: "A", extension: "x".repeat(4_097) }],
    ["/__proto__", '{"type":"A","__proto__":"x"}'],
    ...[
      "stream",
      "offset",
      "position",
      "recordedtime",
      "originstream",
      "originoffset",
      "originlogid",
      "deliverytoken",
      "deliveryattempt",
      "deliverydeadline",
      "deliverysubscription",
    ].map((name): [string, unknown] => [`/${name}`, { type: "A", [name]: "x" }]),
  ];
  for (const [path, body] of wrong) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    test(`${path} of ${text.slice(0, 70)}`, () => refusedAt(path, body));
  }
});

describe("a text that the log cannot hold is refused in every attribute:", () => {
  const texts = ["a\u0000b", "a\rb", "a\nb", "a\u001eb", "a\u001fb", "a\u007fb", "a\u0085b", "a\ud800b", "a\udc00b"];
  for (const name of ["type", "id", "source", "subject", "partitionkey", "correlationid", "extension"]) {
    test(name, async () => {
      for (const text of texts) await refusedAt(`/${name}`, { type: "A", [name]: text });
    });
  }
  test("in the headers of the binary mode, percent-encoded", async () => {
    for (const text of ["a%00b", "a%0Ab", "a%0D%0Ab", "a%1Eb", "a%7Fb"]) {
      await refusedAt("/subject", "", { "ce-specversion": "1.0", "ce-type": "A", "ce-subject": text });
      await refusedAt("/id", "", { "ce-specversion": "1.0", "ce-type": "A", "ce-id": text });
    }
  });
});

describe("data that jsonb refuses is refused:", () => {
  const values = [
    '"\\u0000"',
    '{"\\u0000":1}',
    '["a\\u0000b"]',
    '"\\ud800"',
    '"\\udc00"',
    '"\\uD800\\uD800"',
    '"\\ud800x"',
    '"\\ud800\\n"',
    '"\\udc00\\ud800"',
    '{"a\\uDFFF":1}',
    "1e1000000",
    "1E+200000",
    "-1e-200000",
    "[0.1e-17000]",
    "1".repeat(140_000),
    `0.${"1".repeat(17_000)}`,
    `0.${"1".repeat(9_000)}e-9000`,
    "[".repeat(101) + "]".repeat(101),
    `${'{"a":'.repeat(101)}1${"}".repeat(101)}`,
    "[".repeat(250_000) + "]".repeat(250_000),
  ];
  for (const value of values) {
    test(value.slice(0, 60), async () => {
      await refusedAt("/data", `{"type":"A","data":${value}}`);
      await refusedAt("/1/data", `[{"type":"B"},{"type":"A","data":${value}}]`);
      await refusedAt("/data", value, { "ce-specversion": "1.0", "ce-type": "A" });
      // A member that a later one of its name replaces is read all the same.
      await refusedAt("/data", `{"type":"A","data":${value},"data":1}`);
    });
  }
  test("and so are brackets as deep as a body can hold, where no data should be", async () => {
    await refusedAt("/0", "[".repeat(500_000) + "]".repeat(500_000));
    await refusedAt("/extension", `{"type":"A","extension":${"[".repeat(400_000)}${"]".repeat(400_000)}}`);
  });
});

test("an array of none, or of more than a thousand, is refused", async () => {
  await refused(422, "empty-append", []);
  await refused(422, "empty-append", "[ ]", { "content-type": "application/cloudevents-batch+json" });
  await refusedAt("", Array(1_001).fill({ type: "A" }));
});

test("one bad event refuses its array, and every bad one is named", async () => {
  const { errors } = await refused(422, "invalid-event", [{ type: "A" }, { type: 1 }, { type: "B" }, { id: "x" }]);
  expect((errors as { path: string }[]).map((error) => error.path)).toEqual(["/1/type", "/3/type"]);
});

test("the answer to a body with very many faults is small", async () => {
  const many = Object.fromEntries(Array.from({ length: 30_000 }, (_, i) => [`A${i}`, 1]));
  for (const body of [
    { type: "A", ...many },
    Array(1_000).fill({ A: 1, B: 2 }),
    { type: "A", ["X".repeat(500_000)]: 1 },
  ]) {
    const answer = await append(service.url, "bad", body);
    expectProblem(answer, 422, "invalid-event");
    expect(answer.text.length).toBeLessThan(10_000);
  }
});

describe("a media type that no events have is not supported:", () => {
  for (const contentType of ["text/plain", "application/xml", "application/x-www-form-urlencoded", "json", ""]) {
    test(contentType || "none", () =>
      refused(415, "unsupported-media-type", '{"type":"A"}', { "content-type": contentType }),
    );
  }
  test("a compressed body", async () => {
    const body = Bun.gzipSync(new TextEncoder().encode('{"type":"A"}'));
    await refused(415, "unsupported-media-type", body, { "content-encoding": "gzip" });
    const binary = { "content-encoding": "gzip", "ce-specversion": "1.0", "ce-type": "A", "content-type": "image/png" };
    await refused(415, "unsupported-media-type", body, binary);
  });
});

test("a structured event and a batch must be what their media type says, with a specversion", async () => {
  const event = { specversion: "1.0", type: "A", id: "1", source: "/s" };
  await refused(400, "invalid-parameter", [event], { "content-type": "application/cloudevents+json" });
  await refused(400, "invalid-parameter", event, { "content-type": "application/cloudevents-batch+json" });
  await refusedAt("/specversion", { type: "A" }, { "content-type": "application/cloudevents+json" });
  await refusedAt("/1/specversion", [event, { type: "A" }], { "content-type": "application/cloudevents-batch+json" });
});

test("headers of the binary mode are checked as attributes are", async () => {
  const binary = { "ce-specversion": "1.0", "ce-type": "A", "content-type": "image/png" };
  await refusedAt("/specversion", "x", { ...binary, "ce-specversion": "2.0" });
  await refusedAt("/type", "x", { "ce-specversion": "1.0", "content-type": "image/png" });
  await refusedAt("/type", "x", { ...binary, "ce-type": "sluice.x" });
  await refusedAt("/offset", "x", { ...binary, "ce-offset": "7" });
  await refusedAt("/time", "x", { ...binary, "ce-time": "now" });
  await refusedAt("/data", "x", { ...binary, "ce-data": "7" });
  await refusedAt("/datacontenttype", "x", { ...binary, "ce-datacontenttype": "text/plain" });
  await refusedAt("/an_attribute", "x", { ...binary, "ce-an_attribute": "7" });
  await refusedAt("/__proto__", "x", { ...binary, "ce-__proto__": "7" });
  await refusedAt("/schemaversion", "x", { ...binary, "ce-schemaversion": "0" });
  await refused(400, "malformed-body", "{not json", { ...binary, "content-type": "application/json" });
  await refused(400, "malformed-body", Uint8Array.from([0xff]), { ...binary, "content-type": "application/json" });
});

test("a name that no URL path can carry is refused where it can be written", async () => {
  for (const name of [".", ".."])
    expectProblem(await send(`${service.url}/api/events?stream=${name}`), 400, "invalid-stream-name");
});

describe("a name outside the grammar is refused:", () => {
  const names = [
    "a%2Fb",
    "a%20b",
    "%00",
    "%zz",
    "a%",
    "%C3%28",
    "%ED%A0%80",
    "caf%C3%A9",
    "a,b",
    "$control",
    "x".repeat(201),
    "a%0Ab",
    "%2e%2e%2f",
    "a+b",
    "a*",
  ];
  for (const name of names) {
    test(name.slice(0, 30), async () => {
      const answers = [
        await append(service.url, name, { type: "A" }),
        await send(`${service.url}/api/streams/${name}`, { method: "PUT", body: "{}" }),
        await send(`${service.url}/api/streams/${name}`, { method: "DELETE" }),
        await send(`${service.url}/api/streams/${name}`),
        await send(`${service.url}/api/streams/${name}/events`),
      ];
      for (const answer of answers) expectProblem(answer, 400, "invalid-stream-name");
    });
  }
});

test("a query parameter that an append does not have is refused, and so is a URL that is too long", async () => {
  const post = (query: string) =>
    send(`${service.url}/api/streams/bad/events?${query}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"type":"A"}',
    });
  expect(expectProblem(await post("expected=3"), 400, "invalid-parameter").parameter).toBe("expected");
  expectProblem(await post("%00=%zz"), 400, "invalid-parameter");
  expectProblem(await post(`x=${"y".repeat(9_000)}`), 414, "uri-too-long");
});

test("an unknown resource is not found, and an unknown method is told what there is", async () => {
  for (const path of [
    "/",
    "/nope",
    "/api",
    "/api/streams//events",
    "/api/streams/a/b/c/d",
    "/api/streams/a/events/1/2",
  ]) {
    for (const method of ["GET", "POST", "DELETE", "OPTIONS"]) {
      expectProblem(await send(service.url + path, { method }), 404, "not-found");
    }
  }
  const allowed: [path: string, allow: string, methods: string[]][] = [
    ["/api/streams", "GET, HEAD", ["POST", "PUT", "PATCH", "DELETE"]],
    ["/api/streams/a", "GET, HEAD, PUT, DELETE", ["POST", "PATCH"]],
    ["/api/streams/a/events", "POST, GET, HEAD", ["PUT", "PATCH", "DELETE"]],
    ["/api/events", "GET, HEAD", ["POST", "PUT", "DELETE"]],
    ["/livez", "GET, HEAD", ["POST"]],
  ];
  for (const [path, allow, methods] of allowed) {
    for (const method of methods) {
      const answer = await send(service.url + path, { method });
      expectProblem(answer, 405, "method-not-allowed");
      expect(answer.headers.get("allow")).toBe(allow);
    }
  }
});

test("HEAD answers what GET does, without a body", async () => {
  for (const [path, status] of [
    ["/livez", 200],
    ["/readyz", 200],
    ["/metrics", 200],
    ["/api/streams", 200],
    ["/api/streams/none", 404],
    ["/nope", 404],
  ] as const) {
    const answer = await send(service.url + path, { method: "HEAD" });
    expect([path, answer.status, answer.text]).toEqual([path, status, ""]);
  }
});

test("a header that the service reads is refused when it is malformed", async () => {
  await refused(400, "invalid-parameter", { type: "A" }, { "if-match": "5" });
  await refused(400, "invalid-parameter", { type: "A" }, { "idempotency-key": "a b" });
  const answer = await append(service.url, "bad", "{", { "x-request-id": "evil\u00ff".repeat(50) });
  expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
});
