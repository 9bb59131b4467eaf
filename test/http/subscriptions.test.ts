// Subscriptions: created, configured, listed, paused, deleted, and claimed from.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, type ProblemBody, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, queue, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
let url: string;
beforeAll(async () => {
  service = await startService();
  url = `${service.url}/api/subscriptions`;
});
afterAll(() => service.stop());

let names = 0;
async function newSubscription(configuration: Record<string, unknown> = {}, count = 0) {
  const name = `sub-${++names}`;
  const stream = `stream-${names}`;
  if (count > 0) await fill(stream, count);
  const answer = await put<Record<string, unknown>>(`${url}/${name}`, { stream, from: "beginning", ...configuration });
  return { name, stream, answer, source: subscription(service.url, name) };
}
const fill = (stream: string, count: number) =>
  append(
    service.url,
    stream,
    Array.from({ length: count }, (_, n) => ({ type: n % 2 === 0 ? "Even" : "Odd", data: { n } })),
  );

test("a subscription is created with its defaults, described, and configured anew", async () => {
  const { name, stream, answer } = await newSubscription();
  expect(answer.status).toBe(201);
  const expected = {
    id: name,
    streams: [stream],
    correlation: null,
    mode: "broadcast",
    delivery: "at-least-once",
    types: null,
    where: null,
    from: "beginning",
    visibilityTimeout: "30s",
    maxInFlight: 1_000,
    maxAttempts: 5,
    backoff: { initial: "1s", factor: 2, max: "1m" },
    maxConsumers: null,
    consumerTimeout: "1m",
    slots: null,
    onFailure: null,
    unreadTimeout: null,
    onUnreadExpired: null,
    terminal: null,
    push: "immediate",
    batchInterval: null,
    expiresAfter: null,
    receiveAs: "stored",
    metadata: {},
    createdAt: expect.any(String),
    state: "active",
    completedAt: null,
    position: "-1",
    floor: "-1",
    inFlight: "0",
    waiting: "0",
    parked: "0",
    pausedKeys: null,
    deadLetters: "0",
    lag: { events: "0", atLeast: false, seconds: 0 },
    consumers: 0,
  };
  expect(answer.body).toEqual(expected);
  expect((await send(`${url}/${name}`)).body as unknown).toEqual(expected);
  const changed = await put(`${url}/${name}`, { stream, types: ["B", "A"], maxInFlight: 5, metadata: { team: "x" } });
  expect(changed.status).toBe(200);
  expect(changed.body as unknown).toEqual({
    ...expected,
    types: ["A", "B"],
    maxInFlight: 5,
    metadata: { team: "x" },
    createdAt: expect.any(String),
  });
});

test("how it is pushed, what completes it and when it expires is configured and described", async () => {
  const { name, answer } = await newSubscription({
    types: ["Even"],
    terminal: ["Closed", "Closed"],
    push: "batched",
    batchInterval: "250ms",
    expiresAfter: "7d",
  });
  expect(answer.body).toMatchObject({
    types: ["Closed", "Even"],
    terminal: ["Closed"],
    push: "batched",
    batchInterval: "250ms",
    expiresAfter: "7d",
    completedAt: null,
  });
  const changed = await put<Record<string, unknown>>(`${url}/${name}`, { stream: "any", push: "on-reconnect" });
  expect(changed.body).toMatchObject({ push: "on-reconnect", batchInterval: null, expiresAfter: null, terminal: null });
});

test("its position is the last one that was delivered, of the slowest consumer", async () => {
  const { name, source } = await newSubscription({}, 4);
  const described = async () => (await send<Record<string, unknown>>(`${url}/${name}`)).body;
  const first = await claim(source, { consumer: "a", max: 3 });
  expect(await described()).toMatchObject({
    position: first[2]?.event.position,
    floor: String(Number(first[0]?.event.position) - 1),
  });
  const second = await claim(source, { consumer: "b", max: 2 });
  expect(await described()).toMatchObject({ position: second[1]?.event.position });
});

test("each consumer of a broadcast gets all events", async () => {
  const { source } = await newSubscription({}, 3);
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([0, 1, 2]);
  expect(offsets(await claim(source, { consumer: "b", max: 10 }))).toEqual([0, 1, 2]);
  expectProblem(await post(`${source.url}/claims`, { max: 1 }), 422, "invalid-request");
});

