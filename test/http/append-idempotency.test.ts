// Ids that a producer gives: stored once, however often and wherever they are sent.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, readAll } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
let other: Service;
beforeAll(async () => {
  service = await startService();
  other = await startService({ DATABASE_URL: service.databaseUrl });
});
afterAll(async () => {
  await other.stop();
  await service.stop();
});

const placed = (id: string, data: unknown = { total: 1 }) => ({ id, type: "Placed", data });

test("an event of the same id is answered with its first offset and not stored again", async () => {
  await append(service.url, "orders", { type: "Opened" });
  const first = await append(service.url, "orders", placed("o-1"));
  expect(first.body.events).toEqual([{ id: "o-1", offset: "1", duplicate: false }]);
  await append(service.url, "orders", { type: "Closed" });
  for (const base of [service.url, other.url]) {
    const again = await append(base, "orders", placed("o-1"));
    expect(again.status).toBe(200);
    expect(again.body).toEqual({
      stream: "orders",
      firstOffset: "1",
      lastOffset: "1",
      lastPosition: first.body.lastPosition,
      events: [{ id: "o-1", offset: "1", duplicate: true }],
    });
    expect(again.headers.get("etag")).toBe('"1"');
  }
  expect(await readAll(service.url, "orders")).toHaveLength(3);
});

test("the same id with another type, data or attribute is a conflict that names the id", async () => {
  await append(service.url, "conflicts", { ...placed("c-1"), subject: "s" });
  const others = [
    { ...placed("c-1"), subject: "s", type: "Other" },
    { ...placed("c-1", { total: 2 }), subject: "s" },
    { ...placed("c-1"), subject: "t" },
    { ...placed("c-1") },
    { ...placed("c-1"), subject: "s", schemaversion: "2" },
    { ...placed("c-1"), subject: "s", correlationid: "x" },
    { ...placed("c-1"), subject: "s", partitionkey: "x" },
    { ...placed("c-1"), subject: "s", extra: true },
    { id: "c-1", type: "Placed", subject: "s" },
    { id: "c-1", type: "Placed", subject: "s", data_base64: "eyJ0b3RhbCI6MX0=" },
  ];
  for (const event of others) {
    const answer = await append(service.url, "conflicts", event);
    expect(expectProblem(answer, 409, "event-id-conflict")).toMatchObject({ stream: "conflicts", ids: ["c-1"] });
  }
  expect(await readAll(service.url, "conflicts")).toHaveLength(1);
});

test("a conflict names the ids at fault and not their neighbours", async () => {
  await append(service.url, "guilt", [placed("g-1"), placed("g-2"), placed("g-3")]);
  const answer = await append(service.url, "guilt", [
    placed("g-0"),
    placed("g-1"),
    placed("g-2", "new"),
    placed("g-3"),
  ]);
  expect(expectProblem(answer, 409, "event-id-conflict").ids).toEqual(["g-2"]);
});

test("the order of attributes and the form of a default do not make other content", async () => {
  await append(service.url, "defaults", { type: "Placed", id: "d-1", subject: "s", time: "2026-01-01T00:00:00Z" });
  const same = await append(service.url, "defaults", {
    time: "2026-01-01T00:00:00Z",
    schemaversion: 1,
    specversion: "1.0",
    subject: "s",
    source: "/sluice/streams/defaults",
    id: "d-1",
    type: "Placed",
    extension: null,
  });
  expect(same.status).toBe(200);
  expect(same.body.events[0]?.duplicate).toBe(true);
});

test("one id under two sources is two events, and under two streams as well", async () => {
  const at = async (stream: string, source?: string) =>
    (await append(service.url, stream, { ...placed("s-1"), ...(source ? { source } : {}) })).status;
  expect([await at("sources", "/a"), await at("sources", "/b"), await at("sources"), await at("sources2")]).toEqual([
    201, 201, 201, 201,
  ]);
  expect([await at("sources", "/a"), await at("sources", "/b"), await at("sources"), await at("sources2")]).toEqual([
    200, 200, 200, 200,
  ]);
});

