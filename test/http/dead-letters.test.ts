// Dead letters: listed with their content, put back, discarded.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, type Envelope, expectProblem, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, queue, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService({ TRIM_INTERVAL: "100ms" });
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

type Letter = {
  id: string;
  event: Envelope & { data: unknown };
  consumer: string | null;
  reason: string;
  attempts: number;
  firstError: string;
  lastError: string;
  deadAt: string;
};
type Page = { deadLetters: Letter[]; next: string | null };

let names = 0;
const quick = { backoff: { initial: "0s", max: "0s" } };

/** A queue of jobs, each rejected as soon as it is claimed. */
async function newDeadQueue(count: number, configuration: Record<string, unknown> = {}) {
  const name = `queue-${++names}`;
  await put(`${service.url}/api/streams/${name}`, { type: "ephemeral", ...quick, ...configuration });
  await append(
    service.url,
    name,
    Array.from({ length: count }, (_, n) => ({ type: "Job", data: { n } })),
  );
  const source = queue(service.url, name);
  await reject(source, count);
  return { name, source };
}

async function reject(source: Source, count: number, consumer = "a") {
  for (let left = count; left > 0; ) {
    const got = await claim(source, { consumer, max: left, wait: "20s" });
    await nack(source, tokens(got), { action: "dead-letter", reason: "bad" });
    left -= got.length;
  }
}

const letters = async ({ url }: Source, query = "") => (await send<Page>(`${url}/dead-letters${query}`)).body;
const replay = (source: Source, choice: unknown) =>
  post<{ replayed: number }>(`${source.url}/dead-letters/replay`, choice);
const discard = (source: Source, choice: unknown) =>
  post<{ discarded: number }>(`${source.url}/dead-letters`, choice, "DELETE");
const streamOf = async ({ url }: Source) => (await send<{ pending: string; deadLetters: string }>(url)).body;

test("a dead letter has the event, whose it was, why and how often it failed", async () => {
  const name = `mails-${++names}`;
  await put(`${service.url}/api/streams/${name}`, { type: "ephemeral", maxAttempts: 2, ...quick });
  await append(service.url, name, { type: "Job", subject: "s", data: { n: 1 } });
  const source = queue(service.url, name);
  const [first] = await claim(source, { consumer: "a" });
  await nack(source, tokens([first as never]), { reason: "no" });
  const [second] = await claim(source, { consumer: "b", wait: "20s" });
  await nack(source, tokens([second as never]), { reason: "still no" });
  const { deadLetters, next } = await letters(source);
  expect(next).toBeNull();
  expect(deadLetters).toEqual([
    {
      id: expect.stringMatching(/^\d+$/),
      event: first?.event as never,
      consumer: "b",
      reason: "max-attempts",
      attempts: 2,
      firstError: "no",
      firstFailedAt: expect.any(String),
      lastError: "still no",
      lastFailedAt: expect.any(String),
      deadAt: expect.any(String),
    } as never,
  ]);
  const [letter] = deadLetters as [Letter];
  expect((await send<Letter>(`${source.url}/dead-letters/${letter.id}`)).body).toEqual(letter);
  expectProblem(await send(`${source.url}/dead-letters/999999`), 404, "dead-letter-not-found");
  expectProblem(await send(`${source.url}/dead-letters/x`), 404, "dead-letter-not-found");
});

test("dead letters are listed oldest first, page by page, and large ones fill a page early", async () => {
  const { name, source } = await newDeadQueue(5);
  const first = await letters(source, "?limit=2");
  expect(first.deadLetters.map((l) => l.event.offset)).toEqual(["0", "1"]);
  const second = (await send<Page>(`${service.url}${first.next}`)).body;
  expect(second.deadLetters.map((l) => l.event.offset)).toEqual(["2", "3"]);
  const third = (await send<Page>(`${service.url}${second.next}`)).body;
  expect([third.deadLetters.length, third.next]).toEqual([1, null]);
  const random = Array.from({ length: 700_000 }, () => Math.random().toString(36).slice(2, 3)).join("");
  for (let i = 0; i < 5; i++) await append(service.url, name, { type: "Job", data: random });
  await reject(source, 5);
  const large = await letters(source);
  expect(large.deadLetters.length).toBeGreaterThanOrEqual(6);
  expect(large.deadLetters.length).toBeLessThan(10);
  expect((await send<Page>(`${service.url}${large.next}`)).body.deadLetters.length).toBeGreaterThan(0);
});

