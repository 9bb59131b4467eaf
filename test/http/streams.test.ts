// Streams as resources: created, described, listed, deleted, and used again.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, type Envelope, expectProblem, readAll, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

type Description = Record<string, unknown>;
type List = { streams: Description[]; next: string | null };

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

const url = (name: string) => `${service.url}/api/streams/${name}`;
const put = (name: string, body: unknown = {}) =>
  send<Description>(url(name), { method: "PUT", body: typeof body === "string" ? body : JSON.stringify(body) });
const remove = (name: string) => send(url(name), { method: "DELETE" });
const describeStream = (name: string) => send<Description>(url(name));

test("a configured stream is created once and then reconfigured", async () => {
  const created = await put("configured", { replay: false });
  expect(created.status).toBe(201);
  expect(created.body).toEqual({
    name: "configured",
    type: "persistent",
    delivery: "at-least-once",
    scope: "internal",
    nats: null,
    replay: false,
    validation: "off",
    retention: { maxAge: null, maxBytes: null, maxEvents: null },
    visibilityTimeout: null,
    maxAttempts: null,
    backoff: null,
    createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
    length: "0",
    firstOffset: null,
    lastOffset: null,
    firstTime: null,
    lastTime: null,
    bytes: "0",
    pending: null,
    deadLetters: null,
  });
  expect(created.headers.get("etag")).toBe('"-1"');
  const changed = await put("configured", { replay: true, type: "persistent", delivery: "at-least-once" });
  expect([changed.status, changed.body.replay, changed.body.createdAt]).toEqual([200, true, created.body.createdAt]);
  expect((await describeStream("configured")).body).toEqual(changed.body);
});

test("an ephemeral stream has a queue and a bound, and what is shown can be written again", async () => {
  const created = await put("mails", { type: "ephemeral" });
  const settings = {
    type: "ephemeral",
    delivery: "at-least-once",
    scope: "internal",
    nats: null,
    validation: "off",
    replay: false,
    retention: { maxAge: "7d", maxBytes: null, maxEvents: null },
    visibilityTimeout: "30s",
    maxAttempts: 5,
    backoff: { initial: "1s", factor: 2, max: "1m" },
  };
  expect(created.status).toBe(201);
  expect(created.body).toMatchObject(settings);
  expect((await put("mails", settings)).body).toEqual(created.body);
  const changed = {
    ...settings,
    delivery: "at-most-once",
    retention: { maxAge: "24h", maxBytes: 5_000_000, maxEvents: "9007199254740991" },
    visibilityTimeout: "500ms",
    maxAttempts: 1,
    backoff: { initial: "0s", factor: 1.5, max: "90s" },
  };
  const retention = { maxAge: "1d", maxBytes: "5000000", maxEvents: "9007199254740991" };
  expect((await put("mails", changed)).body).toMatchObject({ ...changed, retention });
  expect((await describeStream("mails")).body).toMatchObject({ ...changed, retention });
  expect((await send<List>(`${service.url}/api/streams?prefix=mails`)).body.streams[0]).toMatchObject({ retention });
  // A longer first pause than the longest one by default is meant.
  const slow = await put("mails", {
    type: "ephemeral",
    backoff: { initial: "5m" },
    retention: null,
    maxAttempts: null,
  });
  expect(slow.body).toMatchObject({ ...settings, backoff: { initial: "5m", factor: 2, max: "5m" } });
});

test("a persistent stream shows its retention, and what is shown can be written again", async () => {
  const { body } = await put("bounded", { retention: { maxAge: "30d", maxEvents: 10 }, delivery: "exactly-once" });
  const { delivery, retention, visibilityTimeout, maxAttempts, backoff } = body;
  expect([delivery, retention]).toEqual(["exactly-once", { maxAge: "30d", maxBytes: null, maxEvents: "10" }]);
  const again = await put("bounded", { delivery, retention, visibilityTimeout, maxAttempts, backoff });
  expect([again.status, again.body]).toEqual([200, body]);
});

