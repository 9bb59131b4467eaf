// Claims under load: who got nothing has its turn while others go on, and who cannot wait is answered.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append } from "../support/client.ts";
import { ack, claim, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

/** Enough for the others never to run out of events before a claim that is passed over has been noticed. */
const backlog = 4_000;
const muchLess = 1_500;

/** Consumers that claim one event after the other until they are told to stop; how many they have been given. */
function load(source: Parameters<typeof claim>[0], names: readonly string[]) {
  let isOver = false;
  let taken = 0;
  const done = Promise.all(
    names.map(async (consumer) => {
      while (!isOver) {
        const held = await claim(source, { consumer, max: 1 });
        taken += held.length;
        if (held.length > 0) await ack(source, tokens(held));
      }
    }),
  );
  return {
    taken: () => taken,
    async stop() {
      isOver = true;
      await done;
    },
  };
}

test("a claim that cannot wait, of a consumer without credit, is answered while others take from a backlog", async () => {
  const stream = "credit";
  await put(`${service.url}/api/subscriptions/credit`, {
    stream,
    mode: "exclusive",
    from: "beginning",
    maxInFlight: 2,
  });
  const source = subscription(service.url, "credit");
  for (let n = 0; n < backlog; n += 1_000) await append(service.url, stream, jobs(1_000));
  expect(await claim(source, { consumer: "full", max: 2 })).toHaveLength(2);
  const others = load(source, names(24));
  for (let n = 0; n < 20; n++) expect(await claim(source, { consumer: "full", max: 1 })).toEqual([]);
  expect(others.taken()).toBeLessThan(muchLess);
  await others.stop();
});

test("a member of a group that waits is given what comes for it while others take from a backlog", async () => {
  const stream = "turns";
  await put(`${service.url}/api/subscriptions/turns`, { stream, mode: "consumer-group", from: "beginning" });
  const source = subscription(service.url, "turns");
  const others = names(7);
  for (const name of [...others, "late"]) await put(`${source.url}/consumers/${name}`, { metadata: {} });
  await append(service.url, stream, jobs(64, keys));
  const own = await claim(source, { consumer: "late", max: 64 });
  const keysOfOthers: string[] = [];
  for (const consumer of others) {
    const held = await claim(source, { consumer, max: 64 });
    keysOfOthers.push(...held.map(({ event }) => event.partitionkey as string));
    await ack(source, tokens(held));
  }
  await ack(source, tokens(own));
  for (let n = 0; n < backlog; n += 1_000) await append(service.url, stream, jobs(1_000, keysOfOthers));
  const running = load(source, [...others, ...others, ...others]);
  const waiting = claim(source, { consumer: "late", max: 1, wait: "60s" });
  await until("the others are under way", () => running.taken() > 40);
  await append(service.url, stream, jobs(1, [own[0]?.event.partitionkey as string]));
  const before = running.taken();
  expect(await waiting).toHaveLength(1);
  expect(running.taken() - before).toBeLessThan(muchLess);
  await running.stop();
});

const names = (count: number) => Array.from({ length: count }, (_, n) => `c${n}`);
const keys = Array.from({ length: 64 }, (_, n) => `k${n}`);

function jobs(count: number, ofKeys: readonly string[] = []): object[] {
  return Array.from({ length: count }, (_, n) => ({
    type: "Job",
    data: { n },
    ...(ofKeys.length > 0 && { partitionkey: ofKeys[n % ofKeys.length] }),
  }));
}