test("what is put back is handed out at once, as if for the first time, and can die again", async () => {
  const { source } = await newDeadQueue(3, { maxAttempts: 2 });
  const [one, two] = (await letters(source)).deadLetters as [Letter, Letter];
  const waiting = claim(source, { consumer: "b", max: 10, wait: "30s" });
  expect((await replay(source, { ids: [two.id, one.id, "999999"] })).body).toEqual({ replayed: 2 });
  const again = await waiting;
  expect(again.map((d) => [d.event.offset, d.attempt])).toEqual([
    ["0", 1],
    ["1", 1],
  ]);
  expect((await letters(source)).deadLetters.map((l) => l.event.offset)).toEqual(["2"]);
  await ack(source, [again[0]?.token as string]);
  await nack(source, [again[1]?.token as string], { reason: "once" });
  const [third] = await claim(source, { wait: "20s" });
  expect(third?.attempt).toBe(2);
  await nack(source, [third?.token as string], { reason: "twice" });
  const [, dead] = (await letters(source)).deadLetters;
  expect(dead).toMatchObject({ attempts: 2, firstError: "once", lastError: "twice" });
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 2 });
  expect((await claim(source, { max: 10 })).length).toBe(2);
});

test("what is put back comes with its content though its stream has forgotten it, however often it dies", async () => {
  const { name, source } = await newDeadQueue(3);
  const first = (await letters(source)).deadLetters;
  await until("the stream has forgotten all", async () => {
    const { length } = (await send<{ length: string }>(`${service.url}/api/streams/${name}`)).body as never;
    return length === "0";
  });
  await until("the rows are gone", async () => {
    const [row] =
      await sql`select count(*)::int as n from events e join streams s on s.id = e.stream_id where s.name = ${name}`;
    return row?.n === 0;
  });
  for (let round = 0; round < 2; round++) {
    expect((await replay(source, { all: true })).body).toEqual({ replayed: 3 });
    const got = await claim(source, { consumer: "b", max: 10 });
    expect(got.map((d) => d.event)).toEqual(first.map((l) => l.event));
    await nack(source, tokens(got), { action: "dead-letter", reason: `round ${round}` });
  }
  const again = (await letters(source)).deadLetters;
  expect(again.map((l) => [l.event, l.lastError])).toEqual(first.map((l) => [l.event, "round 1"]) as never);
  await replay(source, { all: true });
  const last = await claim(source, { max: 10 });
  expect(await ack(source, tokens(last))).toEqual(Array(3).fill("settled"));
  expect(await claim(source, { max: 10 })).toEqual([]);
});

test("the content of what was put back goes when it is settled, and no earlier", async () => {
  const { name, source } = await newDeadQueue(2);
  await replay(source, { all: true });
  const held = await claim(source, { max: 2, visibilityTimeout: "1h" });
  await ack(source, [tokens(held)[0] as string]);
  const stored = () => sql<{ settled: boolean }[]>`
    select settled_at is not null as settled from replayed_letters where stream = ${name} order by position`;
  await until("the sweep has been there", async () => (await stored())[0]?.settled);
  expect((await stored()).map((row) => row.settled)).toEqual([true, false]);
  await sql`update replayed_letters set settled_at = settled_at - interval '1 hour' where stream = ${name}`;
  await until("it is gone", async () => (await stored()).length === 1);
});

test("at-most-once: what is put back is given away with its content", async () => {
  const name = `once-${++names}`;
  const stream = `stream-${names}`;
  await append(service.url, stream, [{ type: "A", data: 1 }]);
  const source = subscription(service.url, name);
  await put(source.url, { stream, mode: "exclusive", from: "beginning" });
  await reject(source, 1);
  await put(source.url, { stream, mode: "exclusive", delivery: "at-most-once" });
  await replay(source, { all: true });
  const got = await claim(source, { max: 10 });
  expect([offsets(got), got[0]?.deadline]).toEqual([[0], null]);
  expect(await claim(source, { max: 10 })).toEqual([]);
});

test("letters are discarded by their ids or all at once", async () => {
  const { source } = await newDeadQueue(4);
  const { deadLetters } = await letters(source);
  expect((await discard(source, { ids: [deadLetters[1]?.id, "999999"] })).body).toEqual({ discarded: 1 });
  expect((await letters(source)).deadLetters.map((l) => l.event.offset)).toEqual(["0", "2", "3"]);
  expect((await discard(source, { all: true })).body).toEqual({ discarded: 3 });
  expect((await letters(source)).deadLetters).toEqual([]);
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 0 });
});

test("more letters than one statement takes are put back and discarded", async () => {
  const { source } = await newDeadQueue(900);
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 900 });
  await reject(source, 900);
  expect((await discard(source, { all: true })).body).toEqual({ discarded: 900 });
});