test("the type of a stream cannot change, but its name can come back as the other type", async () => {
  await append(service.url, "typed", { type: "A" });
  const problem = expectProblem(await put("typed", { type: "ephemeral" }), 409, "stream-type-fixed");
  expect(problem).toMatchObject({ stream: "typed", streamType: "persistent" });
  await remove("typed");
  expect((await put("typed", { type: "ephemeral" })).status).toBe(201);
  expect((await append(service.url, "typed", { type: "B" })).body.firstOffset).toBe("1");
  expectProblem(await put("typed"), 409, "stream-type-fixed");
  await remove("typed");
  expect((await append(service.url, "typed", { type: "C" })).body.firstOffset).toBe("2");
  expect((await describeStream("typed")).body).toMatchObject({ type: "persistent", replay: true, length: "1" });
  expect((await readAll(service.url, "typed")).map((event) => event.offset)).toEqual(["2"]);
  const rows = await sql`select e."offset"::int, e.ephemeral from events e join streams s on s.id = e.stream_id
                         where s.name = 'typed' and e."offset" >= s.first_offset`;
  expect([...rows]).toEqual([{ offset: 2, ephemeral: false }]);
});

test("an empty body configures the defaults, and a stream made by an append has them too", async () => {
  expect((await put("empty-body", "")).body.replay).toBe(true);
  await append(service.url, "by-append", { type: "A" });
  const answer = await put("by-append");
  expect([answer.status, answer.body.length]).toEqual([200, "1"]);
});

describe("a configuration that is not valid is refused, and the path says where:", () => {
  const wrong: [path: string, body: unknown][] = [
    ["/replay", { replay: "yes" }],
    ["/replay", { replay: null }],
    ["/type", { type: "temporary" }],
    ["/type", { type: null }],
    ["/replay", { type: "ephemeral", replay: true }],
    ["/delivery", { delivery: "twice" }],
    ["/delivery", { delivery: 5 }],
    ["/scope", { scope: "public" }],
    ["/scope", { scope: "cross-service", type: "ephemeral" }],
    ["/nats", { nats: {} }],
    ["/nats/stream", { scope: "cross-service", nats: { stream: "a.b" } }],
    ["/nats/stream", { scope: "cross-service", nats: { stream: "" } }],
    ["/nats/subject", { scope: "cross-service", nats: { subject: "{type}.{stream}" } }],
    ["/nats/subject", { scope: "cross-service", nats: { subject: "a..b" } }],
    ["/nats/subject", { scope: "cross-service", nats: { subject: "a.>" } }],
    ["/nats/subject", { scope: "cross-service", nats: { subject: "a b.{type}" } }],
    ["/nats/subject", { scope: "cross-service", nats: { subject: "{service}".repeat(44) + "{stream}".repeat(1) } }],
    ["/nats/mode", { scope: "cross-service", nats: { mode: "batch" } }],
    ["/nats/replicas", { scope: "cross-service", nats: { replicas: 6 } }],
    ["/nats/storage", { scope: "cross-service", nats: { storage: "tape" } }],
    ["/nats/retention/maxAge", { scope: "cross-service", nats: { retention: { maxAge: "500ms" } } }],
    ["/nats/retention/maxBytes", { scope: "cross-service", nats: { retention: { maxBytes: 0 } } }],
    ["/nats/colour", { scope: "cross-service", nats: { colour: "red" } }],
    ["/validation", { validation: "strict" }],
    ["/retention", { retention: "7d" }],
    ["/retention/maxSize", { retention: { maxSize: 5 } }],
    ["/retention/maxAge", { retention: { maxAge: "7w" } }],
    ["/retention/maxAge", { retention: { maxAge: 7 } }],
    ["/retention/maxAge", { retention: { maxAge: "0s" } }],
    ["/retention/maxAge", { retention: { maxAge: "36501d" } }],
    ["/retention/maxEvents", { retention: { maxEvents: 0 } }],
    ["/retention/maxEvents", { retention: { maxEvents: "-1" } }],
    ["/retention/maxEvents", { retention: { maxEvents: 1.5 } }],
    ["/retention/maxBytes", { retention: { maxBytes: "9007199254740993" } }],
    ["/retention/maxBytes", { retention: { maxBytes: "1e6" } }],
    ["/visibilityTimeout", { visibilityTimeout: "30s" }],
    ["/maxAttempts", { type: "persistent", maxAttempts: 3 }],
    ["/backoff", { backoff: { initial: "1s" } }],
    ["/visibilityTimeout", { type: "ephemeral", visibilityTimeout: "0s" }],
    ["/visibilityTimeout", { type: "ephemeral", visibilityTimeout: 30 }],
    ["/visibilityTimeout", { type: "ephemeral", visibilityTimeout: "13h" }],
    ["/maxAttempts", { type: "ephemeral", maxAttempts: 0 }],
    ["/maxAttempts", { type: "ephemeral", maxAttempts: "5" }],
    ["/backoff", { type: "ephemeral", backoff: [] }],
    ["/backoff/first", { type: "ephemeral", backoff: { first: "1s" } }],
    ["/backoff/factor", { type: "ephemeral", backoff: { factor: 0.5 } }],
    ["/backoff/factor", { type: "ephemeral", backoff: { factor: "2" } }],
    ["/backoff/max", { type: "ephemeral", backoff: { initial: "1m", max: "30s" } }],
    ["/colour", { colour: "red" }],
    ["/toString", { toString: 1 }],
    ["/constructor", { constructor: "x" }],
    ["/__proto__", '{"__proto__":1}'],
    ["", []],
    ["", "null"],
    ["", "5"],
  ];
  for (const [path, body] of wrong) {
    test(`${path} of ${JSON.stringify(body)}`, async () => {
      const problem = expectProblem(await put("refused", body), 422, "invalid-configuration");
      expect((problem.errors as { path: string }[]).map((error) => error.path)).toContain(path);
      expectProblem(await describeStream("refused"), 404, "stream-not-found");
    });
  }
  test("and so is a body that is no JSON", async () => {
    expectProblem(await put("refused", "{"), 400, "malformed-body");
  });
});

