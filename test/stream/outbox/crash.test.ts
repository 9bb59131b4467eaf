// The outbox, with a crash between every two steps of its relay: each row becomes one event, whoever dies and whenever.
import { afterAll, beforeEach, expect, test } from "bun:test";
import type postgres from "postgres";
import { readAll } from "../../support/client.ts";
import { insertRow, outboxState } from "../../support/outbox.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { type ServiceProcess, spawnService } from "../../support/service.ts";
import { logDefects, openSql } from "../../support/sql.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

let direct: string;
let sql: postgres.Sql;
const ends: (() => Promise<unknown>)[] = [];
const endAll = async () => {
  for (const end of ends.splice(0).reverse()) await end();
};
beforeEach(async () => {
  await endAll();
  direct = await createTestDatabase();
  sql = openSql(direct, 4);
  ends.push(() => sql.end());
});
afterAll(endAll);

/** A process, with a proxy between it and the database. */
async function start(): Promise<{ process: ServiceProcess; proxy: TcpProxy }> {
  const url = new URL(direct);
  const proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  const process = await spawnService({ DATABASE_URL: url.href, LEASE_DURATION: "400ms", DATABASE_TIMEOUT: "5s" });
  ends.push(async () => {
    await proxy.set("pass");
    process.kill("SIGKILL");
    await process.exited;
    await proxy.stop();
  });
  return { process, proxy };
}
type Started = Awaited<ReturnType<typeof start>>;

async function kill({ process }: Started): Promise<void> {
  process.kill("SIGKILL");
  await process.exited;
}

const holder = async () => (await sql<{ epoch: string }[]>`select epoch from leases where name = 'outbox'`)[0]?.epoch;
const insert = (from: number, to: number) =>
  sql.begin(async (tx) => {
    for (let n = from; n <= to; n++) await insertRow(tx, { stream: `s-${n % 2}`, data: n });
  });

/** The relay's look at the outbox, which waits for that. */
const looking = (waitEvent: string) =>
  sql`select pid from pg_stat_activity
    where datname = current_database() and query like '%row_number() over%from outbox%' and wait_event = ${waitEvent}`;

/** Stops the process when its look at the outbox is about to find rows, by holding the table until then. */
async function stopWithRowsInHand(stop: () => unknown): Promise<void> {
  // A connection that looks for the first time would be stopped with the statement prepared, and not run.
  const prepared = new Set<number>();
  await until("every connection has looked", async () => {
    for (const { pid } of await looking("ClientRead")) prepared.add(pid);
    return prepared.size === 4;
  });
  await sql.begin(async (tx) => {
    await tx`lock table outbox in access exclusive mode`;
    for (let n = 1; n <= 10; n++) await insertRow(tx, { stream: `s-${n % 2}`, data: n });
    await until("it looks", async () => (await looking("relation"))[0]);
    await stop();
  });
}

/** Holds the lock of the log, behind which every append waits, until the task is done. */
async function whileLogIsLocked(task: () => Promise<void>): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(log_lock())`;
    await task();
  });
}
const appendWaits = () =>
  until("the append waits for the log", async () => {
    const rows = await sql<{ pid: number }[]>`select pid from pg_stat_activity
      where datname = current_database() and application_name = 'sluice appends' and wait_event = 'advisory'`;
    return rows[0]?.pid;
  });

/** Each of the rows 1 to n is one event, in order. */
async function expectEach({ process }: Started, last: number): Promise<void> {
  await until("nothing waits", async () => (await outboxState(sql)).waiting === 0);
  const found = [];
  for (const stream of ["s-1", "s-0"]) found.push((await readAll(process.url, stream)).map((event) => event.data));
  const all = Array.from({ length: last }, (_, n) => n + 1);
  expect(found).toEqual([all.filter((n) => n % 2 === 1), all.filter((n) => n % 2 === 0)]);
  expect((await outboxState(sql)).failures).toEqual([]);
  expect(await logDefects(sql)).toEqual([]);
}

test("killed before it reads the rows", async () => {
  const first = await start();
  await until("it relays", holder);
  await kill(first);
  await insert(1, 10);
  await expectEach(await start(), 10);
});

test("killed with the rows read, before they are appended", async () => {
  const first = await start();
  await until("it relays", holder);
  // What it finds is on its way, and never arrives.
  await stopWithRowsInHand(() => first.proxy.set("stall-to-client"));
  await kill(first);
  expect(await outboxState(sql)).toEqual({ waiting: 10, failures: [] });
  await expectEach(await start(), 10);
});

test("killed within the append: the statement goes on without it, beside the next process, and stores nothing twice", async () => {
  const [first, second] = [await start(), null as Started | null];
  await until("it relays", holder);
  const epoch = await holder();
  let next = second;
  await whileLogIsLocked(async () => {
    await insert(1, 10);
    await appendWaits();
    await kill(first);
    next = await start();
    await until("the next process has taken over", async () => (await holder()) !== epoch);
    // It meets the rows that the statement holds, and more.
    await insert(11, 20);
    await appendWaits();
  });
  await expectEach(next as unknown as Started, 20);
});

test("the append is ended before the commit: nothing was stored, and it is tried again", async () => {
  const first = await start();
  await whileLogIsLocked(async () => {
    await insert(1, 10);
    const pid = await appendWaits();
    await sql`select pg_terminate_backend(${pid})`;
    await until("it tries again", async () => ((await appendWaits()) !== pid ? true : null));
  });
  await expectEach(first, 10);
});

test("the answer is lost after the commit, with the connection", async () => {
  const first = await start();
  await whileLogIsLocked(async () => {
    await insert(1, 10);
    await appendWaits();
    await first.proxy.set("lose-answers");
  });
  await until("it is committed", async () => (await outboxState(sql)).waiting === 0);
  await first.proxy.set("pass");
  await insert(11, 20);
  await expectEach(first, 20);
});

test("killed after the commit, before it has the answer", async () => {
  const first = await start();
  await whileLogIsLocked(async () => {
    await insert(1, 10);
    await appendWaits();
    await first.proxy.set("stall-to-client");
  });
  await until("it is committed", async () => (await outboxState(sql)).waiting === 0);
  await kill(first);
  await insert(11, 20);
  await expectEach(await start(), 20);
});

test("a process that is stopped with rows in hand and passed over stores nothing when it goes on", async () => {
  const first = await start();
  await until("it relays", holder);
  const epoch = await holder();
  await stopWithRowsInHand(() => first.process.kill("SIGSTOP"));
  const second = await start();
  await until("the other one has relayed them", async () => (await outboxState(sql)).waiting === 0);
  expect(await holder()).not.toBe(epoch);
  const attempts = async () => {
    const metrics = await (await fetch(`${first.process.url}/metrics`)).text();
    return Number(/^sluice_append_requests_total (\d+)/m.exec(metrics)?.[1]);
  };
  first.process.kill("SIGCONT");
  await until("it has tried to store them", async () => (await attempts()) > 0);
  await insert(11, 20);
  await expectEach(second, 20);
});
