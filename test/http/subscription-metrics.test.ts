// What /metrics says of subscriptions.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append } from "../support/client.ts";
import { ack, claim, nack, put, queue, subscription, tokens } from "../support/consume.ts";
import { type Service, spawnService, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

async function figures(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.matchAll(/^sluice_subscription_(\w+)\{subscription="([^"]+)"\} ([\d.e+-]+)$/gm);
  return Object.fromEntries([...found].map(([, figure, name, value]) => [`${name} ${figure}`, Number(value)]));
}

async function fill(base: string): Promise<void> {
  const events = Array.from({ length: 5 }, (_, n) => ({ type: "A", data: { n } }));
  await append(base, "watched", events);
  const source = subscription(base, "watcher");
  await put(source.url, { stream: "watched", mode: "exclusive", from: "beginning" });
  const held = tokens(await claim(source, { consumer: "a", max: 4 })) as [string, string, string, string];
  await ack(source, [held[0]]);
  await nack(source, [held[1]], { action: "dead-letter" });
  await nack(source, [held[2]], { delay: "1h" });
}

const expected = {
  "watcher in_flight": 1,
  "watcher waiting": 1,
  "watcher dead_letters": 1,
  "watcher consumers": 1,
  "watcher lag_events": 3,
};

test("each subscription and each queue has its gauges; one that is gone has none", async () => {
  await fill(service.url);
  await put(`${service.url}/api/streams/mails`, { type: "ephemeral" });
  await append(service.url, "mails", { type: "A", data: 1 });
  await claim(queue(service.url, "mails"));
  const found = await figures(service.url);
  expect(found).toMatchObject({ ...expected, "$queue:mails in_flight": 1, "$queue:mails lag_events": 1 });
  expect(found["watcher lag_seconds"]).toBeGreaterThan(0);
  await fetch(`${service.url}/api/subscriptions/watcher`, { method: "DELETE" });
  expect(Object.keys(await figures(service.url)).filter((key) => key.startsWith("watcher"))).toEqual([]);
});

test("no more subscriptions are measured than a bound", async () => {
  const sql = openSql(service.databaseUrl);
  await put(`${service.url}/api/subscriptions/many`, { stream: "watched" });
  await sql`
    insert into subscriptions overriding system value
    select (json_populate_record(s, json_build_object('id', 1000 + n, 'name', 'many-' || n))).*
    from subscriptions s, generate_series(1, 250) n where s.name = 'many'`;
  await sql.end();
  const names = new Set(Object.keys(await figures(service.url)).map((key) => key.split(" ")[0]));
  expect(names.size).toBe(200);
});

test("a database that is slow costs a scrape its gauges of subscriptions, and nothing else", async () => {
  const sql = openSql(service.databaseUrl, 1);
  await sql.begin(async (transaction) => {
    await transaction`lock table subscription_cursors in access exclusive mode`;
    const text = await (await fetch(`${service.url}/metrics`)).text();
    expect(text).not.toContain("sluice_subscription_lag_events{");
    expect(text).toContain("sluice_events_appended_total");
  });
  await sql.end();
  expect(Object.keys(await figures(service.url)).length).toBeGreaterThan(0);
});

test("workers that share a port say the same of a subscription, and it is not added up", async () => {
  const own = await startService();
  await fill(own.url);
  const workers = await spawnService({ DATABASE_URL: own.databaseUrl, WORKERS: "2", LOG_LEVEL: "info" });
  expect(await figures(workers.url)).toMatchObject(expected);
  workers.kill("SIGTERM");
  await workers.exited;
  await own.stop();
});
