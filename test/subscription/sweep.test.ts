// What is done in the background for all: overdue leases, old rows, deleted streams, subscriptions that nobody uses.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, expectProblem, send } from "../support/client.ts";
import { ack, claim, nack, offsets, post, put, queue, type Source, subscription, tokens } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

type State = { inFlight: string; waiting: string; deadLetters: string; floor: string; lag: { events: string } };
const stateOf = async ({ url }: Source) => (await send<State>(url)).body;

let names = 0;
async function newSubscription(configuration: Record<string, unknown> = {}, count = 0) {
  const name = `sub-${++names}`;
  const stream = `stream-${names}`;
  if (count > 0) await fill(stream, count);
  const source = subscription(service.url, name);
  await put(source.url, { stream, mode: "exclusive", from: "beginning", ...configuration });
  return { name, stream, source };
}
const fill = (stream: string, count: number) =>
  append(
    service.url,
    stream,
    Array.from({ length: count }, (_, n) => ({ type: "A", data: { n } })),
  );
const deleteStream = (name: string) => send(`${service.url}/api/streams/${name}`, { method: "DELETE" });

/** The rows of a table under the cursors of a subscription. */
async function rowsOf(name: string, table: string): Promise<number> {
  const [row] = await sql`
    select count(*)::int as n from ${sql(table)} t join subscription_cursors k on k.id = t.cursor_id
      join subscriptions s on s.id = k.subscription_id where s.name = ${name}`;
  return row?.n;
}

test("overdue leases become dead letters though nobody asks", async () => {
  const { source } = await newSubscription({ maxAttempts: 1 }, 3);
  const held = await claim(source, { max: 3, visibilityTimeout: "100ms" });
  expect(await stateOf(source)).toMatchObject({ inFlight: "3", deadLetters: "0" });
  await until("they are given up", async () => (await stateOf(source)).deadLetters === "3");
  expect(await stateOf(source)).toMatchObject({ inFlight: "0", waiting: "0", lag: { events: "0" } });
  expect(await ack(source, tokens(held))).toEqual(["stale", "stale", "stale"]);
});

test("leases that are not overdue are left alone", async () => {
  const { source } = await newSubscription({}, 2);
  const held = await claim(source, { max: 1, visibilityTimeout: "1h" });
  await claim(source, { max: 1, visibilityTimeout: "100ms" });
  await until("the other one is taken back", async () => (await stateOf(source)).waiting === "1");
  expect(await ack(source, tokens(held))).toEqual(["settled"]);
});

test("of the steps of a cursor the newest stays, and it goes on where it stood", async () => {
  const { source, name } = await newSubscription({}, 12);
  for (let i = 0; i < 10; i++) await ack(source, tokens(await claim(source, { max: 1 })));
  await until("older steps are gone", async () => (await rowsOf(name, "cursor_steps")) === 1);
  expect(offsets(await claim(source, { max: 10 }))).toEqual([10, 11]);
});

test("revocations are forgotten after a day, no earlier", async () => {
  const { source, name } = await newSubscription({ backoff: { initial: "0s", max: "0s" } }, 2);
  const held = await claim(source, { max: 2 });
  await nack(source, [tokens(held)[0] as string]);
  await ack(source, tokens(await claim(source, { max: 1, wait: "20s" })));
  await nack(source, [tokens(held)[1] as string]);
  expect(await rowsOf(name, "revoked_deliveries")).toBe(1);
  await sql`update revoked_deliveries set revoked_at = revoked_at - interval '25 hours'`;
  await until("they are gone", async () => (await rowsOf(name, "revoked_deliveries")) === 0);
});

test("deleting a stream ends what the ledgers hold of it, and leaves what they hold of other streams", async () => {
  const other = `other-${++names}`;
  const { source, stream } = await newSubscription({ maxAttempts: 1 }, 2);
  await put(source.url, { streams: [stream, other], mode: "exclusive", maxAttempts: 2 });
  await fill(other, 2);
  await fill(stream, 2);
  const held = await claim(source, { max: 5, visibilityTimeout: "1h" });
  expect(held.map((d) => d.event.stream)).toEqual([stream, stream, other, other, stream]);
  await nack(source, [held[0]?.token as string, held[2]?.token as string], { action: "dead-letter" });
  await nack(source, [held[1]?.token as string], { delay: "1h" });
  expect(await stateOf(source)).toMatchObject({ inFlight: "2", waiting: "1", deadLetters: "2" });
  expect((await deleteStream(stream)).status).toBe(204);
  await until("it is forgotten", async () => (await stateOf(source)).deadLetters === "1");
  await until("nothing of it is out", async () => (await stateOf(source)).inFlight === "1");
  expect(await stateOf(source)).toMatchObject({ waiting: "0", lag: { events: "1" } });
  expect(await ack(source, [held[3]?.token as string])).toEqual(["settled"]);
  // A new stream of the name is followed as before.
  await fill(stream, 1);
  const [next] = await claim(source, { max: 5 });
  expect([next?.event.stream, next?.event.offset]).toEqual([stream, "4"]);
});