test("a letter of a broadcast goes back to the consumer in whose hands it died", async () => {
  const name = `cast-${++names}`;
  const stream = `stream-${names}`;
  await append(service.url, stream, [
    { type: "A", data: 1 },
    { type: "A", data: 2 },
  ]);
  const source = subscription(service.url, name);
  await put(source.url, { stream, from: "beginning" });
  for (const consumer of ["a", "b"]) await reject(source, 2, consumer);
  const dead = (await letters(source)).deadLetters;
  expect(dead.map((l) => l.consumer)).toEqual(["a", "a", "b", "b"]);
  expect((await replay(source, { ids: [dead[0]?.id, dead[3]?.id] })).body).toEqual({ replayed: 2 });
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([0]);
  expect(offsets(await claim(source, { consumer: "b", max: 10 }))).toEqual([1]);
});

test("letters outlive the consumer in whose hands they died, and wait for its return", async () => {
  const name = `cast-${++names}`;
  const stream = `stream-${names}`;
  await append(service.url, stream, { type: "A", data: 1 });
  const source = subscription(service.url, name);
  await put(source.url, { stream, from: "beginning" });
  await reject(source, 1);
  await send(`${source.url}/consumers/a`, { method: "DELETE" });
  expect((await letters(source)).deadLetters.length).toBe(1);
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 0 });
  await put(`${source.url}/consumers/a`, { from: "latest" });
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 1 });
  expect(offsets(await claim(source, { consumer: "a", max: 10 }))).toEqual([0]);
});

test("what a reset brings back is not handed out twice when its letter is put back too", async () => {
  const name = `back-${++names}`;
  const stream = `stream-${names}`;
  await append(
    service.url,
    stream,
    [1, 2, 3].map((data) => ({ type: "A", data })),
  );
  const source = subscription(service.url, name);
  await put(source.url, { stream, mode: "exclusive", from: "beginning" });
  await reject(source, 3);
  await post(`${source.url}/reset-offset`, { to: "beginning" });
  const held = await claim(source, { max: 1 });
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 3 });
  expect(offsets(held)).toEqual([0]);
  expect(offsets(await claim(source, { max: 10 }))).toEqual([1, 2]);
});

test("an event that dies again after a reset has one letter, of its last death", async () => {
  const name = `again-${++names}`;
  const stream = `stream-${names}`;
  await append(service.url, stream, { type: "A", data: 1 });
  const source = subscription(service.url, name);
  await put(source.url, { stream, mode: "exclusive", from: "beginning" });
  await reject(source, 1);
  await post(`${source.url}/reset-offset`, { to: "beginning" });
  const got = await claim(source);
  await nack(source, tokens(got), { action: "dead-letter", reason: "worse" });
  expect((await letters(source)).deadLetters.map((l) => l.lastError)).toEqual(["worse"]);
});

/** A group of one member in which the first event of a key, of two keys, has died; its key is paused. */
async function newPausedGroup(streams: string[] = []) {
  const name = `group-${++names}`;
  const source = subscription(service.url, name);
  await put(source.url, { streams: [name, ...streams], mode: "consumer-group", from: "beginning" });
  for (const stream of [name, ...streams, name])
    await append(
      service.url,
      stream,
      ["x", "y"].map((partitionkey) => ({ type: "A", partitionkey, data: 1 })),
    );
  const got = await claim(source, { consumer: "a", max: 10 });
  const [first, ...others] = got;
  await nack(source, [first?.token as string], { action: "dead-letter", reason: "poison" });
  const y = others.filter(({ event }) => event.partitionkey === "y");
  expect(await ack(source, tokens(y))).toEqual(y.map(() => "settled"));
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
  return { name, source };
}

test("a paused key goes on when its dead letter is put back, which comes first", async () => {
  const { source } = await newPausedGroup();
  await replay(source, { all: true });
  const got = await claim(source, { consumer: "a", max: 10 });
  expect(got.map(({ event, attempt }) => [event.offset, event.partitionkey, attempt])).toEqual([
    ["0", "x", 1],
    ["2", "x", 1],
  ]);
});

test("a paused key goes on when its dead letter is discarded", async () => {
  const { source } = await newPausedGroup();
  const waiting = claim(source, { consumer: "a", max: 10, wait: "30s" });
  await discard(source, { all: true });
  expect(offsets(await waiting)).toEqual([2]);
});

