// Consuming in the process of the service, through its application object: an async iterable of what is handed out.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Received } from "../../src/subscription/consume.ts";
import { append, send } from "../support/client.ts";
import { ack, claim, offsets, put, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

let names = 0;
async function newSubscription(configuration: Record<string, unknown> = {}, types: readonly string[] = []) {
  const name = `iterated-${++names}`;
  const fill = (...types: string[]) =>
    append(
      service.url,
      name,
      types.map((type, n) => ({ type, data: {}, partitionkey: `k${n}` })),
    );
  if (configuration.delivery !== undefined)
    await put(`${service.url}/api/streams/${name}`, { delivery: configuration.delivery });
  if (types.length > 0) await fill(...types);
  const answer = await put(`${service.url}/api/subscriptions/${name}`, {
    stream: name,
    mode: "exclusive",
    from: "beginning",
    ...configuration,
  });
  expect(answer.status).toBe(201);
  return { name, fill, source: subscription(service.url, name) };
}
const jobs = (count: number) => Array<string>(count).fill("Job");
const iterate = (name: string, options: { consumer?: string; autoAcknowledge?: boolean; signal?: AbortSignal } = {}) =>
  service.consume({ subscription: name, consumer: "a", ...options });
/** What a loop is handed until it ends, each acknowledged. */
async function drain(events: AsyncIterable<Received>, got: number[] = []): Promise<number[]> {
  for await (const received of events) {
    got.push(received.event.offset);
    await received.acknowledge();
  }
  return got;
}
const failure = (ended: Promise<unknown>) =>
  ended.then(
    () => "no failure",
    (error: { code?: string }) => error.code ?? String(error),
  );

test("events come as they are appended, and are settled one by one", async () => {
  const { name, fill, source } = await newSubscription({ maxInFlight: 2 }, jobs(1));
  const got: number[] = [];
  for await (const received of iterate(name)) {
    got.push(received.event.offset);
    expect(await received.acknowledge()).toBe("settled");
    expect(await received.acknowledge()).toBe("already-settled");
    if (got.length < 4) await fill("Job");
    else break;
  }
  expect(got).toEqual([0, 1, 2, 3]);
  expect(await claim(source, { consumer: "b" })).toEqual([]);
});

test("what is given back comes again", async () => {
  const { name } = await newSubscription({}, jobs(1));
  const got: Received[] = [];
  for await (const received of iterate(name)) {
    got.push(received);
    if (got.length === 2) break;
    expect(await received.giveBack({ delayMs: 0, reason: "not yet" })).toBe("settled");
  }
  expect(got.map(({ attempt }) => attempt)).toEqual([1, 2]);
  expect(await got[1]?.acknowledge()).toBe("stale");
});

test("leaving the loop hands out anew what was not settled", async () => {
  const { name, source } = await newSubscription({}, jobs(3));
  for await (const received of iterate(name)) {
    await received.acknowledge();
    break;
  }
  expect(offsets(await claim(source, { consumer: "b", max: 10, wait: "20s" }))).toEqual([1, 2]);
});

test("the signal ends the loop while it waits, before it begins, and in the middle of what it was handed", async () => {
  const { name, fill, source } = await newSubscription();
  const abort = new AbortController();
  const waiting = drain(iterate(name, { signal: abort.signal }));
  await until("it is a member", async () => (await send(`${source.url}/consumers/a`)).status === 200);
  abort.abort();
  expect(await waiting).toEqual([]);
  expect(await drain(iterate(name, { signal: abort.signal }))).toEqual([]);
  await fill(...jobs(3));
  const early = new AbortController();
  const got: number[] = [];
  for await (const received of iterate(name, { signal: early.signal })) {
    got.push(received.event.offset);
    expect(await received.acknowledge()).toBe("settled");
    early.abort();
  }
  expect(got).toEqual([0]);
  expect(offsets(await claim(source, { consumer: "b", max: 10, wait: "20s" }))).toEqual([1, 2]);
});

test("a terminal event ends the loop, as soon as everything is settled", async () => {
  const { name, source } = await newSubscription({ terminal: ["Done"] }, ["Job", "Done", "Job"]);
  const [held] = tokens(await claim(source, { consumer: "b", max: 1 }));
  let ended = false;
  const got: number[] = [];
  const loop = drain(iterate(name), got).then(() => {
    ended = true;
  });
  await until("it has the terminal event", () => got.length === 1);
  expect([got, ended]).toEqual([[1], false]);
  expect(await ack(source, [held as string])).toEqual(["settled"]);
  await loop;
  expect(got).toEqual([1]);
  expect((await send<{ state: string }>(source.url)).body.state).toBe("completed");
  expect(await drain(iterate(name))).toEqual([]);
});

test("with autoAcknowledge events are settled before they come, and cannot be given back", async () => {
  const { name, source } = await newSubscription({}, jobs(2));
  for await (const received of iterate(name, { autoAcknowledge: true })) {
    expect(received.deadline).toBeNull();
    expect(await received.acknowledge()).toBe("already-settled");
    expect(await received.giveBack()).toBe("already-settled");
    if (received.event.offset === 1) break;
  }
  expect(await claim(source, { consumer: "b", max: 10 })).toEqual([]);
  expect((await send<{ floor: string; position: string }>(source.url)).body).toMatchObject({ inFlight: "0" });
});

test("an exactly-once subscription is not consumed with autoAcknowledge", async () => {
  const { name } = await newSubscription({ delivery: "exactly-once" }, jobs(1));
  expect(await failure(drain(iterate(name, { autoAcknowledge: true })))).toBe("invalid-request");
  for await (const received of iterate(name)) {
    expect(await received.acknowledge()).toBe("settled");
    break;
  }
});

test("a subscription that is deleted ends the loop with an error that says so, also in the middle of its work", async () => {
  const { name, source } = await newSubscription();
  const waiting = failure(drain(iterate(name)));
  await until("it is a member", async () => (await send(`${source.url}/consumers/a`)).status === 200);
  expect((await send(source.url, { method: "DELETE" })).status).toBe(204);
  expect(await waiting).toBe("subscription-not-found");

  const busy = await newSubscription({ maxInFlight: 1 }, jobs(2));
  const settlements: string[] = [];
  const working = failure(
    (async () => {
      for await (const received of iterate(busy.name)) {
        expect((await send(busy.source.url, { method: "DELETE" })).status).toBe(204);
        settlements.push(await received.acknowledge());
      }
    })(),
  );
  expect(await working).toBe("subscription-not-found");
  // Its ledger is cleared in the background.
  expect(settlements).toHaveLength(1);
  expect(await failure(drain(iterate(busy.name)))).toBe("subscription-not-found");
});

test("one consumer more than is allowed is refused, and not when another has left", async () => {
  const { name, source } = await newSubscription({ maxConsumers: 1 });
  const abort = new AbortController();
  const first = drain(iterate(name, { signal: abort.signal }));
  await until("it is a member", async () => (await send(`${source.url}/consumers/a`)).status === 200);
  expect(await failure(drain(iterate(name, { consumer: "b" })))).toBe("too-many-consumers");
  abort.abort();
  await first;
  const late = new AbortController();
  const second = failure(drain(iterate(name, { consumer: "b", signal: late.signal })));
  await until("the other is a member", async () => (await send(`${source.url}/consumers/b`)).status === 200);
  late.abort();
  expect(await second).toBe("no failure");
});

test("the members of a group divide what comes, each key in order, and who leaves is replaced", async () => {
  const { name, fill } = await newSubscription({ mode: "consumer-group", slots: 8 });
  const aborts = new Map(["a", "b", "c"].map((consumer) => [consumer, new AbortController()]));
  const got: { consumer: string; key: string; offset: number }[] = [];
  const loops = [...aborts].map(async ([consumer, { signal }]) => {
    for await (const received of iterate(name, { consumer, signal })) {
      const { partitionKey, offset } = received.event;
      if ((await received.acknowledge()) === "settled") got.push({ consumer, key: partitionKey as string, offset });
    }
  });
  const rounds = async (count: number) => {
    for (let n = 0; n < count; n++) await fill(...jobs(20));
  };
  await until("all are at work", async () => {
    await rounds(1);
    return new Set(got.map(({ consumer }) => consumer)).size === 3;
  });
  aborts.get("a")?.abort();
  await loops[0];
  const before = got.length;
  const { lastOffset } = (await fill(...jobs(20))).body;
  await until("everything has come", () => got.length === Number(lastOffset) + 1);
  expect(new Set(got.slice(before).map(({ consumer }) => consumer)).has("a")).toBe(false);
  for (const of of Map.groupBy(got, ({ key }) => key).values()) {
    const offsets = of.map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  }
  for (const abort of aborts.values()) abort.abort();
  await Promise.all(loops);
});

test("a service that stops ends the loops with an error, after what they are in the middle of", async () => {
  const own = await startService();
  await append(own.url, "work", [{ type: "Job" }, { type: "Job" }]);
  await put(`${own.url}/api/subscriptions/work`, { stream: "work", mode: "exclusive", from: "beginning" });
  const settlements: string[] = [];
  const begun = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const working = failure(
    (async () => {
      for await (const received of own.consume({ subscription: "work", consumer: "a" })) {
        begun.resolve();
        await finish.promise;
        settlements.push(await received.acknowledge());
      }
    })(),
  );
  await begun.promise;
  const waiting = failure(drain(own.consume({ subscription: "work", consumer: "b" })));
  const stopped = own.stop();
  expect(await waiting).toBe("shutting-down");
  finish.resolve();
  expect(await working).toBe("shutting-down");
  expect(settlements).toEqual(["settled"]);
  await stopped;
  expect(await failure(drain(own.consume({ subscription: "work", consumer: "a" })))).toBe("shutting-down");
});
