// Subscriptions that receive events as other versions of their types, and what becomes of those that cannot be upcast.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import {
  ack,
  claim,
  type Delivery,
  offsets,
  post,
  put,
  type Source,
  subscription,
  tokens,
} from "../support/consume.ts";
import {
  jsonata,
  number,
  object,
  proposeVersion,
  registerVersions,
  removeVersion,
  versionUrl,
} from "../support/registry.ts";
import { type Service, startService } from "../support/service.ts";
import { openEventStream } from "../support/sse.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService({ HEARTBEAT: "200ms" });
  url = service.url;
});
afterAll(() => service.stop());

const first = object({ n: number });
const second = object({ twice: number });
const doubling = jsonata('n < 0 ? $error("n is negative") : {"twice": n * 2}');
const mended = jsonata('{"twice": n * 2}');

let names = 0;
/** A type of two versions, a stream of events of the first, keyed where a key is given, and a subscription. */
async function receiving(
  mode: string,
  data: (number | [n: number, key: string])[],
  more: Record<string, unknown> = {},
) {
  const type = `Counted${++names}`;
  await registerVersions(url, type, [first, { schema: second, upcast: doubling }]);
  const fill = (numbers: typeof data) =>
    append(
      url,
      type,
      numbers.map((one) => {
        const [n, partitionkey] = typeof one === "number" ? [one] : one;
        return { type, data: { n }, ...(partitionkey === undefined ? {} : { partitionkey }) };
      }),
    );
  if (data.length > 0) await fill(data);
  if (more.delivery === "exactly-once") await put(`${url}/api/streams/${type}`, { delivery: "exactly-once" });
  const configuration = { stream: type, mode, from: "beginning", receiveAs: "latest", ...more };
  const answer = await put(subscription(url, type).url, configuration);
  expect(answer.status, answer.text).toBe(201);
  return { type, fill, source: subscription(url, type), configuration };
}

type Letter = { id: string; event: Envelope; reason: string; attempts: number; lastError: string };
const letters = async ({ url }: Source) =>
  (await send<{ deadLetters: Letter[] }>(`${url}/dead-letters`)).body.deadLetters;
const data = (deliveries: readonly Delivery[]) => deliveries.map(({ event }) => event.data);
const mend = (type: string) => proposeVersion(url, type, 2, { schema: second, upcast: mended });
const reason = "The upcaster failed: n is negative";

for (const mode of ["broadcast", "exclusive", "consumer-group", "read-receipt"]) {
  test(`${mode}: claims and event streams hand out events as the version that is wanted`, async () => {
    const { type, fill, source } = await receiving(mode, [1, 2]);
    const claimed = await claim(source, { consumer: "a", max: 10 });
    expect(data(claimed)).toEqual([{ twice: 2 }, { twice: 4 }]);
    expect(claimed[0]?.event).toMatchObject({ schemaversion: "2", dataschema: versionUrl(url, type, 2) });
    expect(await ack(source, tokens(claimed))).toEqual(["settled", "settled"]);
    const stream = await openEventStream(`${source.url}/events?consumer=a`);
    await fill([3]);
    await stream.until("the third has come", () => stream.events().some((event) => event.offset === "2"));
    const third = stream.events().find((event) => event.offset === "2");
    expect(third).toMatchObject({ data: { twice: 6 }, schemaversion: "2", deliveryattempt: 1 });
    stream.close();
  });

  test(`${mode}: what cannot be upcast becomes a dead letter as it is stored, and is handed out once it can be`, async () => {
    const { type, source } = await receiving(mode, [1, -2, 3]);
    const claimed = await claim(source, { consumer: "a", max: 10 });
    expect(data(claimed)).toEqual([{ twice: 2 }, { twice: 6 }]);
    const dead = await letters(source);
    expect(dead).toMatchObject([
      { reason: "rejected", lastError: reason, event: { data: { n: -2 }, schemaversion: "1", offset: "1" } },
    ]);
    expect(dead[0]?.event).not.toHaveProperty("upcasterror");
    expect(await ack(source, tokens(claimed))).toEqual(["settled", "settled"]);
    expect((await mend(type)).status).toBe(200);
    const replayed = await post<{ replayed: number }>(`${source.url}/dead-letters/replay`, { ids: [dead[0]?.id] });
    expect(replayed.body).toMatchObject({ replayed: 1 });
    const again = await claim(source, { consumer: "a", wait: "20s" });
    expect(data(again)).toEqual([{ twice: -4 }]);
    expect(await ack(source, tokens(again))).toEqual(["settled"]);
    expect(await letters(source)).toEqual([]);
  });
}