test("a key of which two events died at once goes on when both are decided, and not before", async () => {
  const name = `group-${++names}`;
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, mode: "consumer-group", from: "beginning" });
  for (let n = 0; n < 3; n++) await append(service.url, name, { type: "A", partitionkey: "x", data: n });
  const got = await claim(source, { consumer: "a", max: 10 });
  await nack(source, tokens(got).slice(0, 2), { action: "dead-letter", reason: "poison" });
  const [one, two] = (await letters(source)).deadLetters;
  await discard(source, { ids: [one?.id] });
  expect(await claim(source, { consumer: "a", max: 10 })).toEqual([]);
  const waiting = claim(source, { consumer: "a", max: 10, wait: "30s" });
  await replay(source, { ids: [two?.id] });
  expect(offsets(await waiting)).toEqual([1, 2]);
});

test("a paused key goes on when the stream of its dead letter is deleted", async () => {
  const other = `other-${++names}`;
  const { source, name } = await newPausedGroup([other]);
  const waiting = claim(source, { consumer: "a", max: 10, wait: "30s" });
  await send(`${service.url}/api/streams/${name}`, { method: "DELETE" });
  expect((await waiting).map(({ event }) => [event.stream, event.offset])).toEqual([[other, "0"]]);
});

test("what is put back in a group goes to the member that owns its key", async () => {
  const name = `group-${++names}`;
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, mode: "consumer-group", from: "beginning", onFailure: "skip" });
  for (const consumer of ["a", "b"]) await claim(source, { consumer });
  const keys = Array.from({ length: 40 }, (_, n) => ({ type: "A", partitionkey: `key-${n}`, data: n }));
  await append(service.url, name, keys);
  const owned = new Map<string, number[]>();
  for (const consumer of ["a", "b"]) {
    const got = await claim(source, { consumer, max: 100, wait: "20s" });
    owned.set(consumer, offsets(got));
    await nack(source, tokens(got), { action: "dead-letter" });
  }
  expect((await replay(source, { all: true })).body).toEqual({ replayed: 40 });
  for (const consumer of ["b", "a"])
    expect(offsets(await claim(source, { consumer, max: 100 }))).toEqual(owned.get(consumer) as number[]);
});

test("a queue says what it has yet to settle, and what died", async () => {
  const name = `pending-${++names}`;
  await put(`${service.url}/api/streams/${name}`, { type: "ephemeral", ...quick });
  const source = queue(service.url, name);
  const three = [1, 2, 3].map((data) => ({ type: "Job", data }));
  await append(service.url, name, three);
  expect(await streamOf(source)).toMatchObject({ pending: "3", deadLetters: "0" });
  expect((await letters(source)).deadLetters).toEqual([]);
  const [one, two] = tokens(await claim(source, { max: 2 })) as [string, string];
  expect(await streamOf(source)).toMatchObject({ pending: "3", deadLetters: "0" });
  await ack(source, [one]);
  await nack(source, [two], { action: "dead-letter" });
  expect(await streamOf(source)).toMatchObject({ pending: "1", deadLetters: "1" });
  await replay(source, { all: true });
  expect(await streamOf(source)).toMatchObject({ pending: "2", deadLetters: "0" });
  await append(service.url, `${name}-kept`, three);
  expect(await streamOf(queue(service.url, `${name}-kept`))).toMatchObject({
    pending: null,
    deadLetters: null,
  } as never);
  const list = (
    await send<{ streams: { name: string; pending: string }[] }>(`${service.url}/api/streams?prefix=${name}`)
  ).body.streams;
  expect(list.map((s) => s.pending)).toEqual(["2", null as never]);
});

test("requests that are not what they should be are told so", async () => {
  const { source } = await newDeadQueue(0 + 1);
  for (const bad of [{}, { ids: [] }, { ids: ["1"], all: true }, { all: false }, { ids: ["x"] }, { ids: [1] }]) {
    expectProblem(await replay(source, bad), 422, "invalid-request");
    expectProblem(await discard(source, bad), 422, "invalid-request");
  }
  expectProblem(await send(`${source.url}/dead-letters?limit=1001`), 400, "invalid-parameter");
  expectProblem(await send(`${source.url}/dead-letters?after=x`), 400, "invalid-parameter");
  expectProblem(await send(`${service.url}/api/streams/nowhere/dead-letters`), 404, "stream-not-found");
  await append(service.url, "kept", { type: "A", data: 1 });
  expectProblem(await send(`${service.url}/api/streams/kept/dead-letters`), 409, "not-a-queue");
  expectProblem(await send(`${service.url}/api/subscriptions/none/dead-letters`), 404, "subscription-not-found");
});
