// Repeating a POST whose answer was lost: what each of them does the second time, as the HTTP guide says.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { append, expectProblem, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stop());

let names = 0;
async function work(count: number, configuration: Record<string, unknown> = {}): Promise<Source> {
  const name = `repeated-${++names}`;
  await append(
    service.url,
    name,
    Array.from({ length: count }, (_, n) => ({ type: "A", data: { n } })),
  );
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, mode: "exclusive", from: "beginning", ...configuration });
  return source;
}
type Letters = { deadLetters: { id: string; attempts: number }[] };
const letters = async ({ url }: Source) => (await send<Letters>(`${url}/dead-letters`)).body.deadLetters;
const twice = async <T>(request: () => Promise<T>): Promise<[T, T]> => [await request(), await request()];

test("an acknowledgement settles once, and says so the second time", async () => {
  const source = await work(2);
  const held = tokens(await claim(source, { max: 2 }));
  expect(await twice(() => ack(source, held))).toEqual([
    ["settled", "settled"],
    ["already-settled", "already-settled"],
  ]);
});

test("what is given back is given back once, and counts one attempt", async () => {
  const source = await work(3);
  const [again, dropped, dead] = tokens(await claim(source, { max: 3 })) as [string, string, string];
  expect(await twice(() => nack(source, [again], { delay: "0s" }))).toEqual([["settled"], ["stale"]]);
  expect(await twice(() => nack(source, [dropped], { action: "drop" }))).toEqual([["settled"], ["already-settled"]]);
  expect(await twice(() => nack(source, [dead], { action: "dead-letter" }))).toEqual([["settled"], ["stale"]]);
  expect((await letters(source)).map(({ attempts }) => attempts)).toEqual([1]);
  const [next] = await claim(source, { max: 10, wait: "20s" });
  expect([next?.event.offset, next?.attempt]).toEqual(["0", 2]);
  // Also while it is out again.
  expect(await nack(source, [again])).toEqual(["stale"]);
});

test("an extension that is repeated moves the deadline once more", async () => {
  const source = await work(1);
  const held = tokens(await claim(source));
  const [one, two] = await twice(() =>
    post<{ results: string[]; deadline: string }>(`${source.url}/extensions`, {
      tokens: held,
      visibilityTimeout: "1h",
    }),
  );
  expect([one.body.results, two.body.results]).toEqual([["extended"], ["extended"]]);
  expect(Date.parse(two.body.deadline)).toBeGreaterThanOrEqual(Date.parse(one.body.deadline));
});

test("dead letters that are named are put back or discarded once", async () => {
  const source = await work(2);
  await nack(source, tokens(await claim(source, { max: 2 })), { action: "dead-letter" });
  const [one, two] = (await letters(source)).map(({ id }) => id) as [string, string];
  const replayed = await twice(() => post<unknown>(`${source.url}/dead-letters/replay`, { ids: [one] }));
  expect(replayed.map(({ body }) => body)).toEqual([{ replayed: 1 }, { replayed: 0 }]);
  const discarded = await twice(() => post<unknown>(`${source.url}/dead-letters`, { ids: [two] }, "DELETE"));
  expect(discarded.map(({ body }) => body)).toEqual([{ discarded: 1 }, { discarded: 0 }]);
  // One that has died again meanwhile is another letter.
  await nack(source, tokens(await claim(source, { max: 2, wait: "20s" })), { action: "dead-letter" });
  expect((await post<unknown>(`${source.url}/dead-letters/replay`, { ids: [one] })).body).toEqual({ replayed: 0 });
  expect(await letters(source)).toHaveLength(1);
});

test("a reset that is repeated drops what came of the first one", async () => {
  const source = await work(2);
  await ack(source, tokens(await claim(source, { max: 2 })));
  const reset = () => post(`${source.url}/reset-offset`, { to: "beginning" });
  expect((await reset()).status).toBe(200);
  const held = await claim(source, { max: 2 });
  expect((await reset()).status).toBe(200);
  expect(await ack(source, tokens(held))).toEqual(["stale", "stale"]);
  expect(offsets(await claim(source, { max: 2 }))).toEqual([0, 1]);
});

test("reading up to a place reads once", async () => {
  const source = await work(2, { mode: "read-receipt" });
  const [, last] = await claim(source, { consumer: "ada", max: 2 });
  const read = () => post<unknown>(`${source.url}/consumers/ada/read`, { upTo: last?.event.position });
  expect((await twice(read)).map(({ body }) => body)).toEqual([{ read: 2 }, { read: 0 }]);
});

test("a lock is refused to its own holder until it has run out", async () => {
  const acquire = () => post(`${service.url}/api/locks`, { key: "mine", ttl: "1h", owner: "a" });
  const [first, second] = await twice(acquire);
  expect(first.status).toBe(201);
  expectProblem(second, 409, "lock-held");
});

test("events of a claim whose answer was lost come again, as another attempt", async () => {
  const source = await work(2);
  await claim(source, { consumer: "a", max: 2, visibilityTimeout: "100ms" });
  const again = await claim(source, { consumer: "a", max: 2, wait: "20s" });
  expect(again.map(({ event, attempt }) => [event.offset, attempt])).toEqual([
    ["0", 2],
    ["1", 2],
  ]);
});