test("subscriptions to a correlation let go of a deleted stream too", async () => {
  const name = `correlated-${++names}`;
  const source = subscription(service.url, name);
  await append(service.url, `${name}-a`, { type: "A", correlationid: name, data: 1 });
  await append(service.url, `${name}-b`, { type: "A", correlationid: name, data: 1 });
  await put(source.url, { correlation: name, mode: "exclusive", from: "beginning" });
  expect((await claim(source, { max: 5, visibilityTimeout: "1h" })).length).toBe(2);
  await deleteStream(`${name}-a`);
  await until("it is forgotten", async () => (await stateOf(source)).inFlight === "1");
});

test("a queue goes with its stream at once; a new one of the name has its own settings", async () => {
  const name = `queue-${++names}`;
  const source = queue(service.url, name);
  await put(source.url, { type: "ephemeral", visibilityTimeout: "1h" });
  await fill(name, 4);
  const held = await claim(source, { max: 2 });
  await nack(source, [tokens(held)[0] as string], { action: "dead-letter" });
  await deleteStream(name);
  for (const path of ["claims", "acks"])
    expectProblem(
      await post(`${source.url}/${path}`, path === "acks" ? { tokens: tokens(held) } : {}),
      404,
      "stream-not-found",
    );
  expectProblem(await send(`${source.url}/dead-letters`), 404, "stream-not-found");
  await put(source.url, { type: "ephemeral", visibilityTimeout: "1m" });
  expect((await send(source.url)).body).toMatchObject({ pending: "0", deadLetters: "0" });
  await fill(name, 1);
  const [next] = await claim(source, { max: 5 });
  expect(next?.event.offset).toBe("4");
  expect(Date.parse(next?.deadline as string) - Date.now()).toBeLessThan(61_000);
  expect(await ack(source, tokens(held))).toEqual(["stale", "stale"]);
  await until("the rows of the old one are gone", async () => {
    const rows = await sql`select 1 from subscriptions where deleted_at is not null`;
    return rows.length === 0;
  });
  await deleteStream(name);
  await append(service.url, name, { type: "A", data: 1 });
  expectProblem(await post(`${source.url}/claims`), 409, "not-a-queue");
});

test("who waits at a queue is told when its stream is deleted", async () => {
  const name = `queue-${++names}`;
  const source = queue(service.url, name);
  await put(source.url, { type: "ephemeral" });
  await claim(source);
  const waiting = post(`${source.url}/claims`, { wait: "30s" });
  await until("it waits", async () =>
    /sluice_claims_waiting 1\b/.test(await (await fetch(`${service.url}/metrics`)).text()),
  );
  await deleteStream(name);
  expectProblem(await waiting, 404, "stream-not-found");
});

test("a subscription that nobody uses expires; one that has a consumer lives", async () => {
  const { source: unused } = await newSubscription({ expiresAfter: "1s" }, 1);
  const { source: used, name } = await newSubscription({ expiresAfter: "1s", consumerTimeout: "1s" }, 1);
  const { source: kept } = await newSubscription({}, 1);
  await claim(unused, { consumer: "a" });
  let beating = true;
  const beats = (async () => {
    while (beating) {
      await put(`${used.url}/consumers/a`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  await put(unused.url, { stream: "x", mode: "exclusive", expiresAfter: "1s", consumerTimeout: "1s" });
  await until("it has expired", async () => (await send(unused.url)).status === 404);
  const [row] =
    await sql`select used_at > clock_timestamp() - interval '20 s' as lately from subscriptions where name = ${name}`;
  expect(row?.lately).toBe(true);
  expect((await send(used.url)).status).toBe(200);
  beating = false;
  await beats;
  await until("the other one, too", async () => (await send(used.url)).status === 404);
  expect((await send(kept.url)).status).toBe(200);
  // Its name can be used again.
  expect((await put(unused.url, { stream: "x" })).status).toBe(201);
});

test("a retired subscription with many dead letters is removed piece by piece", async () => {
  const { source, name } = await newSubscription({ maxAttempts: 1, expiresAfter: "1h" }, 900);
  for (let left = 900; left > 0; ) {
    const got = await claim(source, { max: 900, wait: "20s" });
    await nack(source, tokens(got));
    left -= got.length;
  }
  const [before] = await sql<{ id: string }[]>`select id from subscriptions where name = ${name}`;
  await sql`delete from consumers where subscription_id = ${before?.id as string}`;
  await sql`update subscriptions set used_at = used_at - interval '2 hours' where name = ${name}`;
  await until("it is gone", async () => {
    const rows = await sql`select 1 from subscriptions where id = ${before?.id as string}`;
    return rows.length === 0;
  });
  expect(await sql`select 1 from dead_letters where subscription_id = ${before?.id as string}`).toHaveLength(0);
});