test("each event of an exclusive subscription goes to one consumer", async () => {
  const { source } = await newSubscription({ mode: "exclusive" }, 4);
  expect(offsets(await claim(source, { consumer: "a", max: 2 }))).toEqual([0, 1]);
  expect(offsets(await claim(source, { consumer: "b", max: 10 }))).toEqual([2, 3]);
});

test("what does not match the filters is passed over, and the floor moves over it", async () => {
  const { source, name, stream } = await newSubscription({ mode: "exclusive", types: ["Even"], where: "$.n > 2" }, 8);
  const found = await claim(source, { max: 10 });
  expect(offsets(found)).toEqual([4, 6]);
  await ack(source, tokens(found));
  const { lastPosition } = (await fill(stream, 1)).body;
  await claim(source, { max: 1 });
  expect((await send<{ floor: string }>(`${url}/${name}`)).body.floor).toBe(lastPosition);
});

test("several streams are handed out in the order of the log", async () => {
  const name = `sub-${++names}`;
  for (const stream of ["left", "right", "left"]) await append(service.url, stream, { type: "A", data: 1 });
  await put(`${url}/${name}`, { streams: ["right", "left"], mode: "exclusive", from: "beginning" });
  const found = await claim(subscription(service.url, name), { max: 10 });
  expect(found.map((d) => d.event.stream)).toEqual(["left", "right", "left"]);
});

test("it begins at the place that was given: the latest by default, and the first PUT decides", async () => {
  const stream = `stream-at-${++names}`;
  await fill(stream, 5);
  const starts: [Record<string, unknown>, number[]][] = [
    [{}, [5]],
    [{ from: "3" }, [3, 4, 5]],
    [{ from: "latest" }, [5]],
  ];
  for (const [configuration] of starts) {
    const name = `sub-${++names}`;
    await put(`${url}/${name}`, { stream, mode: "exclusive", ...configuration });
    await put(`${url}/${name}`, { stream, mode: "exclusive", from: "beginning" });
    Object.assign(configuration, { name });
  }
  await fill(stream, 1);
  for (const [{ name }, expected] of starts) {
    expect(offsets(await claim(subscription(service.url, String(name)), { max: 10 }))).toEqual(expected);
  }
  expectProblem(await put(`${url}/sub-beyond`, { stream, from: "99" }), 409, "cursor-beyond-head");
});

test("a subscription of a stream that is not there yet begins with its first event", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive", from: "latest" });
  expect(await claim(source, { max: 10 })).toEqual([]);
  await fill(stream, 2);
  expect(offsets(await claim(source, { max: 10 }))).toEqual([0, 1]);
});

test("a consumer holds no more than maxInFlight, and gets more when it settles", async () => {
  const { source } = await newSubscription({ mode: "exclusive", maxInFlight: 2 }, 5);
  const first = await claim(source, { consumer: "a", max: 10 });
  expect(offsets(first)).toEqual([0, 1]);
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
  expect(offsets(await claim(source, { consumer: "b", max: 1 }))).toEqual([2]);
  const waiting = claim(source, { consumer: "a", max: 10, wait: "30s" });
  await ack(source, [first[0]?.token as string]);
  expect(offsets(await waiting)).toEqual([3]);
});

test("a paused subscription hands nothing out, lets what is out be settled, and goes on when it is resumed", async () => {
  const { source } = await newSubscription({ mode: "exclusive" }, 3);
  const held = await claim(source, { max: 1 });
  expect((await post<{ state: string }>(`${source.url}/pause`)).body.state).toBe("paused");
  expect(await claim(source, { max: 1 })).toEqual([]);
  expect(await ack(source, tokens(held))).toEqual(["settled"]);
  const waiting = claim(source, { max: 10, wait: "30s" });
  expect((await post<{ state: string }>(`${source.url}/resume`)).body.state).toBe("active");
  expect(offsets(await waiting)).toEqual([1, 2]);
});

test("nothing of a subscription that is not there can be settled, given back or extended", async () => {
  const { source } = await newSubscription({ mode: "exclusive" }, 1);
  const held = tokens(await claim(source, { max: 1 }));
  for (const verb of ["acks", "nacks", "extensions"]) {
    expectProblem(await post(`${url}/nowhere/${verb}`, { tokens: held }), 404, "subscription-not-found");
    expectProblem(await post(`${service.url}/api/streams/nowhere/${verb}`, { tokens: held }), 404, "stream-not-found");
  }
  expect(await ack(source, held)).toEqual(["settled"]);
});

