// What every service must answer, whatever it runs on: checked by its base URL alone, in streams of names of their own.
import { expect, test } from "bun:test";
import { append, type Envelope, expectProblem, readAll, send } from "../support/client.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

type Page = { events: Envelope[]; next: string | null; head: string };

const many = (n: number) => Array.from({ length: n }, (_, i) => ({ type: i % 2 ? "Odd" : "Even", data: { i } }));
const json = { "content-type": "application/json" };

/** Registers the cases against the service that `base` names when they run. */
export function conformance(base: () => string): void {
  const events = (stream: string, query = "") => `${base()}/api/streams/${stream}/events${query}`;

  test("an append is answered with offsets, and its stream describes itself", async () => {
    const answer = await append(base(), "described", many(3));
    expect(answer.status).toBe(201);
    expect(answer.headers.get("etag")).toBe('"2"');
    expect(answer.body).toMatchObject({ stream: "described", firstOffset: "0", lastOffset: "2" });
    const described = await send<{ length: string }>(`${base()}/api/streams/described`);
    expect([described.headers.get("etag"), described.body.length]).toEqual(['"2"', "3"]);
    const head = await fetch(`${base()}/api/streams/described`, { method: "HEAD" });
    expect([head.status, head.headers.get("etag"), await head.text()]).toEqual([200, '"2"', ""]);
  });

  test("CloudEvents in binary and in batch mode come back as they were written", async () => {
    const binary = await send(events("modes"), {
      method: "POST",
      headers: {
        "content-type": "text/plain",
        "ce-specversion": "1.0",
        "ce-id": "b",
        "ce-type": "T",
        "ce-source": "/s",
      },
      body: "hällo",
    });
    expect(binary.status).toBe(201);
    const batch = await send(events("modes"), {
      method: "POST",
      headers: { "content-type": "application/cloudevents-batch+json" },
      body: JSON.stringify([{ specversion: "1.0", id: "c", type: "T", source: "/s", data: [1, null, "x"] }]),
    });
    expect(batch.status).toBe(201);
    const [first, second] = await readAll(base(), "modes");
    expect(first).toMatchObject({ id: "b", datacontenttype: "text/plain" });
    expect(Buffer.from(first?.data_base64 as string, "base64").toString()).toBe("hällo");
    expect(second).toMatchObject({ id: "c", source: "/s", data: [1, null, "x"] });
  });

  test("a wrong expected version is 412 with the actual one, and of rivals one wins", async () => {
    await append(base(), "versions", { type: "A" });
    const stale = await append(base(), "versions", { type: "A" }, { "if-none-match": "*" });
    expect(expectProblem(stale, 412, "wrong-expected-version")).toMatchObject({ expected: "-1", actual: "0" });
    const rivals = await Promise.all(
      Array.from({ length: 10 }, () => append(base(), "versions", { type: "A" }, { "if-match": '"0"' })),
    );
    expect(rivals.map((rival) => rival.status).sort()).toEqual([201, ...Array(9).fill(412)]);
  });

  test("ids and idempotency keys make repetitions harmless", async () => {
    const given = { id: "once", type: "A", data: 1 };
    expect((await append(base(), "repeated", given)).status).toBe(201);
    expect((await append(base(), "repeated", given)).status).toBe(200);
    expectProblem(await append(base(), "repeated", { ...given, data: 2 }), 409, "event-id-conflict");
    const first = await append(base(), "repeated", { type: "B" }, { "idempotency-key": "k" });
    const again = await append(base(), "repeated", { type: "B" }, { "idempotency-key": "k" });
    expect([again.status, again.text]).toEqual([first.status, first.text]);
    expect(await readAll(base(), "repeated")).toHaveLength(2);
  });

  test("pages link on, backward too, and filters of all kinds select", async () => {
    await append(base(), "paged", many(25));
    const seen: string[] = [];
    for (let next: string | null = "/api/streams/paged/events?limit=10&direction=backward"; next !== null; ) {
      const page: Page = (await send<Page>(base() + next)).body;
      seen.push(...page.events.map((event) => event.offset));
      next = page.next;
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => String(24 - i)));
    const where = encodeURIComponent("$.i >= 20");
    const filtered = await send<Page>(events("paged", `?types=Odd&where=${where}`));
    expect(filtered.body.events.map((event) => event.offset)).toEqual(["21", "23"]);
  });

  test("a replay is one envelope a line", async () => {
    for (let n = 0; n < 5; n++) await append(base(), "replayed", many(500));
    const response = await fetch(events("replayed", "?from=100"), { headers: { accept: "application/x-ndjson" } });
    const lines = (await response.text()).trim().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as Envelope).offset)).toEqual(
      Array.from({ length: 2_400 }, (_, i) => String(100 + i)),
    );
  });

  test("a follower gets history, then what comes, and resumes behind its last id", async () => {
    await append(base(), "followed", many(3));
    const stream = await openEventStream(events("followed", "?from=beginning"));
    expect(stream.headers.get("content-type")).toStartWith("text/event-stream");
    await stream.until("history has come", () => stream.events().length === 3);
    await append(base(), "followed", { type: "Live" });
    await stream.until("the live event has come", () => stream.events().length === 4);
    stream.close();
    await append(base(), "followed", { type: "Missed" });
    const resumed = await openEventStream(events("followed"), { "last-event-id": stream.lastEventId() });
    await resumed.until("what was missed has come", () => resumed.events().length > 0);
    expect(resumed.events().map((event) => event.type)).toEqual(["Missed"]);
    resumed.close();
  });

  test("a bounded follower ends, and is told so when it comes back", async () => {
    await append(base(), "bounded", many(5));
    const stream = await openEventStream(events("bounded", "?from=1&to=3"));
    await stream.until("it has ended", () => stream.ended());
    expect(stream.events().map((event) => event.offset)).toEqual(["1", "2", "3"]);
    const again = await openEventStream(events("bounded", "?from=1&to=3"), { "last-event-id": stream.lastEventId() });
    expect(again.status).toBe(204);
  });

  test("a follower that leaves is gone from the metrics", async () => {
    const open = async () => {
      const text = await (await fetch(`${base()}/metrics`)).text();
      return Number(/^sluice_sse_connections(?:\{[^}]*\})? (\d+)$/m.exec(text)?.[1]);
    };
    await until("no event stream is open", async () => (await open()) === 0);
    const streams = await Promise.all([1, 2, 3].map(() => openEventStream(events("left"))));
    await until("three are open", async () => (await open()) === 3);
    for (const stream of streams) stream.close();
    await until("none is open", async () => (await open()) === 0);
  });

  test("bad input of every kind is a problem", async () => {
    expectProblem(await append(base(), "bad", "{"), 400, "malformed-body");
    expectProblem(await append(base(), "bad", Uint8Array.from([0x22, 0xff, 0x22])), 400, "malformed-body");
    expectProblem(await append(base(), "bad", []), 422, "empty-append");
    expectProblem(await append(base(), "bad", { data: 1 }), 422, "invalid-event");
    expectProblem(await append(base(), "bad", '{"type":"A","data":"\\u0000"}'), 422, "invalid-event");
    expectProblem(await append(base(), "bad", `{"type":"${"x".repeat(1_100_000)}"}`), 413, "body-too-large");
    expectProblem(await append(base(), "bad", "x", { "content-type": "text/csv" }), 415, "unsupported-media-type");
    expectProblem(await append(base(), "b%20ad", { type: "A" }), 400, "invalid-stream-name");
    expectProblem(await send(events("bad")), 404, "stream-not-found");
    expectProblem(await send(events("described", "?limit=0")), 400, "invalid-parameter");
    expectProblem(await send(events("described", "?from=sometime")), 400, "invalid-place");
    expectProblem(await send(events("described", "?where=%24.")), 400, "invalid-filter");
    expectProblem(await send(events("described"), { headers: { accept: "text/csv" } }), 406, "not-acceptable");
    expectProblem(await send(`${base()}/api/nothing`), 404, "not-found");
    const refused = await send(`${base()}/api/streams`, { method: "DELETE", headers: json });
    expectProblem(refused, 405, "method-not-allowed");
    expect(refused.headers.get("allow")).toBe("GET, HEAD");
  });

  test("a deleted stream is gone, and its offsets go on", async () => {
    await append(base(), "deleted", many(4));
    expect((await send(`${base()}/api/streams/deleted`, { method: "DELETE" })).status).toBe(204);
    expectProblem(await send(events("deleted")), 404, "stream-not-found");
    expect((await append(base(), "deleted", { type: "A" })).body.firstOffset).toBe("4");
    expectProblem(await send(`${base()}/api/streams/deleted/events/1`), 410, "event-removed");
  });

  test("it says that it lives, is ready, and what it offers", async () => {
    expect((await send(`${base()}/livez`)).status).toBe(200);
    expect((await send(`${base()}/readyz`)).status).toBe(200);
    expect((await send<{ openapi: string }>(`${base()}/openapi.json`)).body.openapi).toStartWith("3.1");
    expect((await send(`${base()}/docs`)).status).toBe(200);
  });
}