test("a handout of nothing but dead letters is passed over: the claim waits for what comes behind", async () => {
  const { fill, source } = await receiving("exclusive", [-1, -2]);
  const waiting = claim(source, { consumer: "a", wait: "20s" });
  await fill([3]);
  expect(data(await waiting)).toEqual([{ twice: 6 }]);
  expect(await letters(source)).toHaveLength(2);
});

test("an event stream goes on behind what becomes dead letters", async () => {
  const { fill, source } = await receiving("exclusive", [-1, 2, -3], { maxInFlight: 1 });
  const stream = await openEventStream(`${source.url}/events?consumer=a`);
  await stream.until("the good one has come", () => stream.events().length === 1);
  await ack(source, [String(stream.events()[0]?.deliverytoken)]);
  await fill([-4, 5]);
  await stream.until("the next good one has come", () => stream.events().length === 2);
  expect(stream.events().map((event) => event.data)).toEqual([{ twice: 4 }, { twice: 10 }]);
  stream.close();
});

test("in a group the key of what cannot be upcast pauses, others go on, and it comes first once it is put back", async () => {
  const keyed: [number, string][] = [
    [1, "good"],
    [-2, "bad"],
    [3, "bad"],
    [4, "good"],
    [5, "bad"],
  ];
  const { type, source } = await receiving("consumer-group", keyed);
  const seen: Delivery[] = [];
  while (seen.length < 2) {
    const got = await claim(source, { consumer: "a", max: 10, wait: "20s" });
    expect(await ack(source, tokens(got))).toEqual(got.map(() => "settled"));
    seen.push(...got);
  }
  expect(offsets(seen)).toEqual([0, 3]);
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
  const [dead] = await letters(source);
  expect(dead).toMatchObject({ lastError: reason, event: { partitionkey: "bad", offset: "1" } });
  await mend(type);
  await post(`${source.url}/dead-letters/replay`, { all: true });
  const behind: Delivery[] = [];
  while (behind.length < 3) {
    const got = await claim(source, { consumer: "a", max: 10, wait: "20s" });
    expect(await ack(source, tokens(got))).toEqual(got.map(() => "settled"));
    behind.push(...got);
  }
  expect(data(behind)).toEqual([{ twice: -4 }, { twice: 6 }, { twice: 10 }]);
});

test("where failures are skipped, a key goes on behind what cannot be upcast", async () => {
  const keyed: [number, string][] = [1, -2, 3, -4, 5].map((n) => [n, "same"]);
  const { source } = await receiving("consumer-group", keyed, { onFailure: "skip" });
  const seen: Delivery[] = [];
  while (seen.length < 3) {
    const got = await claim(source, { consumer: "a", max: 10, wait: "20s" });
    expect(await ack(source, tokens(got))).toEqual(got.map(() => "settled"));
    seen.push(...got);
  }
  expect(data(seen)).toEqual([{ twice: 2 }, { twice: 6 }, { twice: 10 }]);
  expect((await letters(source)).map(({ event }) => event.offset)).toEqual(["1", "3"]);
});

test("at most once, what cannot be upcast comes marked, since nothing is left to put aside", async () => {
  const { source } = await receiving("exclusive", [1, -2, 3], { delivery: "at-most-once" });
  const got = await claim(source, { consumer: "a", max: 10 });
  expect(data(got)).toEqual([{ twice: 2 }, { n: -2 }, { twice: 6 }]);
  expect(got.map(({ event }) => event.upcasterror)).toEqual([undefined, reason, undefined]);
  expect(await letters(source)).toEqual([]);
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
});

test("an exactly-once subscription receives as a version, and a failure is settled once", async () => {
  const { source } = await receiving("exclusive", [1, -2], { delivery: "exactly-once" });
  const got = await claim(source, { consumer: "a", max: 10 });
  expect(data(got)).toEqual([{ twice: 2 }]);
  expect(await ack(source, tokens(got))).toEqual(["settled"]);
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
  expect(await letters(source)).toHaveLength(1);
});

