// What /metrics says of subscriptions.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, send } from "../support/client.ts";
import { ack, claim, nack, post, put, queue, subscription, tokens } from "../support/consume.ts";
import { type Service, spawnService, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";
import { until } from "../support/until.ts";

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

test("what becomes of events, dead letters, cursors and members is counted", async () => {
  const own = await startService();
  const counted = async () => {
    const text = await (await fetch(`${own.url}/metrics`)).text();
    const count = (name: string) => Number(new RegExp(`^sluice_${name}_total ([\\d.e+-]+)$`, "m").exec(text)?.[1]);
    return {
      expired: count("leases_expired"),
      dead: count("dead_letters_created"),
      replayed: count("dead_letters_replayed"),
      discarded: count("dead_letters_discarded"),
      resets: count("offset_resets"),
      joined: count("consumers_joined"),
      left: count("consumers_left"),
      silent: count("consumers_silent"),
    };
  };
  const nothing = { expired: 0, dead: 0, replayed: 0, discarded: 0, resets: 0, joined: 0, left: 0, silent: 0 };
  expect(await counted()).toEqual(nothing);

  const events = Array.from({ length: 6 }, (_, n) => ({ type: "A", data: { n } }));
  await append(own.url, "counted", events);
  const source = subscription(own.url, "counter");
  await put(source.url, { stream: "counted", mode: "exclusive", from: "beginning", maxAttempts: 1 });
  const held = tokens(await claim(source, { consumer: "a", max: 3 }));
  await nack(source, held.slice(0, 2), { action: "dead-letter" });
  await nack(source, held.slice(2));
  expect(await counted()).toEqual({ ...nothing, joined: 1, dead: 3 });
  await claim(source, { consumer: "b", max: 2, visibilityTimeout: "100ms" });
  await until("they ran out", async () => (await counted()).expired === 2);
  expect(await counted()).toEqual({ ...nothing, joined: 2, dead: 5, expired: 2 });

  const { deadLetters } = (await send<{ deadLetters: { id: string }[] }>(`${source.url}/dead-letters`)).body;
  await post(`${source.url}/dead-letters/replay`, { ids: deadLetters.slice(0, 2).map(({ id }) => id) });
  await post(`${source.url}/dead-letters`, { all: true }, "DELETE");
  await post(`${source.url}/reset-offset`, { to: "latest" });
  expect(await counted()).toEqual({ ...nothing, joined: 2, dead: 5, expired: 2, replayed: 2, discarded: 3, resets: 1 });

  await send(`${source.url}/consumers/a`, { method: "DELETE" });
  await put(`${own.url}/api/subscriptions/group`, { stream: "counted", mode: "consumer-group", consumerTimeout: "1s" });
  const member = await openEventStream(`${own.url}/api/subscriptions/group/events?consumer=c`);
  await member.until("it is ready", () => member.frames.length > 0);
  member.close();
  await until("it has left", async () => (await counted()).left === 2);
  await claim(subscription(own.url, "group"), { consumer: "d" });
  await until("it fell silent", async () => (await counted()).silent === 1);
  expect(await counted()).toMatchObject({ joined: 4, left: 2, silent: 1 });
  await own.stop();
});

test("the operator's guide names every metric that is served", async () => {
  const guide = await Bun.file(`${import.meta.dir}/../../docs/operation.md`).text();
  const text = await (await fetch(`${service.url}/metrics`)).text();
  const names = [...text.matchAll(/^# TYPE sluice_(\w+) /gm)].map(([, name]) => name as string);
  expect(names.length).toBeGreaterThan(50);
  expect(names.filter((name) => !guide.includes(`\`${name}\``))).toEqual([]);
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
