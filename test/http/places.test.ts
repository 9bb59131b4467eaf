import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";

type Page = { events: Envelope[]; next: string | null; head: string };

let service: Service;
const all: Envelope[] = [];

/** 60 events over three streams, with types, keys, correlations and amounts that a formula knows. */
beforeAll(async () => {
  service = await startService();
  for (let i = 0; i < 60; i++) {
    const answer = await append(service.url, ["a", "b", "c"][i % 3] as string, {
      type: `T${i % 4}`,
      id: `id-${i}`,
      partitionkey: `k${i % 5}`,
      correlationid: `c${i % 7}`,
      ...(i % 6 === 0 ? {} : { data: { amount: i * 10 } }),
    });
    expect(answer.status).toBe(201);
  }
  for (const line of (await ndjson("/api/events")).split("\n")) if (line !== "") all.push(JSON.parse(line));
});
afterAll(() => service.stop());

const get = <Body = Page>(path: string, headers: Record<string, string> = {}) =>
  send<Body>(service.url + path, { headers });

async function ndjson(path: string): Promise<string> {
  const response = await fetch(service.url + path, { headers: { accept: "application/x-ndjson" } });
  expect(response.status).toBe(200);
  return response.text();
}

const offsets = (page: { events: Envelope[] }) => page.events.map((event) => Number(event.offset));
const positions = (events: Envelope[]) => events.map((event) => Number(event.position));
const ofStream = (stream: string) => all.filter((event) => event.stream === stream);

async function offsetsOf(query: string): Promise<number[]> {
  const answer = await get(`/api/streams/a/events?${query}`);
  expect([query, answer.status]).toEqual([query, 200]);
  return offsets(answer.body);
}

test("the log holds all events in the order of their positions, without gaps", () => {
  expect(positions(all)).toEqual(Array.from({ length: 60 }, (_, i) => i));
});

describe("places of a stream", () => {
  test("from and to are inclusive, after is exclusive", async () => {
    expect(await offsetsOf("from=3&to=6")).toEqual([3, 4, 5, 6]);
    expect(await offsetsOf("after=3&to=6")).toEqual([4, 5, 6]);
    expect(await offsetsOf("after=-1&limit=2")).toEqual([0, 1]);
    expect(await offsetsOf("from=19")).toEqual([19]);
    expect(await offsetsOf("from=20")).toEqual([]);
    expect(await offsetsOf("from=0&to=0")).toEqual([0]);
    expect(await offsetsOf("from=7&to=3")).toEqual([]);
    expect(await offsetsOf("from=18&to=500")).toEqual([18, 19]);
  });

  test("backward begins at from and ends at to, both inclusive", async () => {
    expect(await offsetsOf("direction=backward&limit=2")).toEqual([19, 18]);
    expect(await offsetsOf("direction=backward&from=latest&limit=1")).toEqual([19]);
    expect(await offsetsOf("direction=backward&from=5&to=3")).toEqual([5, 4, 3]);
    expect(await offsetsOf("direction=backward&after=5&to=3")).toEqual([4, 3]);
    expect(await offsetsOf("direction=backward&from=beginning")).toEqual([0]);
    expect(await offsetsOf("direction=backward&from=1")).toEqual([1, 0]);
    expect(await offsetsOf("direction=backward&to=latest")).toEqual([19]);
  });

  test("beginning and latest", async () => {
    expect(await offsetsOf("from=beginning&limit=1")).toEqual([0]);
    expect(await offsetsOf("from=latest")).toEqual([]);
    expect(await offsetsOf("to=beginning")).toEqual([0]);
    expect((await offsetsOf("to=latest")).length).toBe(20);
  });

  test("an event by its id, given by the producer or made here", async () => {
    const event = ofStream("a")[4] as Envelope;
    expect(await offsetsOf(`from=event:${event.id}&limit=2`)).toEqual([4, 5]);
    expect(await offsetsOf(`to=event:${event.id}`)).toEqual([0, 1, 2, 3, 4]);
    expect(await offsetsOf(`direction=backward&from=event:${event.id}&limit=2`)).toEqual([4, 3]);
    const made = (await append(service.url, "made", [{ type: "A" }, { type: "B" }, { type: "C" }])).body;
    const answer = await get(`/api/streams/made/events?from=event:${made.events[1]?.id}`);
    expect(offsets(answer.body)).toEqual([1, 2]);
    expectProblem(await get("/api/streams/a/events?from=event:nope"), 400, "invalid-place");
    expectProblem(await get(`/api/streams/a/events?from=event:${made.events[1]?.id}`), 400, "invalid-place");
  });

  test("a time is the recorded one; before and behind everything", async () => {
    const events = ofStream("a");
    const at = events[9]?.recordedtime as string;
    const since = events.filter((event) => (event.recordedtime as string) >= at).map((event) => Number(event.offset));
    const until = events.filter((event) => (event.recordedtime as string) <= at).map((event) => Number(event.offset));
    expect(await offsetsOf(`from=time:${at}`)).toEqual(since);
    expect(await offsetsOf(`to=time:${at}`)).toEqual(until);
    expect(await offsetsOf(`direction=backward&from=time:${at}`)).toEqual([...until].reverse());
    expect((await offsetsOf("from=time:1999-01-01T00:00:00Z")).length).toBe(20);
    expect(await offsetsOf("from=time:2999-01-01T00:00:00%2B01:00")).toEqual([]);
    expect(await offsetsOf("to=time:1999-01-01T00:00:00Z")).toEqual([]);
    expect((await offsetsOf("to=time:2999-01-01T00:00:00Z")).length).toBe(20);
  });

  for (const place of [
    "x",
    "-2",
    "1.5",
    "time:",
    "time:yesterday",
    "time:2026-13-01T00:00:00Z",
    "event:",
    "99999999999999999999",
    "",
  ]) {
    test(`"${place}" is not a place`, async () => {
      expectProblem(await get(`/api/streams/a/events?from=${place}`), 400, "invalid-place");
    });
  }

  test("beyond the head is told, with the head and the log's id", async () => {
    for (const query of ["from=21", "after=20", "from=9223372036854775807", "direction=backward&from=21"]) {
      const problem = expectProblem(await get(`/api/streams/a/events?${query}`), 409, "cursor-beyond-head");
      expect(problem.head).toBe("19");
      expect(problem.logId).toBeString();
    }
  });
});

