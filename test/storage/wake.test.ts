import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { createWake, type Wake } from "../../src/storage/wake.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";

let url: string;
let watcher: postgres.Sql;
const payloads: string[] = [];
const wakes: Wake[] = [];

beforeAll(async () => {
  url = await createTestDatabase();
  watcher = postgres(url, { max: 1 });
  await watcher.listen("wake_test", (payload) => payloads.push(payload));
});
afterEach(async () => {
  await Promise.all(wakes.splice(0).map((wake) => wake.stop()));
});
afterAll(() => watcher.end());

type Started = { wake: Wake; woken: number[]; contended: string[] };

async function start(name: string, channel = "wake_test"): Promise<Started> {
  const woken: number[] = [];
  const contended: string[] = [];
  const wake = createWake({
    connect: () => postgres(url, { max: 1, fetch_types: false, connection: { application_name: name } }),
    channel,
    onCursors: () => {},
    onLive: () => {},
    onSchemas: () => {},
    onOutbox: () => {},
    onContended: (streams) => contended.push(...streams),
    onProjections: () => {},
    onWake: (position) => woken.push(position),
    log: createLog("silent", "test"),
  });
  wakes.push(wake);
  await wake.start();
  return { wake, woken, contended };
}

const forget = ({ woken }: { woken: number[] }) => woken.splice(0);

test("another process is woken with the position, the sender is not", async () => {
  const [a, b] = [await start("a"), await start("b")];
  forget(a);
  forget(b);
  a.wake.send(42);
  await until("b is woken", () => b.woken.length > 0);
  b.wake.send(43);
  await until("a is woken", () => a.woken.length > 0);
  expect([a.woken, b.woken]).toEqual([[43], [42]]);
});

test("what is announced within a moment becomes one notification, of the highest position", async () => {
  const a = await start("a");
  payloads.length = 0;
  for (const position of [5, 9, 7]) a.wake.send(position);
  await until("it is heard", () => payloads.some((payload) => payload.split(" ")[1] === "9"));
  expect(payloads.map((payload) => payload.split(" ")[1])).toEqual(["9"]);
});

test("another channel is another log", async () => {
  const [a, b, stranger] = [await start("a"), await start("b"), await start("s", "other_log")];
  forget(stranger);
  forget(b);
  a.wake.send(1);
  await until("b is woken", () => b.woken.length > 0);
  expect(stranger.woken).toEqual([]);
});

test("a listener that lost its connection connects anew and asks for a look at the head", async () => {
  const [a, b] = [await start("sender"), await start("listener")];
  forget(b);
  const killed =
    await watcher`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'listener' and datname = current_database()`;
  expect(killed.length).toBeGreaterThan(0);
  await until("it listens again", () => b.woken.includes(Number.POSITIVE_INFINITY));
  a.wake.send(77);
  await until("it hears again", () => b.woken.includes(77));
});

test("streams on which a process asks to take turns reach the others, however long their names", async () => {
  const [a, b] = [await start("a"), await start("b")];
  const streams = Array.from({ length: 35 }, (_, n) => `${n}-${"s".repeat(197)}`.slice(0, 200));
  for (const stream of [...streams, ...streams]) a.wake.sendContended(stream);
  await until("b has heard of all", () => b.contended.length >= 35);
  expect(b.contended.toSorted()).toEqual(streams.toSorted());
  expect(a.contended).toEqual([]);
});
