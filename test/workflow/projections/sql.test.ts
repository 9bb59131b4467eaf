// Projections in SQL: handlers change tables of their own, all of a batch or nothing, and nothing outlives its time.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { defineEvent, defineSqlProjection, type ProjectionSql, Type } from "../../../src/workflow/index.ts";
import type { Generation } from "../../../src/workflow/projections/generation.ts";
import { setPaused } from "../../../src/workflow/projections/requests.ts";
import { createProjectionRig, type ProjectionProcess, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Moved = defineEvent("Moved", Type.Object({ from: Type.String(), to: Type.String(), cents: Type.Integer() }));
const Noted = defineEvent("Noted", Type.Object({ text: Type.String() }));
const retry = { attempts: 2, initial: "1ms", max: "5ms" };
const tables = async (sql: ProjectionSql) => {
  await sql`create table balances (account text primary key, cents bigint not null check (cents >= -1000))`;
  await sql`create table notes (id bigint generated always as identity primary key, text text not null)`;
};
const live = async (process: ProjectionProcess, name: string): Promise<Generation> =>
  (await process.generations(name)).find(({ role }) => role === "live") as Generation;
const halted = (process: ProjectionProcess, name: string) =>
  until(`${name} has stopped`, async () => {
    const found = await live(process, name);
    return found?.halted ? found : null;
  });
const moved = (from: string, to: string, cents: number) => Moved.event({ from, to, cents });

async function move(sql: ProjectionSql, { from, to, cents }: { from: string; to: string; cents: number }) {
  for (const [account, by] of [
    [from, -cents],
    [to, cents],
  ] as const)
    await sql`
      insert into balances values (${account}, ${by})
      on conflict (account) do update set cents = balances.cents + excluded.cents`;
}

test("handlers write tables of their own, which can be read by views", async () => {
  const ledger = defineSqlProjection("ledger", { streams: ["ledger"], tables, retry })
    .on(Moved, move)
    .onAny(async (sql, _data, { type }) => sql`insert into notes (text) values (${type})`);
  const process = await rig.start([ledger]);
  await process.append("ledger", moved("a", "b", 10), Noted.event({ text: "x" }), moved("b", "c", 4));
  await process.reached("ledger", await process.append("ledger", moved("a", "c", 1)));
  expect(await rig.rows("ledger__balances")).toEqual([
    { account: "a", cents: "-11" },
    { account: "b", cents: "6" },
    { account: "c", cents: "5" },
  ]);
  expect(await rig.rows("ledger__notes")).toEqual([{ id: "1", text: "Noted" }]);
  await process.stop();
});

test("a handler of several types gets what follows one another together, and a guilty event is found among them", async () => {
  const sizes: number[] = [];
  const batches = defineSqlProjection("batches", { streams: ["batches"], tables, retry })
    .onBatch([Moved], async (sql, events) => {
      sizes.push(events.length);
      for (const { data } of events) await move(sql, data);
    })
    .on(Noted, async (sql, { text }) => sql`insert into notes (text) values (${text})`);
  const process = await rig.start([batches]);
  const last = await process.append(
    "batches",
    moved("a", "b", 1),
    moved("a", "b", 2),
    Noted.event({ text: "between" }),
    moved("a", "b", 3),
    moved("b", "c", 2000),
    moved("a", "b", 5),
  );
  const stopped = await halted(process, "batches");
  expect(stopped).toMatchObject({ failedPosition: last - 1, position: last - 2, events: 4, failures: 2 });
  expect(stopped.lastError).toMatch(/violates check constraint "balances_cents_check"/);
  expect(sizes[0]).toBe(2);
  expect(await rig.rows("batches__balances")).toEqual([
    { account: "a", cents: "-6" },
    { account: "b", cents: "6" },
  ]);
  await process.stop();
});

test("an error that the handler swallows, and one that comes with the commit, are failures too", async () => {
  const swallowing = defineSqlProjection("swallowing", {
    streams: ["swallowing"],
    retry,
    tables: async (sql) => {
      await sql`create table parents (id text primary key)`;
      await sql`create table children (parent text references parents deferrable initially deferred)`;
    },
  }).on(Noted, async (sql, { text }) => {
    if (text === "late") await sql`insert into children values ('nobody')`;
    if (text === "swallowed") await sql`select 1 / 0`.catch(() => {});
    await sql`insert into parents values (${text})`;
  });
  const process = await rig.start([swallowing]);
  const note = (text: string) => Noted.event({ text });
  await process.append("swallowing", note("a"), note("swallowed"), note("b"));
  const first = await halted(process, "swallowing");
  expect([first.events, first.lastError]).toEqual([1, "division by zero"]);
  await rig.sql`select projection_skip('swallowing', ${first.failedPosition})`;
  process.projections.tend();
  await process.append("swallowing", note("late"), note("c"));
  const second = await halted(process, "swallowing");
  expect([second.events, second.lastError]).toEqual([2, expect.stringMatching(/violates foreign key constraint/)]);
  expect(await rig.rows("swallowing__parents")).toEqual([{ id: "a" }, { id: "b" }]);
  await process.stop();
});

test("a handler that takes too long fails, and what it does behind that has no effect, not even late queries", async () => {
  let late: Promise<PromiseSettledResult<unknown>[]> | null = null;
  let released = () => {};
  let hang = true;
  const hanging = defineSqlProjection("hanging", {
    streams: ["hanging"],
    tables,
    retry: { attempts: 1 },
    timeout: "150ms",
  }).on(Noted, async (sql, { text }) => {
    if (text === "sleeps" && hang) await sql`select pg_sleep(20)`;
    if (text === "hangs" && hang) {
      const made = sql`insert into notes (text) values ('made before')`;
      await new Promise<void>((resolve) => {
        released = resolve;
      });
      late = Promise.allSettled([
        Promise.resolve(made),
        Promise.resolve().then(() => sql`insert into notes (text) values ('asked late')`),
        Promise.resolve().then(() =>
          sql.unsafe("insert into event_streaming_read.hanging__notes (text) values ('unsafe')"),
        ),
        Promise.resolve().then(() => sql.savepoint((nested) => nested`select 1`)),
      ]);
      return;
    }
    await sql`insert into notes (text) values (${text})`;
  });
  const process = await rig.start([hanging]);
  const note = (text: string) => Noted.event({ text });
  await process.append("hanging", note("first"), note("hangs"), note("sleeps"));
  const first = await halted(process, "hanging");
  expect([first.events, first.lastError]).toEqual([1, "it did not finish within 150 ms"]);
  released();
  const outcomes = await until("it has gone on", () => late);
  expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.message)).toEqual(
    Array(4).fill("the transaction of the handler is over"),
  );
  await rig.sql`select projection_skip('hanging', ${first.failedPosition})`;
  process.projections.tend();
  const second = await halted(process, "hanging");
  expect(second.lastError).toMatch(/^(it did not finish within 150 ms|canceling statement due to statement timeout)$/);
  hang = false;
  await setPaused(process.database.reads, "hanging", false);
  process.projections.tend();
  await process.reached("hanging", await process.append("hanging", note("last")));
  expect((await rig.rows("hanging__notes")).map(({ text }) => text)).toEqual(["first", "sleeps", "last"]);
  await process.stop();
});

