// Events as other versions of their types: in every form of reading the same, and as they are stored where it cannot be.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import { put } from "../support/consume.ts";
import { jsonata, number, object, people, proposeVersion, registerVersions, versionUrl } from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";
import { type EventStream, openEventStream } from "../support/sse.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService({ HEARTBEAT: "200ms" });
  url = service.url;
});
afterAll(() => service.stop());

let names = 0;
const newName = () => `Person${++names}`;
const events = (stream: string, query: string) => `${url}/api/streams/${stream}/events?${query}`;
const page = async (path: string) => {
  const answer = await send<{ events: Envelope[]; next: string | null }>(path);
  expect(answer.status, answer.text).toBe(200);
  return answer.body.events;
};
const lines = async (path: string) => {
  const response = await fetch(path, { headers: { accept: "application/x-ndjson" } });
  return (await response.text()).split("\n").filter(Boolean);
};
const shown = (found: readonly Record<string, unknown>[]) => found.map((event) => [event.schemaversion, event.data]);
const came = (stream: EventStream) =>
  stream.frames.filter(({ event, data }) => event === null && data !== null).map(({ data }) => data as string);

const ada = [
  { name: "Ada Lovelace" },
  { first: "Ada", last: "Lovelace" },
  { name: { first: "Ada", last: "Lovelace" } },
] as const;

/** A type of three versions, and a stream of one event of each. */
async function newPeople() {
  const type = newName();
  await registerVersions(url, type, people);
  const fill = () =>
    append(
      url,
      type,
      ada.map((data, n) => ({ type, schemaversion: `${n + 1}`, data })),
    );
  expect((await fill()).status).toBe(201);
  return { type, fill };
}

test("older events are read as the newest version or as one that is named, and newer ones stay as they are", async () => {
  const { type } = await newPeople();
  const asLatest = ada.map(() => ["3", ada[2]]);
  expect(shown(await page(events(type, "schema=latest")))).toEqual(asLatest);
  const asTwo = [
    ["2", ada[1]],
    ["2", ada[1]],
    ["3", ada[2]],
  ];
  for (const target of [`${type}@2`, "2", `Other@1,${type}@2`, `stored,${type}@2`, `latest,${type}@2`]) {
    if (target.includes("Other")) await registerVersions(url, "Other", [{}]);
    expect(shown(await page(events(type, `schema=${encodeURIComponent(target)}`)))).toEqual(asTwo);
  }
  for (const query of ["", "schema=stored", "schema=1", `schema=${type}@1`])
    expect(shown(await page(events(type, query)))).toEqual(ada.map((data, n) => [`${n + 1}`, data]));
  // A number beyond what a type has means its newest.
  expect(shown(await page(events(type, "schema=7")))).toEqual(asLatest);
});

test("an event of a version that is not registered yet stays as it is stored", async () => {
  const type = newName();
  await append(url, type, { type, schemaversion: "9", data: { a: 1 } });
  await registerVersions(url, type, people);
  const [event] = await page(events(type, "schema=latest"));
  expect(event).toMatchObject({ schemaversion: "9", data: { a: 1 } });
  expect(event).not.toHaveProperty("dataschema");
  expect(event).not.toHaveProperty("upcasterror");
});

test("pages in both directions, replays, batches, single events, several streams and event streams show the same", async () => {
  const { type, fill } = await newPeople();
  const live = await openEventStream(events(type, "from=beginning&schema=latest"));
  const all = await openEventStream(`${url}/api/events?stream=${type}&from=beginning&schema=latest`);
  for (const stream of [live, all]) await stream.until("history has come", () => came(stream).length === 3);
  await fill();
  for (const stream of [live, all]) await stream.until("the live end has come", () => came(stream).length === 6);
  const replayed = await lines(events(type, "schema=latest"));
  expect(replayed).toHaveLength(6);
  expect(came(live)).toEqual(replayed);
  expect(came(all)).toEqual(replayed);
  const late = await openEventStream(events(type, "from=beginning&schema=latest"));
  await late.until("it has caught up", () => came(late).length === 6);
  expect(came(late)).toEqual(replayed);
  const parsed = replayed.map((line) => JSON.parse(line) as Envelope);
  expect(await page(events(type, "schema=latest"))).toEqual(parsed);
  expect(await page(events(type, "schema=latest&from=latest&direction=backward"))).toEqual([...parsed].reverse());
  expect(await page(`${url}/api/events?stream=${type}&schema=latest`)).toEqual(parsed);
  expect((await send(`${url}/api/streams/${type}/events/0?schema=latest`)).text).toBe(replayed[0] as string);
  const headers = { accept: "application/cloudevents-batch+json" };
  expect((await send<never>(events(type, "schema=latest"), { headers })).body).toEqual(parsed as never);
  for (const stream of [live, all, late]) stream.close();
});

test("pages that follow one another go on as the same version", async () => {
  const { type } = await newPeople();
  const found: Envelope[] = [];
  let next: string | null = `/api/streams/${type}/events?schema=latest&limit=1`;
  while (next !== null) {
    const answer: { events: Envelope[]; next: string | null } = (await send<never>(url + next)).body;
    found.push(...answer.events);
    next = answer.next;
  }
  expect(shown(found)).toEqual(ada.map(() => ["3", ada[2]]));
});