test("a description tells length, offsets, times and bytes", async () => {
  await append(service.url, "described", [
    { type: "A", data: "x".repeat(100) },
    { type: "B", data_base64: "YWJj" },
  ]);
  const before = (await describeStream("described")).body;
  await append(service.url, "described", { type: "C", data: "\u00e9".repeat(100) });
  const { body, headers } = await describeStream("described");
  const events = await readAll(service.url, "described");
  expect(body).toMatchObject({
    length: "3",
    firstOffset: "0",
    lastOffset: "2",
    firstTime: events[0]?.recordedtime as string,
    lastTime: events[2]?.recordedtime as string,
  });
  expect(headers.get("etag")).toBe('"2"');
  // 36 of the id, 1 of the type, the attributes, and 2 bytes for each of the letters between the quotes.
  const attributes = '{"source":"/sluice/streams/described"}'.length;
  expect(Number(body.bytes) - Number(before.bytes)).toBe(36 + 1 + attributes + 202);
});

test("HEAD tells whether there is a stream, and its version", async () => {
  await append(service.url, "headed", [{ type: "A" }, { type: "B" }]);
  const found = await send(url("headed"), { method: "HEAD" });
  expect([found.status, found.headers.get("etag"), found.text]).toEqual([200, '"1"', ""]);
  const missing = await send(url("no-such"), { method: "HEAD" });
  expect([missing.status, missing.text]).toEqual([404, ""]);
});

test("names that mean something elsewhere are names like any other", async () => {
  for (const name of ["null", "NULL", "...", "-", ":", "_", "constructor", "x".repeat(200)]) {
    const appended = await append(service.url, name, { type: "A", id: "1" });
    expect([name, appended.status]).toEqual([name, 201]);
    expect([name, (await describeStream(name)).body.length]).toEqual([name, "1"]);
    expect((await readAll(service.url, name))[0]?.stream).toBe(name);
  }
});

