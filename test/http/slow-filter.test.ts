// A payload predicate that is slow on every event: pages take fewer events instead of running into the time limit.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

// Far below the limit for one event, also on a busy machine, and far above it for all of them.
const total = 400;
const limitMs = 1_000;
// Compares each number with each: 160 thousand comparisons an event.
const numbers = Array.from({ length: 400 }, (_, i) => i);
const where = encodeURIComponent("exists($.numbers[*] ? (@ + 0.5 == $.numbers[*])) || $.last == true");

let service: Service;
beforeAll(async () => {
  service = await startService({ DATABASE_TIMEOUT: `${limitMs}ms` });
  const events = Array.from({ length: total }, (_, n) => ({ type: "T", data: { n, numbers, last: n === total - 1 } }));
  expect((await append(service.url, "slow", events)).status).toBe(201);
});
afterAll(() => service.stop());

test("the predicate is too slow for all events in one statement", async () => {
  const sql = openSql(service.databaseUrl, 1);
  await sql`select set_config('statement_timeout', ${String(limitMs)}, false)`;
  const path = decodeURIComponent(where);
  const all = sql`select count(*) from events e where e.data::jsonb @@ ${path}::text::jsonpath`.execute();
  await expect(all.then()).rejects.toThrow("statement timeout");
  await sql.end();
});

test("pages find what matches all the same", async () => {
  const found: string[] = [];
  for (let next: string | null = `/api/streams/slow/events?where=${where}`; next !== null; ) {
    const page: { events: Envelope[]; next: string | null } = (
      await send<{ events: Envelope[]; next: string | null }>(service.url + next)
    ).body;
    found.push(...page.events.map((event) => event.offset));
    next = page.next;
  }
  expect(found).toEqual([String(total - 1)]);
}, 120_000);

test("and so does a follower", async () => {
  const response = await fetch(
    `${service.url}/api/streams/slow/events?from=beginning&limit=1&progress=true&where=${where}`,
    {
      headers: { accept: "text/event-stream" },
    },
  );
  const text = await response.text();
  expect(text).toContain(`id: ${total - 1}\ndata: {`);
  expect(text).toContain("event: sluice.end");
  // How many there are could not be counted in time: there is no progress to tell.
  expect(text).not.toContain("sluice.progress");
}, 120_000);

test("an event on which the predicate never ends is named, to the reader of pages and to the follower", async () => {
  // Three nested comparisons of all with all: 64 million.
  const endless = encodeURIComponent(
    "exists($.numbers[*] ? (exists(@.x) || exists($.numbers[*] ? (exists(@.y) || exists($.numbers[*] ? (@ == -1))))))",
  );
  const page = await send(`${service.url}/api/streams/slow/events?where=${endless}`);
  const problem = expectProblem(page, 400, "invalid-filter");
  expect(problem.detail).toContain("at position");
  const follower = await fetch(`${service.url}/api/streams/slow/events?from=beginning&where=${endless}`, {
    headers: { accept: "text/event-stream" },
  });
  const text = await follower.text();
  expect(text).toContain('"type":"/problems/invalid-filter"');
  expect(text).toContain('event: sluice.end\ndata: {"reason":"failed"}');
}, 120_000);
