// Speaks the HTTP contract for tests: appends, reads, and answers as plain values.
import { expect } from "bun:test";

export type AppendAnswer = {
  stream: string;
  firstOffset: string;
  lastOffset: string;
  lastPosition: string;
  events: { id: string; offset: string; duplicate: boolean }[];
};

export type ProblemBody = { type: string; title: string; status: number; detail: string; [field: string]: unknown };

export type Answer<Body> = { status: number; headers: Headers; body: Body; text: string };

export type Envelope = Record<string, unknown> & { id: string; offset: string; position: string };

type Headed = Record<string, string>;

/** Sends a request; the answer's body is parsed when it is JSON. */
export async function send<Body = ProblemBody>(url: string, init: RequestInit = {}): Promise<Answer<Body>> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "") && text !== "";
  return { status: response.status, headers: response.headers, body: (isJson ? JSON.parse(text) : null) as Body, text };
}

/** Appends a value as JSON, or a text or bytes as they are. */
export function append<Body = AppendAnswer>(
  base: string,
  stream: string,
  body: unknown,
  headers: Headed = {},
): Promise<Answer<Body>> {
  return send<Body>(`${base}/api/streams/${stream}/events`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
}

/** All events of a stream, oldest first. */
export async function readAll(base: string, stream: string): Promise<Envelope[]> {
  return (await readLines(base, stream)).map((line) => JSON.parse(line) as Envelope);
}

/** All envelopes of a stream as their texts, oldest first. */
export async function readLines(base: string, stream: string): Promise<string[]> {
  const response = await fetch(`${base}/api/streams/${stream}/events?from=beginning`, {
    headers: { accept: "application/x-ndjson" },
  });
  if (response.status === 404) return [];
  return (await response.text()).split("\n").filter((line) => line !== "");
}

/** Checks that the answer is a problem of the catalogue, as RFC 9457 wants it. */
export function expectProblem(answer: Answer<unknown>, status: number, code: string): ProblemBody {
  const problem = answer.body as ProblemBody;
  expect({ status: answer.status, type: problem?.type, contentType: answer.headers.get("content-type") }).toEqual({
    status,
    type: `/problems/${code}`,
    contentType: "application/problem+json",
  });
  expect(problem.status).toBe(status);
  expect(problem.title).toBeString();
  expect(problem.detail).toBeString();
  expect(problem.instance).toBeString();
  return problem;
}