describe("the list", () => {
  const names = Array.from({ length: 25 }, (_, i) => `list.${String(i).padStart(2, "0")}`);
  beforeAll(async () => {
    await Promise.all(names.map((name, i) => append(service.url, name, Array(i + 1).fill({ type: "A" }))));
    await put("list", {});
    await put("lisu", {});
    await put("List.00", {});
  });
  const list = (query: string) => send<List>(`${service.url}/api/streams?${query}`);

  test("of a prefix holds what begins with it, described, in the order of names", async () => {
    const { body } = await list("prefix=list.");
    expect(body.streams.map((stream) => stream.name)).toEqual(names);
    expect(body.streams.map((stream) => stream.length)).toEqual(names.map((_, i) => String(i + 1)));
    expect(body.next).toBeNull();
    expect(body.streams[3]).toEqual((await describeStream("list.03")).body);
  });

  test("is paged by links, without loss or repetition", async () => {
    const seen: unknown[] = [];
    let next: string | null = "/api/streams?prefix=list&limit=7";
    for (let pages = 0; next !== null; pages++) {
      expect(pages).toBeLessThan(5);
      const page: List = (await send<List>(service.url + next)).body;
      expect(page.streams.length).toBe(pages < 3 ? 7 : 5);
      seen.push(...page.streams.map((stream) => stream.name));
      next = page.next;
    }
    expect(seen).toEqual(["list", ...names]);
  });

  test("of a page that is just full has no next one", async () => {
    expect((await list("prefix=list.&limit=25")).body.next).toBeNull();
    expect((await list("prefix=list.&limit=24")).body.next).toBe("/api/streams?prefix=list.&limit=24&after=list.23");
    expect((await list("prefix=list.&after=list.24")).body).toEqual({ streams: [], next: null });
  });

  test("never holds the service's own stream", async () => {
    await append(service.url, "hidden-control", { type: "A" });
    await remove("hidden-control");
    const { body } = await list("limit=1000");
    expect(body.streams.map((stream) => stream.name)).toContain("list.00");
    expect(body.streams.map((stream) => stream.name)).not.toContain("$control");
    expectProblem(await send(`${service.url}/api/streams/%24control`), 400, "invalid-stream-name");
  });

  test("refuses parameters that it cannot use", async () => {
    for (const query of ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "sort=name"]) {
      expectProblem(await list(query), 400, "invalid-parameter");
    }
    for (const query of ["prefix=%25", "after=a/b", `prefix=${"x".repeat(201)}`]) {
      expectProblem(await list(query), 400, "invalid-stream-name");
    }
  });
});