test("places of the log are positions", async () => {
  const read = async (query: string) =>
    positions((await get(`/api/events?${query}`)).body.events).filter((p) => p < 60);
  expect(await read("from=10&to=12")).toEqual([10, 11, 12]);
  expect(await read("after=10&to=12")).toEqual([11, 12]);
  expect(await read("direction=backward&from=2")).toEqual([2, 1, 0]);
  expect(await read("stream=a&stream=c&from=10&to=15")).toEqual([11, 12, 14, 15]);
  expect(await read("from=event:id-7&to=event:id-9")).toEqual([7, 8, 9]);
  expectProblem(await get("/api/events?from=100000"), 409, "cursor-beyond-head");
  expectProblem(await get("/api/events?stream=a&stream=nope"), 404, "stream-not-found");
});

test("an unknown stream is 404, in every form but the event stream", async () => {
  for (const accept of ["application/json", "application/cloudevents-batch+json", "application/x-ndjson"]) {
    expectProblem(await get("/api/streams/nope/events", { accept }), 404, "stream-not-found");
  }
});

for (const query of [
  "limit=0",
  "limit=1001",
  "limit=1e3",
  "limit=99999999999999999999",
  "limit=-1",
  "direction=up",
  "types=",
  "types=A,,B",
  "from=1&after=1",
  "nonsense=1",
  "from=1&from=2",
  "correlation=",
  "key=%00",
  "after=x",
]) {
  test(`${query} is refused`, async () => {
    expectProblem(await get(`/api/streams/a/events?${query}`), 400, "invalid-parameter");
  });
}

for (const where of ["$.amount", "$.amount >", "1", "'", "", "$[", "$.a.datetime(", `$.x == "${"y".repeat(1_000)}"`]) {
  test(`where ${where.slice(0, 20)} is not a predicate`, async () => {
    for (const accept of ["application/json", "application/x-ndjson", "text/event-stream"]) {
      const answer = await get(`/api/streams/a/events?where=${encodeURIComponent(where)}`, { accept });
      expectProblem(answer, 400, "invalid-filter");
    }
  });
}

describe("paging", () => {
  async function pages(path: string, accept = "application/json"): Promise<Envelope[]> {
    const seen: Envelope[] = [];
    for (let next: string | null = path; next !== null; ) {
      const answer: { body: Page | Envelope[]; headers: Headers } = await get<Page | Envelope[]>(next, { accept });
      const link = /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1] ?? null;
      if (Array.isArray(answer.body)) {
        seen.push(...answer.body);
        next = link;
      } else {
        expect(answer.body.next).toBe(link);
        seen.push(...answer.body.events);
        next = answer.body.next;
      }
    }
    return seen;
  }

  for (const accept of ["application/json", "application/cloudevents-batch+json"]) {
    test(`following next visits everything once, both ways (${accept})`, async () => {
      expect(await pages("/api/streams/a/events?limit=7", accept)).toEqual(ofStream("a"));
      expect(await pages("/api/streams/a/events?limit=7&direction=backward", accept)).toEqual(
        [...ofStream("a")].reverse(),
      );
      expect(await pages("/api/events?limit=7&to=59", accept)).toEqual(all);
      expect(await pages("/api/events?limit=7&stream=b&stream=c&direction=backward&from=59", accept)).toEqual(
        all.filter((event) => event.stream !== "a").reverse(),
      );
      expect(await pages("/api/streams/a/events?limit=3&types=T0,T1", accept)).toEqual(
        ofStream("a").filter((event) => ["T0", "T1"].includes(event.type as string)),
      );
    });
  }
});