test("a transaction that takes long ends before its time, with what is done", async () => {
  const budgetMs = 50;
  const slow = defineSqlProjection("slow", { streams: ["slow"], tables, timeout: "30s" }).on(
    Noted,
    async (sql, { text }) => {
      await sql`insert into notes (text) values (${text})`;
      if (text === "slow") await new Promise((resolve) => setTimeout(resolve, 2 * budgetMs));
    },
  );
  const process = await rig.start([slow], { budgetMs });
  const note = (text: string) => Noted.event({ text });
  const last = await process.append("slow", note("a"), note("slow"), note("b"));
  await process.reached("slow", last);
  const rows = await rig.sql<{ text: string; by: string }[]>`
    select text, xmin::text as by from event_streaming_p_slow_1.notes order by id`;
  expect(rows.map(({ text }) => text)).toEqual(["a", "slow", "b"]);
  // What comes behind the slow one waits for another transaction.
  expect(rows[2]?.by).not.toBe(rows[1]?.by);
  await process.stop();
});

test("tables that cannot be made are told, and do not keep the live ones from being written", async () => {
  const define = (version: number, statement: string) =>
    defineSqlProjection("misspelt", {
      streams: ["misspelt"],
      version,
      tables: (sql) => sql.unsafe(statement),
    }).on(Noted, async (sql, { text }) => sql`insert into notes values (${text})`);
  const note = (text: string) => Noted.event({ text });
  const process = await rig.start([define(1, "create tabel notes (text text)")]);
  const failed = await until("it is told", async () => {
    const found = await process.projections.describe("misspelt");
    return found?.state === "failed" ? found : null;
  });
  expect(failed).toMatchObject({ lastError: 'syntax error at or near "tabel"', failedPosition: null, rebuild: null });
  expect(await process.projections.models.page("misspelt", null, 1, new AbortController().signal)).toEqual({
    unanswered: "not-ready",
  });
  await process.stop();
  const mended = await rig.start([define(1, "create table notes (text text)")]);
  await mended.reached("misspelt", await mended.append("misspelt", note("a")));
  expect(await mended.projections.describe("misspelt")).toMatchObject({ state: "running", lastError: null });
  await mended.stop();
  const worse = await rig.start([define(2, "create table notes (text tex)")]);
  const told = await until("it is told", async () => {
    const found = await worse.projections.describe("misspelt");
    return found?.rebuild?.state === "failed" ? found : null;
  });
  expect(told).toMatchObject({ version: 1, rebuild: { lastError: 'type "tex" does not exist' } });
  expect(await rig.rows("misspelt__notes")).toEqual([{ text: "a" }]);
  await worse.stop();
});