describe("a deleted stream", () => {
  test("is gone, for every question about it, and a second deletion finds nothing", async () => {
    await append(service.url, "gone", [{ type: "A" }, { type: "B" }]);
    const deleted = await remove("gone");
    expect([deleted.status, deleted.text]).toEqual([204, ""]);
    for (const path of ["", "/events", "/events/0"]) {
      expectProblem(await send(url("gone") + path), 404, "stream-not-found");
    }
    expect((await send<List>(`${service.url}/api/streams?prefix=gone`)).body.streams).toEqual([]);
    expectProblem(await remove("gone"), 404, "stream-not-found");
    const all = await send<{ events: Envelope[] }>(`${service.url}/api/events?limit=1000`);
    const names = all.body.events.map((event) => event.stream);
    expect(names).toContain("headed");
    expect(names).not.toContain("gone");
  });

  test("that never was cannot be deleted", async () => {
    expectProblem(await remove("never-was"), 404, "stream-not-found");
  });

  test("takes a position of the log for the record of it, between the events before and after", async () => {
    const before = await append(service.url, "recorded", [{ type: "A" }, { type: "B" }]);
    await remove("recorded");
    const after = await append(service.url, "recorded-next", { type: "A" });
    expect(Number(after.body.lastPosition)).toBe(Number(before.body.lastPosition) + 2);
    const rows = await sql`
      select type, data from events e where position = ${Number(before.body.lastPosition) + 1}`;
    expect(rows[0]?.type).toBe("sluice.stream-deleted");
    expect(rows[0]?.data).toEqual({ stream: "recorded", from: "0", to: "1" });
  });

  test("can be used again: offsets go on, length and bytes begin anew", async () => {
    await append(service.url, "reused", [
      { type: "A", data: "x".repeat(1_000) },
      { type: "B", data: "x".repeat(1_000) },
    ]);
    await remove("reused");
    const again = await append(service.url, "reused", { type: "C" });
    expect([again.status, again.body.firstOffset]).toEqual([201, "2"]);
    const { body } = await describeStream("reused");
    expect(body).toMatchObject({
      length: "1",
      firstOffset: "2",
      lastOffset: "2",
      firstTime: body.lastTime as string,
    });
    expect(Number(body.bytes)).toBeLessThan(200);
    expect((await readAll(service.url, "reused")).map((event) => event.type)).toEqual(["C"]);
    await remove("reused");
    expect((await append(service.url, "reused", { type: "D" })).body.firstOffset).toBe("3");
  });

  test("forgets its ids and its configuration", async () => {
    await put("forgotten", { replay: false });
    for (let life = 0; life < 3; life++) {
      const answer = await append(service.url, "forgotten", { type: "A", id: "same", data: life });
      expect([answer.status, answer.body.firstOffset]).toEqual([201, String(life)]);
      expect((await append(service.url, "forgotten", { type: "A", id: "same", data: life })).status).toBe(200);
      await remove("forgotten");
    }
    await put("forgotten");
    expect((await describeStream("forgotten")).body.replay).toBe(true);
  });

  test("is purged from the disk in the background, and its new life is not", async () => {
    const events = Array.from({ length: 500 }, (_, i) => ({ type: "A", id: `id-${i}` }));
    for (let i = 0; i < 5; i++) {
      await append(
        service.url,
        "purged",
        events.map((event) => ({ ...event, id: `${event.id}-${i}` })),
      );
    }
    await remove("purged");
    await append(service.url, "purged", [{ type: "New", id: "id-0-0" }, { type: "New" }]);
    // The purge passes over a stream that an append holds, and comes back when it is woken next.
    await put("purge-waker");
    await remove("purge-waker");
    await until("the rows are gone", async () => {
      const [row] = await sql`
        select (select count(*) from events e where e.stream_id = s.id)::int as events,
               (select count(*) from event_ids i where i.stream_id = s.id)::int as ids
        from streams s where name = 'purged'`;
      return row?.events === 2 && row.ids === 1;
    });
    expect((await readAll(service.url, "purged")).map((event) => event.offset)).toEqual(["2500", "2501"]);
    expect((await append(service.url, "purged", { type: "New", id: "id-0-0" })).status).toBe(200);
  });
});

test("deletions race with appends: every acknowledged offset is new, and what is left is what came after", async () => {
  const offsets: number[] = [];
  const deleted: number[] = [];
  // There is something to delete from the start.
  offsets.push(
    ...(await append(service.url, "raced", { type: "First" })).body.events.map((event) => Number(event.offset)),
  );
  await Promise.all([
    ...Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 15; i++) {
        const answer = await append(service.url, "raced", [{ type: "A" }, { type: "B" }]);
        expect(answer.status).toBe(201);
        offsets.push(...answer.body.events.map((event) => Number(event.offset)));
      }
    }),
    (async () => {
      for (let i = 0; i < 10; i++) deleted.push((await remove("raced")).status);
    })(),
  ]);
  expect(deleted).toContain(204);
  expect(deleted.filter((status) => status !== 204 && status !== 404)).toEqual([]);
  expect(offsets.sort((a, b) => a - b)).toEqual(Array.from({ length: 241 }, (_, i) => i));
  await append(service.url, "raced", { type: "Last" });
  const left = await readAll(service.url, "raced");
  const { body } = await describeStream("raced");
  expect(left.map((event) => Number(event.offset))).toEqual(
    Array.from({ length: left.length }, (_, i) => 242 - left.length + i),
  );
  expect(body).toMatchObject({ length: String(left.length), lastOffset: "241" });
});