test("any combination of filters finds what a filter over everything finds, in every form", async () => {
  const option = <T>(values: T[]) => fc.option(fc.constantFrom(...values), { nil: null });
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        streams: fc.constantFrom<string[] | null>(null, ["a"], ["a", "c"], ["b", "c"]),
        types: option(["T0", "T1,T3", "T9"]),
        key: option(["k0", "k3"]),
        correlation: option(["c1", "c5"]),
        amount: option([100, 300, 590]),
        backward: fc.boolean(),
      }),
      async ({ streams, types, key, correlation, amount, backward }) => {
        const query = new URLSearchParams({ to: backward ? "0" : "59", from: backward ? "59" : "0" });
        for (const stream of streams ?? []) query.append("stream", stream);
        if (types !== null) query.set("types", types);
        if (key !== null) query.set("key", key);
        if (correlation !== null) query.set("correlation", correlation);
        if (amount !== null) query.set("where", `$.amount > ${amount}`);
        if (backward) query.set("direction", "backward");
        const expected = all.filter(
          (event) =>
            (streams === null || streams.includes(event.stream as string)) &&
            (types === null || types.split(",").includes(event.type as string)) &&
            (key === null || event.partitionkey === key) &&
            (correlation === null || event.correlationid === correlation) &&
            (amount === null || ((event.data as { amount: number } | undefined)?.amount ?? 0) > amount),
        );
        if (backward) expected.reverse();
        expect((await get(`/api/events?${query}`)).body.events).toEqual(expected);
        const lines = (await ndjson(`/api/events?${query}`)).split("\n").filter((line) => line !== "");
        expect(lines.map((line) => JSON.parse(line))).toEqual(expected);
      },
    ),
    { numRuns: 60 },
  );
});

test("what is accepted decides the form; what cannot be served is 406", async () => {
  const type = async (accept: string) =>
    (await fetch(`${service.url}/api/streams/a/events`, { headers: { accept } })).headers.get("content-type");
  expect(await type("*/*")).toBe("application/json");
  expect(await type("text/html, application/x-ndjson;q=0.9, */*;q=0.1")).toBe("application/x-ndjson");
  expect(await type("application/*;q=0.5, application/cloudevents-batch+json")).toBe(
    "application/cloudevents-batch+json",
  );
  expectProblem(await get("/api/streams/a/events", { accept: "text/html" }), 406, "not-acceptable");
  expectProblem(await get("/api/streams/a/events", { accept: "application/json;q=0" }), 406, "not-acceptable");
});

test("one event by its offset; removed ones are 410, later ones 404", async () => {
  expect((await get<Envelope>("/api/streams/a/events/3")).body).toEqual(ofStream("a")[3] as Envelope);
  expect((await get<Envelope>("/api/streams/b/events/0")).body).toEqual(ofStream("b")[0] as Envelope);
  expectProblem(await get("/api/streams/a/events/20"), 404, "event-not-found");
  expectProblem(await get("/api/streams/nope/events/0"), 404, "stream-not-found");
  expectProblem(await get("/api/streams/a/events/x"), 400, "invalid-parameter");
  await append(service.url, "short", [{ type: "A" }, { type: "B" }]);
  await send(`${service.url}/api/streams/short`, { method: "DELETE" });
  await append(service.url, "short", { type: "C" });
  expectProblem(await get("/api/streams/short/events/1"), 410, "event-removed");
  expect((await get<Envelope>("/api/streams/short/events/2")).body.type).toBe("C");
  expect(offsets((await get("/api/streams/short/events?from=0")).body)).toEqual([2]);
});

test("replay: false forbids every read of history", async () => {
  await send(`${service.url}/api/streams/silent`, { method: "PUT", body: '{"replay":false}' });
  const appended = (await append(service.url, "silent", { type: "A" })).body;
  for (const path of ["events", "events?from=0", "events/0", "events?direction=backward"]) {
    expectProblem(await get(`/api/streams/silent/${path}`), 403, "replay-forbidden");
  }
  expectProblem(await get("/api/streams/silent/events", { accept: "application/x-ndjson" }), 403, "replay-forbidden");
  expectProblem(
    await get("/api/streams/silent/events?from=0", { accept: "text/event-stream" }),
    403,
    "replay-forbidden",
  );
  expectProblem(await get("/api/events?stream=silent&stream=a"), 403, "replay-forbidden");
  const log = (await get(`/api/events?from=${Number(appended.lastPosition) - 1}`)).body.events;
  expect(log.some((event) => event.stream === "silent")).toBe(false);
});

test("a page is bounded in bytes, and paging goes on behind it", async () => {
  const large = "x".repeat(400_000);
  for (let i = 0; i < 12; i++) await append(service.url, "large", { type: "Large", data: { i, large } });
  const sizes: number[] = [];
  for (let next: string | null = "/api/streams/large/events?limit=1000"; next !== null; ) {
    const page: Page = (await get(next)).body;
    sizes.push(page.events.length);
    next = page.next;
  }
  expect(sizes.length).toBeGreaterThan(1);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(12);
  const lines = (await ndjson("/api/streams/large/events")).trim().split("\n");
  expect(lines.map((line) => JSON.parse(line).data.i)).toEqual(Array.from({ length: 12 }, (_, i) => i));
});