test("a token of another subscription is stale, whatever is asked for, and stays good for its own", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive" }, 3);
  const other = subscription(service.url, `${stream}-other`);
  await put(other.url, { stream, mode: "exclusive", from: "beginning" });
  const [mine, theirs] = [tokens(await claim(source, { max: 3 })), tokens(await claim(other, { max: 3 }))];
  expect(await ack(other, mine)).toEqual(["stale", "stale", "stale"]);
  for (const action of ["requeue", "drop", "dead-letter"])
    expect(await nack(other, mine, { action })).toEqual(["stale", "stale", "stale"]);
  const extended = await post<{ results: string[]; deadline: string | null }>(`${other.url}/extensions`, {
    tokens: mine,
    visibilityTimeout: "1m",
  });
  expect([extended.status, extended.body.results]).toEqual([200, ["stale", "stale", "stale"]]);
  expect(await ack(other, [...theirs, ...mine])).toEqual([...Array(3).fill("settled"), ...Array(3).fill("stale")]);
  expect(await ack(source, mine)).toEqual(["settled", "settled", "settled"]);
  expect((await send<{ deadLetters: unknown[] }>(`${other.url}/dead-letters`)).body.deadLetters).toEqual([]);
});

test("the number of a group's slots cannot change: keys would change their owners", async () => {
  const { source, stream } = await newSubscription({ mode: "consumer-group", slots: 8 }, 2);
  const refused = await put(source.url, { stream, mode: "consumer-group", slots: 16 });
  expect(expectProblem(refused, 422, "invalid-configuration").errors).toEqual([
    { path: "/slots", message: "cannot change: keys would change their owners" },
  ]);
  // Not even by leaving them to the default; everything else may.
  expectProblem(await put(source.url, { stream, mode: "consumer-group" }), 422, "invalid-configuration");
  expect((await send<{ slots: number }>(source.url)).body.slots).toBe(8);
  expect((await put(source.url, { stream, mode: "consumer-group", slots: 8, maxInFlight: 1 })).status).toBe(200);
  expect((await claim(source, { consumer: "a", max: 2 })).length).toBe(1);
});

test("deleting a subscription makes its tokens stale, and its name can be used again", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive" }, 2);
  const held = await claim(source, { max: 1 });
  expect((await send(source.url, { method: "DELETE" })).status).toBe(204);
  expectProblem(await post(`${source.url}/claims`), 404, "subscription-not-found");
  expectProblem(await send(source.url), 404, "subscription-not-found");
  await put(source.url, { stream, mode: "exclusive", from: "beginning" });
  expect(await ack(source, tokens(held))).toEqual(["stale"]);
  expect(offsets(await claim(source, { max: 10 }))).toEqual([0, 1]);
});

test("the mode cannot change while there are consumers", async () => {
  const { source, stream } = await newSubscription({ mode: "exclusive" }, 3);
  await ack(source, tokens(await claim(source, { consumer: "a", max: 1 })));
  expectProblem(await put(source.url, { stream, mode: "broadcast" }), 409, "subscription-in-use");
  expect(offsets(await claim(source, { consumer: "a", max: 1 }))).toEqual([1]);
});

test("no more consumers than are allowed", async () => {
  const { source } = await newSubscription({ mode: "exclusive", maxConsumers: 1 }, 3);
  await claim(source, { consumer: "a" });
  expectProblem(await post(`${source.url}/claims`, { consumer: "b" }), 409, "too-many-consumers");
  expect(offsets(await claim(source, { consumer: "a" }))).toEqual([1]);
});

test("subscriptions are listed page by page, and by stream", async () => {
  const stream = `listed-${++names}`;
  for (const name of ["list-b", "list-a", "list-c"]) await put(`${url}/${name}`, { stream });
  type Page = { subscriptions: { id: string }[]; next: string | null };
  const first = (await send<Page>(`${service.url}/api/streams/${stream}/subscriptions?limit=2`)).body;
  expect(first.subscriptions.map((s) => s.id)).toEqual(["list-a", "list-b"]);
  const second = (await send<Page>(`${service.url}${first.next}`)).body;
  expect([second.subscriptions.map((s) => s.id), second.next]).toEqual([["list-c"], null]);
  expect((await send<Page>(`${url}?after=list-a&limit=1`)).body.subscriptions.map((s) => s.id)).toEqual(["list-b"]);
});

