// What goes wrong below a request: bodies too large, too slow or cut off, and bytes that are no HTTP at all.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { append, expectProblem, readAll, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { type RawAnswer, sendAndVanish, sendRaw } from "../support/socket.ts";

const maxBody = 10_000;

let service: Service;
beforeAll(async () => {
  service = await startService({ BODY_TIMEOUT: "200ms", MAX_BODY_BYTES: String(maxBody) });
});
afterAll(() => service.stop());

let served = 0;
afterEach(async () => {
  const answer = await append(service.url, "served", { type: "StillServed" });
  expect([answer.status, answer.body.firstOffset]).toEqual([201, String(served++)]);
});

const head = (rest: string, stream = "raw") =>
  `POST /api/streams/${stream}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${rest}\r\n\r\n`;
const chunked = head("Transfer-Encoding: chunked");
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

async function expectNothingStored(): Promise<void> {
  expect(await readAll(service.url, "raw")).toEqual([]);
}

function expectRawProblem(answer: RawAnswer, status: number, code: string): void {
  expect([answer.statuses, answer.closed]).toEqual([[status], true]);
  expect(answer.text.toLowerCase()).toContain("content-type: application/problem+json");
  expect(answer.text).toContain(`"type":"/problems/${code}"`);
}

describe("a body over the limit is refused with a problem", () => {
  const big = JSON.stringify({ type: "A", data: "x".repeat(maxBody) });
  test("when its length says so", async () => {
    const problem = expectProblem(await append(service.url, "raw", big), 413, "body-too-large");
    expect(problem.maxBytes).toBe(maxBody);
  });
  test("when its chunks add up to it", async () => {
    async function* chunks() {
      for (let i = 0; i < big.length; i += 1_000) yield new TextEncoder().encode(big.slice(i, i + 1_000));
    }
    const response = await fetch(`${service.url}/api/streams/raw/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: chunks() as unknown as ReadableStream,
    });
    expect([response.status, response.headers.get("content-type")]).toEqual([413, "application/problem+json"]);
  });
  for (const length of [maxBody + 1, 50_000_000, 9_000_000_000_000]) {
    test(`before a byte of it has come: ${length} announced`, async () => {
      expectRawProblem(await sendRaw(service.url, [head(`Content-Length: ${length}`)]), 413, "body-too-large");
    });
  }
  test("and also by a configuration", async () => {
    const put = await send(`${service.url}/api/streams/raw`, { method: "PUT", body: big });
    expectProblem(put, 413, "body-too-large");
  });
  afterEach(expectNothingStored);
});

test("a body of exactly the limit is taken", async () => {
  const frame = JSON.stringify({ type: "A", data: "" });
  const body = JSON.stringify({ type: "A", data: "x".repeat(maxBody - frame.length) });
  expect(body).toHaveLength(maxBody);
  expect((await append(service.url, "limit", body)).status).toBe(201);
});

describe("a body that drips is timed out and its connection closed", () => {
  const drips = Array.from('{"type":"Dripping","data":"and it never comes to an end"');
  test("when its length is announced", async () => {
    const answer = await sendRaw(service.url, [head("Content-Length: 500"), ...drips], { gapMs: 15 });
    expectRawProblem(answer, 408, "request-timeout");
  });
  test("when it is chunked", async () => {
    expectRawProblem(await sendRaw(service.url, [chunked, ...drips.map(chunk)], { gapMs: 15 }), 408, "request-timeout");
  });
  test("when nothing of it comes", async () => {
    expectRawProblem(await sendRaw(service.url, [head("Content-Length: 5")]), 408, "request-timeout");
  });
  test("also for a configuration", async () => {
    const put = head("Content-Length: 5").replace("POST", "PUT").replace("/events", "");
    expectRawProblem(await sendRaw(service.url, [put, "{"]), 408, "request-timeout");
  });
  afterEach(expectNothingStored);
});

test("slow bodies do not delay others, nor do they time out early", async () => {
  const body = '{"type":"Slow"}';
  const slow = sendRaw(service.url, [head(`Content-Length: ${body.length}`, "slow"), ...Array.from(body)], {
    gapMs: 5,
    enough: (answer) => answer.statuses.length > 0,
  });
  for (let i = 0; i < 5; i++) expect((await append(service.url, "quick", { type: "Quick" })).status).toBe(201);
  expect((await slow).statuses).toEqual([201]);
});

test("a client that vanishes within its body stores nothing", async () => {
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      sendAndVanish(service.url, i % 2 ? `${head("Content-Length: 30")}{"type":"A"}` : chunked + chunk('{"type":"A"}')),
    ),
  );
  await expectNothingStored();
});

test("requests that do not wait for the answer before are cut off, and stored once or not at all", async () => {
  const body = '{"type":"A","id":"1"}';
  const request = head(`Content-Length: ${body.length}`, "pipelined") + body;
  const answer = await sendRaw(service.url, [request.repeat(3)], { enough: ({ statuses }) => statuses.length === 3 });
  expect([answer.statuses.length, answer.closed]).toBeOneOf([
    [0, true],
    [3, false],
  ]);
  expect((await readAll(service.url, "pipelined")).length).toBeLessThanOrEqual(1);
});

describe("bytes that are no HTTP end their connection:", () => {
  const get = "GET /livez HTTP/1.1\r\nHost: x\r\n";
  const garbage: [name: string, statuses: number[], bytes: string][] = [
    ["binary", [400], "\x00\x01\x02\x16\x03garbage\r\n\r\n"],
    ["garbage behind a request", [200, 400], `${get}\r\n<<<>>>\r\n\r\n`],
    ["two lengths", [400], `${head("Content-Length: 2\r\nContent-Length: 3")}{}`],
    ["a length and chunks", [400], `${head("Content-Length: 5\r\nTransfer-Encoding: chunked")}0\r\n\r\n`],
    ["a negative length", [400], head("Content-Length: -5")],
    ["a length in letters", [400], head("Content-Length: five")],
    ["a chunk without a size", [400], `${chunked}zz\r\n{}\r\n0\r\n\r\n`],
    ["no host", [400], "GET /livez HTTP/1.1\r\n\r\n"],
    ["a NUL in a header", [400], `${get}X-A: a\x00b\r\n\r\n`],
    ["a header of 40 kB", [431], `${get}X-A: ${"a".repeat(40_000)}\r\n\r\n`],
    ["five hundred headers", [431], `${get}${"X-A: a\r\n".repeat(500)}\r\n`],
    ["a URL of 100 kB", [431], `GET /livez?${"a".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ];
  for (const [name, statuses, bytes] of garbage) {
    test(name, async () => {
      const answer = await sendRaw(service.url, [bytes]);
      expect([answer.statuses, answer.closed]).toEqual([statuses, true]);
      await expectNothingStored();
    });
  }
});