test("one id sent thirty times at once to two services is stored once", async () => {
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => append(i % 2 ? service.url : other.url, "burst", placed("b-1"))),
  );
  expect(answers.map((answer) => answer.status).sort()).toEqual([...Array<number>(29).fill(200), 201]);
  expect(
    new Set(answers.map((answer) => JSON.stringify([answer.body.lastPosition, answer.body.firstOffset]))).size,
  ).toBe(1);
  expect(await readAll(service.url, "burst")).toHaveLength(1);
});

test("of two contents under one id at once, one is stored and the other refused", async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => append(i % 2 ? service.url : other.url, "rivals", placed("r-1", i % 2))),
  );
  const statuses = answers.map((answer) => answer.status).sort();
  expect(statuses).toEqual([...Array<number>(9).fill(200), 201, ...Array<number>(10).fill(409)]);
  expect(await readAll(service.url, "rivals")).toHaveLength(1);
});

test("a duplicate within one array is answered with its twin's offset", async () => {
  const answer = await append(service.url, "twins", [placed("t-1"), { type: "Between" }, placed("t-1"), placed("t-2")]);
  expect(answer.status).toBe(201);
  expect(answer.body.events.map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
    ["0", false],
    ["1", false],
    ["0", true],
    ["2", false],
  ]);
  expect((await readAll(service.url, "twins")).map((event) => event.offset)).toEqual(["0", "1", "2"]);
});

test("an array that holds one id with two contents is refused whole", async () => {
  const answer = await append(service.url, "halves", [placed("h-1"), placed("h-1", "other")]);
  expect(expectProblem(answer, 409, "event-id-conflict").ids).toEqual(["h-1"]);
  expect(await readAll(service.url, "halves")).toEqual([]);
});

test("an array with one conflicting id stores none of its events", async () => {
  await append(service.url, "mixed", placed("m-1"));
  expectProblem(
    await append(service.url, "mixed", [placed("m-2"), placed("m-1", "other"), { type: "New" }]),
    409,
    "event-id-conflict",
  );
  expect(await readAll(service.url, "mixed")).toHaveLength(1);
});

test("the expected version is judged when an array holds a new event, and not when it holds none", async () => {
  const array = [placed("v-1"), placed("v-2")];
  const first = await append(service.url, "judged", array, { "if-none-match": "*" });
  expect(first.status).toBe(201);
  await append(service.url, "judged", { type: "Later" });
  const retried = await append(service.url, "judged", array, { "if-none-match": "*" });
  expect(retried.status).toBe(200);
  expect(retried.body.events.map((event) => event.offset)).toEqual(["0", "1"]);
  const stale = await append(service.url, "judged", [...array, placed("v-3")], { "if-none-match": "*" });
  expect(expectProblem(stale, 412, "wrong-expected-version").actual).toBe("2");
  const right = await append(service.url, "judged", [...array, placed("v-3")], { "if-match": '"2"' });
  expect(right.status).toBe(201);
  expect(right.body.events.map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
    ["0", true],
    ["1", true],
    ["3", false],
  ]);
});

test("lastPosition is the highest position among the events, in whatever order they came", async () => {
  const old = await append(service.url, "highest", placed("p-1"));
  const answer = await append(service.url, "highest", [{ type: "New" }, placed("p-1")]);
  expect(Number(answer.body.lastPosition)).toBeGreaterThan(Number(old.body.lastPosition));
  const [, stored] = await readAll(service.url, "highest");
  expect(answer.body.lastPosition).toBe(stored?.position as string);
  expect([answer.body.firstOffset, answer.body.lastOffset]).toEqual(["0", "1"]);
});

test("an id is known after a restart of the service", async () => {
  const short = await startService({ DATABASE_URL: service.databaseUrl });
  await append(short.url, "restarts", placed("x-1"));
  await short.stop();
  const next = await startService({ DATABASE_URL: service.databaseUrl });
  expect((await append(next.url, "restarts", placed("x-1"))).status).toBe(200);
  await next.stop();
});