test("unread events are listed as the version that is wanted, marked where they cannot be", async () => {
  const { source } = await receiving("read-receipt", [1, -2]);
  await put(`${source.url}/consumers/a`);
  const { body } = await send<{ events: Envelope[] }>(`${source.url}/consumers/a/unread`);
  expect(body.events.map((event) => [event.data, event.upcasterror])).toEqual([
    [{ twice: 2 }, undefined],
    [{ n: -2 }, reason],
  ]);
});

test("code in the process receives what claims do", async () => {
  const { type, source } = await receiving("exclusive", [1, -2, 3]);
  const got: unknown[] = [];
  for await (const received of service.consume({ subscription: type, consumer: "a" })) {
    got.push([received.event.schemaVersion, JSON.parse(received.event.data as string)]);
    expect(await received.acknowledge()).toBe("settled");
    if (got.length === 2) break;
  }
  expect(got).toEqual([
    [2, { twice: 2 }],
    [2, { twice: 6 }],
  ]);
  expect(await letters(source)).toMatchObject([{ reason: "rejected", lastError: reason, event: { data: { n: -2 } } }]);
});

test("a subscription with a filter judges events as they are stored, and hands them out as they are wanted", async () => {
  const { source } = await receiving("exclusive", [1, 2, 3], { where: "$.n > 1" });
  expect(data(await claim(source, { consumer: "a", max: 10 }))).toEqual([{ twice: 4 }, { twice: 6 }]);
});

test("what is wanted can be changed, and is told", async () => {
  const { type, source, configuration } = await receiving("exclusive", [1, 2], { maxInFlight: 1 });
  const told = async () => (await send<{ receiveAs: string }>(source.url)).body.receiveAs;
  expect(await told()).toBe("latest");
  expect((await put(source.url, { ...configuration, receiveAs: `${type}@1` })).status).toBe(200);
  expect(await told()).toBe(`${type}@1`);
  expect(data(await claim(source, { consumer: "a" }))).toEqual([{ n: 1 }]);
  expect((await put(source.url, { ...configuration, receiveAs: 2, maxInFlight: 2 })).status).toBe(200);
  expect(await told()).toBe("2");
  expect(data(await claim(source, { consumer: "a" }))).toEqual([{ twice: 4 }]);
  expect((await put(source.url, { ...configuration, receiveAs: undefined })).status).toBe(200);
  expect(await told()).toBe("stored");
});

test("a version that is not registered cannot be wanted, and one that is wanted cannot be deleted", async () => {
  const { type, source, configuration } = await receiving("exclusive", []);
  for (const receiveAs of [`${type}@3`, "Nobody@1", "newest", "", 0, `${type}@1,${type}@2`]) {
    const refused = await put(source.url, { ...configuration, receiveAs });
    expect(expectProblem(refused, 422, "invalid-configuration").errors).toMatchObject([{ path: "/receiveAs" }]);
  }
  await put(source.url, { ...configuration, receiveAs: `${type}@2` });
  const pinned = expectProblem(await removeVersion(url, type, 2), 409, "schema-in-use");
  expect(pinned.detail).toContain("a subscription receives");
  await send(source.url, { method: "DELETE" });
  expect((await removeVersion(url, type, 2)).status).toBe(204);
});

test("a version of a dead letter cannot be deleted", async () => {
  const { type, source } = await receiving("exclusive", []);
  await registerVersions(url, type, [
    first,
    { schema: second, upcast: doubling },
    { schema: first, upcast: jsonata("$error('never')") },
  ]);
  await append(url, type, { type, schemaversion: "2", data: { twice: 1 } });
  expect(await claim(source, { consumer: "a" })).toEqual([]);
  expect(await letters(source)).toHaveLength(1);
  await send(`${url}/api/streams/${type}`, { method: "DELETE" });
  expect((await removeVersion(url, type, 3)).status).toBe(204);
  expect(expectProblem(await removeVersion(url, type, 2), 409, "schema-in-use").detail).toContain("a dead letter");
});