test("a configuration that is not valid says where and why", async () => {
  const bad: [Record<string, unknown>, string[]][] = [
    [{}, [""]],
    [{ stream: "a", correlation: "c" }, [""]],
    [{ stream: "a b" }, ["/stream"]],
    [{ stream: "a", mode: "some" }, ["/mode"]],
    [{ stream: "a", visibilityTimeout: "soon" }, ["/visibilityTimeout"]],
    [{ stream: "a", visibilityTimeout: "13h" }, ["/visibilityTimeout"]],
    [{ stream: "a", maxInFlight: 0 }, ["/maxInFlight"]],
    [{ stream: "a", backoff: { initial: "2m", max: "1m" } }, ["/backoff/max"]],
    [{ stream: "a", types: [] }, ["/types"]],
    [{ stream: "a", unreadTimeout: "1h" }, ["/unreadTimeout"]],
    [{ stream: "a", mode: "exclusive", onUnreadExpired: "drop" }, ["/onUnreadExpired"]],
    [{ stream: "a", mode: "read-receipt", unreadTimeout: "1ms" }, ["/unreadTimeout"]],
    [{ stream: "a", mode: "read-receipt", onUnreadExpired: "burn" }, ["/onUnreadExpired"]],
    [{ stream: "a", expiresAfter: "10ms" }, ["/expiresAfter"]],
    [{ stream: "a", colour: "red" }, ["/colour"]],
    [{ stream: "a", terminal: [] }, ["/terminal"]],
    [{ stream: "a", push: "sometimes" }, ["/push"]],
    [{ stream: "a", batchInterval: "1s" }, ["/batchInterval"]],
    [{ stream: "a", push: "batched", batchInterval: "50ms" }, ["/batchInterval"]],
    [{ stream: "a", push: "batched", batchInterval: "2h" }, ["/batchInterval"]],
    [{ stream: "a", metadata: { text: "x".repeat(20_000) } }, ["/metadata"]],
  ];
  for (const [body, paths] of bad) {
    const problem = expectProblem(await put(`${url}/bad`, body), 422, "invalid-configuration");
    expect((problem.errors as { path: string }[]).map((error) => error.path)).toEqual(paths);
  }
  expectProblem(await put(`${url}/bad`, { stream: "a", where: "$.amount >" }), 400, "invalid-filter");
  expectProblem(await put(`${url}/bad`, { stream: "a", from: "soon" }), 400, "invalid-place");
  expectProblem(await put(`${url}/a%20b`, { stream: "a" }), 400, "invalid-subscription-name");
  expectProblem(await send(`${url}/bad`, { method: "PUT", body: "{" }), 400, "malformed-body");
});

test("a subscription may promise less than its streams, not more, and by default what they do", async () => {
  const streams = Object.fromEntries(
    ["at-most-once", "at-least-once", "exactly-once"].map((delivery) => [delivery, `${delivery}-${++names}`]),
  ) as Record<string, string>;
  for (const [delivery, stream] of Object.entries(streams))
    await put(`${service.url}/api/streams/${stream}`, { delivery });
  const most = streams["at-most-once"] as string;
  const least = streams["at-least-once"] as string;
  const exactly = streams["exactly-once"] as string;
  const cases: [Record<string, unknown>, string | undefined, string][] = [
    [{ stream: most }, undefined, "at-most-once"],
    [{ stream: least }, undefined, "at-least-once"],
    [{ stream: exactly }, undefined, "at-least-once"],
    [{ stream: "not-there-yet" }, undefined, "at-least-once"],
    [{ streams: [exactly, most] }, undefined, "at-most-once"],
    [{ stream: exactly }, "exactly-once", "exactly-once"],
    [{ stream: exactly }, "at-most-once", "at-most-once"],
    [{ stream: least }, "at-most-once", "at-most-once"],
    [{ correlation: "c" }, undefined, "at-least-once"],
  ];
  for (const [source, delivery, expected] of cases) {
    const answer = await put<{ delivery: string }>(`${url}/bound-${++names}`, { ...source, delivery });
    expect([answer.status, answer.body.delivery]).toEqual([201, expected]);
  }
  const refused: [Record<string, unknown>, string, string][] = [
    [{ stream: most }, "at-least-once", `${most}, which is at-most-once`],
    [{ stream: least }, "exactly-once", `${least}, which is at-least-once`],
    [{ streams: [exactly, least] }, "exactly-once", `${least}, which is at-least-once`],
    [{ stream: "not-there-yet" }, "exactly-once", "not-there-yet, which is at-least-once"],
    [{ correlation: "c" }, "exactly-once", "at-least-once"],
  ];
  for (const [source, delivery, words] of refused) {
    const problem = expectProblem(await put(`${url}/bound-0`, { ...source, delivery }), 422, "invalid-configuration");
    const [error] = problem.errors as { path: string; message: string }[];
    expect(error?.path).toBe("/delivery");
    expect(error?.message).toContain(words);
  }
});

