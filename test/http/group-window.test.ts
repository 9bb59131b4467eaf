// A member of a group that takes nothing: what waits for it does not stop the others.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { keyHash } from "../../src/subscription/ledger/key-hash.ts";
import { append } from "../support/client.ts";
import { ack, claim, type Delivery, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { openEventStream } from "../support/sse.ts";

const events = 3_000;
const keys = 40;
const slots = 8;

let service: Service;
beforeAll(async () => {
  service = await startService({ GROUP_WINDOW: "120" });
});
afterAll(() => service.stop());

const keyOf = (n: number) => `key-${n % keys}`;
const slotOf = (n: number) => keyHash({ partitionKey: keyOf(n), position: 0 }) % slots;
const metric = async (name: string) =>
  Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await (await fetch(`${service.url}/metrics`)).text())?.[1]);

test("the others get all of their events, and soon those of a member that takes nothing, in order within each key", async () => {
  const url = `${service.url}/api/subscriptions/stalled`;
  const source = subscription(service.url, "stalled");
  await put(url, {
    stream: "stalled",
    mode: "consumer-group",
    from: "beginning",
    slots,
    maxInFlight: 20,
    visibilityTimeout: "1h",
  });
  const stalled = await openEventStream(`${url}/events?consumer=stalled`);
  await stalled.until("it is ready", () => stalled.frames.length > 0);
  for (const consumer of ["a", "b"]) await claim(source, { consumer });
  const all = Array.from({ length: events }, (_, n) => n);
  for (let n = 0; n < events; n += 500)
    await append(
      service.url,
      "stalled",
      all.slice(n, n + 500).map((i) => ({ type: "Job", partitionkey: keyOf(i), data: i })),
    );
  await stalled.until("its credit is used up", () => stalled.events().length === 20);
  const sql = openSql(service.databaseUrl);
  const draining = async () => {
    const rows = await sql`
      select g.slot from group_slots g join subscription_cursors c on c.id = g.cursor_id join subscriptions s on s.id = c.subscription_id
      where s.name = 'stalled' and (g.next_owner is not null or g.owner = 'stalled')`;
    return new Set(rows.map((row) => row.slot as number));
  };

  const got: Delivery[] = [];
  async function consume(consumer: string, isDone: () => Promise<boolean>): Promise<void> {
    while (!(await isDone())) {
      const deliveries = await claim(source, { consumer, max: 20, wait: "300ms" });
      got.push(...deliveries);
      if (deliveries.length > 0) await ack(source, tokens(deliveries));
    }
  }
  const numbersOf = () => got.map(({ event }) => event.data as number);
  const deadline = Date.now() + 100_000;
  const hasAll = async (which: (n: number) => boolean) => {
    if (Date.now() > deadline) throw new Error(`only ${got.length} events came`);
    const have = new Set(numbersOf());
    return all.every((n) => !which(n) || have.has(n));
  };
  // Of its own slots one is kept by what it holds, at least.
  const kept = () => new Set(stalled.events().map((event) => slotOf(event.data as number)));
  await Promise.all(["a", "b"].map((consumer) => consume(consumer, () => hasAll((n) => !kept().has(slotOf(n))))));
  expect(await draining()).toEqual(kept());
  expect(await metric("sluice_group_members_set_aside_total")).toBe(1);
  expect(await metric("sluice_group_windows_exhausted_total")).toBeGreaterThan(0);

  stalled.close();
  await Promise.all(["a", "b"].map((consumer) => consume(consumer, () => hasAll(() => true))));
  expect(got.length).toBe(events);
  for (let key = 0; key < keys; key++) {
    const ofKey = numbersOf().filter((n) => n % keys === key);
    expect(ofKey).toEqual(all.filter((n) => n % keys === key));
  }
  await sql.end();
}, 120_000);

test("a member that is slow is waited for, and keeps its keys", async () => {
  const source = subscription(service.url, "slow");
  await put(source.url, { stream: "slow", mode: "consumer-group", from: "beginning", slots });
  for (const consumer of ["quick", "slow"]) await claim(source, { consumer });
  const before = await metric("sluice_group_members_set_aside_total");
  await append(
    service.url,
    "slow",
    Array.from({ length: 900 }, (_, i) => ({ type: "Job", partitionkey: keyOf(i), data: i })),
  );
  const counts = { quick: 0, slow: 0 };
  async function consume(consumer: "quick" | "slow", max: number, pauseMs: number): Promise<void> {
    while (counts.quick + counts.slow < 900) {
      const deliveries = await claim(source, { consumer, max, wait: "100ms" });
      counts[consumer] += deliveries.length;
      if (deliveries.length > 0) await ack(source, tokens(deliveries));
      if (pauseMs > 0) await Bun.sleep(pauseMs);
    }
  }
  await Promise.all([consume("quick", 100, 0), consume("slow", 30, 100)]);
  expect(counts.quick + counts.slow).toBe(900);
  expect(counts.slow).toBeGreaterThan(200);
  expect(await metric("sluice_group_members_set_aside_total")).toBe(before);
}, 120_000);