test("a live connection shows each of its streams as it is wanted, and says so", async () => {
  const { type, fill } = await newPeople();
  const other = await newPeople();
  const id = crypto.randomUUID();
  const live = await openEventStream(`${url}/api/live/${id}`);
  await put(`${url}/api/live/${id}/streams/${type}?from=beginning&schema=latest`);
  await put(`${url}/api/live/${id}/streams/${other.type}?from=beginning`);
  const of = (stream: string) => live.events().filter((event) => event.stream === stream);
  await live.until("both have come", () => of(type).length === 3 && of(other.type).length === 3);
  await fill();
  await live.until("the live end has come", () => of(type).length === 6);
  expect(of(type)).toEqual((await lines(events(type, "schema=latest"))).map((line) => JSON.parse(line)));
  expect(shown(of(other.type))).toEqual(ada.map((data, n) => [`${n + 1}`, data]));
  const wrong = await put(`${url}/api/live/${id}/streams/${type}?schema=${type}@4`);
  expectProblem(wrong, 400, "invalid-parameter");
  live.close();
});

test("what cannot be upcast is shown as it is stored and says why, and the stream goes on", async () => {
  const type = newName();
  const upcast = jsonata('{"n": n > 0 ? n * 2 : $error("n must be positive\u0001, not " & n)}');
  await registerVersions(url, type, [object({ n: number }), { schema: object({ n: number }), upcast }]);
  const data = [1, -1, 2, "x", 3].map((n) => ({ type, data: { n } }));
  await append(url, type, data);
  const live = await openEventStream(events(type, "from=beginning&schema=latest"));
  await live.until("history has come", () => came(live).length === 5);
  await append(url, type, data);
  await live.until("all have come", () => came(live).length === 10);
  const found = await page(events(type, "schema=latest"));
  expect(live.events()).toEqual(found);
  const once = [
    ["2", { n: 2 }],
    ["1", { n: -1 }],
    ["2", { n: 4 }],
    ["1", { n: "x" }],
    ["2", { n: 6 }],
  ];
  expect(shown(found)).toEqual([...once, ...once]);
  expect(found[1]?.upcasterror).toBe("The upcaster failed: n must be positive , not -1");
  expect(found[3]?.upcasterror).toMatch(/^The upcaster failed: ./);
  for (const at of [0, 2, 4]) expect(found[at]).not.toHaveProperty("upcasterror");
  expect(await page(events(type, ""))).toEqual(
    found
      .map((event, n) => ({
        ...event,
        ...{
          schemaversion: "1",
          data: data[n % 5]?.data,
          dataschema: versionUrl(url, type, 1),
          upcasterror: undefined,
        },
      }))
      .map((event) => JSON.parse(JSON.stringify(event))),
  );
  live.close();
});

test("an upcaster that was mended shows in what is read and follows from then on", async () => {
  const type = newName();
  const second = (expression: string) => ({ schema: object({ n: number }), upcast: jsonata(expression) });
  await registerVersions(url, type, [object({ n: number }), second("$error('not yet')")]);
  await append(url, type, { type, data: { n: 1 } });
  const live = await openEventStream(events(type, "from=beginning&schema=latest"));
  await live.until("it has come", () => came(live).length === 1);
  expect(live.events()[0]?.upcasterror).toContain("not yet");
  await proposeVersion(url, type, 2, second('{"n": n + 100}'));
  await append(url, type, { type, data: { n: 2 } });
  await live.until("the next has come", () => came(live).length === 2);
  expect(live.events()[1]).toMatchObject({ schemaversion: "2", data: { n: 102 } });
  expect(shown(await page(events(type, "schema=latest")))).toEqual([
    ["2", { n: 101 }],
    ["2", { n: 102 }],
  ]);
  live.close();
});

test("events without JSON data cannot be upcast, and say so", async () => {
  const type = newName();
  await registerVersions(url, type, people);
  await append(url, type, [
    { type },
    { type, datacontenttype: "text/plain", data_base64: "eA==" },
    { type, data: ada[0] },
  ]);
  const found = await page(events(type, "schema=latest"));
  expect(found.map(({ upcasterror, schemaversion }) => [upcasterror, schemaversion])).toEqual([
    ["The event has no JSON data", "1"],
    ["The event has no JSON data", "1"],
    [undefined, "3"],
  ]);
  expect(found[1]?.data_base64).toBe("eA==");
  expect((await lines(events(type, "schema=latest"))).map((line) => JSON.parse(line))).toEqual(found);
});

test("what is no version, or none that is registered, is refused in every form of reading", async () => {
  const { type } = await newPeople();
  const wrong = [
    "",
    "newest",
    "0",
    "01",
    "-1",
    "1.5",
    `${type}@`,
    `${type}@0`,
    `${type}@4`,
    "Nobody@1",
    "latest,stored",
  ];
  for (const target of [...wrong, "@1", `${type}@1,${type}@2`, ",latest", "sluice.own@1", `${type}@9999999999`])
    for (const accept of ["application/json", "application/x-ndjson", "text/event-stream"]) {
      const path = events(type, `schema=${encodeURIComponent(target)}`);
      const problem = expectProblem(await send(path, { headers: { accept } }), 400, "invalid-parameter");
      expect(problem.parameter).toBe("schema");
    }
  const many = Array.from({ length: 101 }, (_, n) => `T${n}@1`).join(",");
  expectProblem(await send(events(type, `schema=${many}`)), 400, "invalid-parameter");
  expectProblem(await send(events(type, "schema=latest&schema=stored")), 400, "invalid-parameter");
});