test("a stream cannot come to promise less than a subscription of it, and is told which", async () => {
  const [stream, other] = [`weakened-${++names}`, `other-${++names}`];
  const configure = (delivery?: string, name = stream) =>
    put<ProblemBody>(`${service.url}/api/streams/${name}`, { delivery, retention: { maxAge: "7d" } });
  await configure("exactly-once");
  await configure("exactly-once", other);
  const subscribe = async (name: string, delivery?: string) =>
    expect((await put(`${url}/${name}`, { streams: [stream, other], delivery })).status).toBeLessThan(300);
  await subscribe(`${stream}-b`, "exactly-once");
  await subscribe(`${stream}-a`, "exactly-once");
  await subscribe(`${stream}-c`);
  const described = async () => (await send<Record<string, unknown>>(`${service.url}/api/streams/${stream}`)).body;
  const before = await described();
  // Without a delivery a PUT asks for at-least-once.
  for (const delivery of [undefined, "at-least-once"]) {
    const problem = expectProblem(await configure(delivery), 409, "delivery-in-use");
    expect(problem).toMatchObject({ stream, delivery: "at-least-once", subscriptions: [`${stream}-a`, `${stream}-b`] });
  }
  expect(expectProblem(await configure("at-most-once"), 409, "delivery-in-use").subscriptions).toHaveLength(3);
  expect(await described()).toEqual(before);
  expect((await configure("exactly-once")).status).toBe(200);

  await subscribe(`${stream}-a`, "at-least-once");
  await send(`${url}/${stream}-b`, { method: "DELETE" });
  expect((await configure("at-least-once")).status).toBe(200);
  expectProblem(await configure("at-most-once"), 409, "delivery-in-use");
  for (const name of ["a", "c"]) await subscribe(`${stream}-${name}`, "at-most-once");
  expect((await configure("at-most-once")).status).toBe(200);
  expect((await configure("at-least-once")).status).toBe(200);
});

test("no more than twenty subscriptions are named that keep a stream from promising less", async () => {
  const stream = `relied-on-${++names}`;
  for (let n = 0; n < 22; n++) await put(`${url}/${stream}-${n}`, { stream });
  const answer = await put<ProblemBody>(`${service.url}/api/streams/${stream}`, { delivery: "at-most-once" });
  expect(expectProblem(answer, 409, "delivery-in-use").subscriptions).toHaveLength(20);
});

test("a stream that is not there yet is bound by the subscriptions that wait for it, and its own queue binds nothing", async () => {
  const stream = `to-come-${++names}`;
  await put(`${url}/${stream}`, { stream });
  const configure = (body: Record<string, unknown>) =>
    put<ProblemBody>(`${service.url}/api/streams/${stream}`, { type: "ephemeral", ...body });
  expectProblem(await configure({ delivery: "at-most-once" }), 409, "delivery-in-use");
  expectProblem(await send(`${service.url}/api/streams/${stream}`), 404, "stream-not-found");
  expect((await configure({ delivery: "exactly-once" })).status).toBe(201);
  await claim(queue(service.url, stream));
  expect((await configure({ delivery: "at-least-once" })).status).toBe(200);
  await send(`${url}/${stream}`, { method: "DELETE" });
  expect((await configure({ delivery: "at-most-once" })).status).toBe(200);
  await append(service.url, stream, { type: "A" });
  const [delivery] = await claim(queue(service.url, stream), { wait: "20s" });
  expect(delivery?.deadline).toBeNull();
});
