// The database goes away, hangs, or drops a connection: what clients are told, and that appending works again.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { type Answer, append, expectProblem, readAll, send } from "../support/client.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { type Service, startService } from "../support/service.ts";
import { logDefects, openSql } from "../support/sql.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

let direct: string;
let proxy: TcpProxy;
let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  direct = await createTestDatabase();
  const url = new URL(direct);
  proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  service = await startService({ DATABASE_URL: url.href, DATABASE_TIMEOUT: "400ms" });
  sql = openSql(direct);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
  await proxy.stop();
});

function expectOutage(answer: Answer<unknown>, code: string): void {
  const problem = expectProblem(answer, 503, code);
  expect([problem.retryable, answer.headers.get("retry-after")]).toEqual([true, "1"]);
  expect(answer.text).not.toMatch(/select|postgres:|127\.0\.0\.1/i);
}

/** Runs the task while another session holds the lock of the log, behind which every append waits. */
async function whileLogIsLocked(task: () => Promise<void>): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(log_lock())`;
    await task();
  });
}

const waitingAppends = () =>
  sql`select pid from pg_stat_activity
    where datname = current_database() and application_name = 'sluice appends' and wait_event = 'advisory'`;

async function appendsAgain(stream: string): Promise<void> {
  await until("appends work again", async () => (await append(service.url, stream, { type: "Again" })).status === 201);
}

// First: the connections that later tests break must not be among those that wait here.
test("an append that waits too long for the log is given up with nothing stored", async () => {
  const answers: Answer<unknown>[] = [];
  await whileLogIsLocked(async () => {
    answers.push(...(await Promise.all([1, 2, 3].map((n) => append(service.url, "late", { type: "A", data: n })))));
  });
  for (const answer of answers) expectOutage(answer, "storage-unavailable");
  await appendsAgain("late");
  expect((await readAll(service.url, "late")).map((event) => event.type)).toEqual(["Again"]);
});

test("a database that refuses connections is an outage, told within the request, and over when it is back", async () => {
  await append(service.url, "away", { type: "Before" });
  await proxy.set("refuse");
  proxy.cut();
  await until("the outage is seen", async () => {
    const answer = await append(service.url, "away", { type: "Lost" });
    // The first request may still meet a connection that is just breaking.
    return (
      answer.status === 503 && (answer.body as unknown as { type: string }).type === "/problems/storage-unavailable"
    );
  });
  expectOutage(await append(service.url, "away", { type: "Lost" }), "storage-unavailable");
  expectOutage(await send(`${service.url}/api/streams/away`), "storage-unavailable");
  expectOutage(await send(`${service.url}/api/streams/away`, { method: "PUT", body: "{}" }), "storage-unavailable");
  expectOutage(await send(`${service.url}/api/streams/away`, { method: "DELETE" }), "storage-unavailable");
  expect((await fetch(`${service.url}/livez`)).status).toBe(200);
  expect((await fetch(`${service.url}/readyz`)).status).toBe(503);
  await proxy.set("pass");
  await appendsAgain("away");
  await until("it is ready again", async () => (await fetch(`${service.url}/readyz`)).status === 200);
  const events = await readAll(service.url, "away");
  expect(events.map((event) => event.type)).toEqual(["Before", "Again"]);
});

test("a session that is ended within an append leaves the outcome unknown; the retry is stored once", async () => {
  const event = { type: "A", id: "u-1" };
  let unknown: Answer<unknown> | null = null;
  await whileLogIsLocked(async () => {
    const appended = append(service.url, "ended", event);
    const pid = await until<number>("it waits", async () => (await waitingAppends())[0]?.pid);
    await sql`select pg_terminate_backend(${pid})`;
    unknown = await appended;
  });
  expectOutage(unknown as unknown as Answer<unknown>, "outcome-unknown");
  const retried = await append(service.url, "ended", event);
  expect([retried.status, retried.body.firstOffset]).toEqual([201, "0"]);
  expect((await append(service.url, "ended", event)).status).toBe(200);
});

test("sessions that are ended while idle are replaced before anybody notices, or the retry works", async () => {
  await append(service.url, "idle", { type: "A", id: "1" });
  for (let round = 0; round < 5; round++) {
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'sluice %'`;
    const id = `round-${round}`;
    await until("it is stored", async () => {
      const answer = await append(service.url, "idle", { type: "A", id });
      if (answer.status === 503) expect(answer.headers.get("retry-after")).toBe("1");
      else expect(answer.status).toBeOneOf([200, 201]);
      return answer.status !== 503;
    });
  }
  expect((await readAll(service.url, "idle")).map((event) => event.id)).toEqual([
    "1",
    ...Array.from({ length: 5 }, (_, round) => `round-${round}`),
  ]);
});

test("a connection that says no more is given up, and those after it work", async () => {
  await proxy.set("half-open");
  const answers = await Promise.all([1, 2].map((n) => append(service.url, "silent", { type: "A", id: String(n) })));
  for (const answer of answers) expectOutage(answer, "outcome-unknown");
  await proxy.set("pass");
  await appendsAgain("silent");
}, 120_000);

test("after all of it the log has no gap and no duplicate", async () => {
  expect(await logDefects(sql)).toEqual([]);
});
