// The line of a stream: concurrent commands build on each other, and none is answered on what was not stored.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Problem } from "../../../src/base/errors.ts";
import { deleteStream } from "../../../src/stream/streams.ts";
import type { Commit } from "../../../src/workflow/deciders/deciders.ts";
import { defineDecider, defineEvent, reject, Type } from "../../../src/workflow/index.ts";
import { type DeciderProcess, type DeciderProcessOptions, startDeciderProcess } from "../../support/decider-process.ts";
import { newEvent } from "../../support/new-event.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { logDefects } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

const Added = defineEvent("Added", Type.Object({ amount: Type.Integer(), total: Type.Integer() }));

/** A sum whose events tell the total, so that an event decided on any other state than that before it is seen. */
const sum = defineDecider("sum", { state: Type.Object({ total: Type.Integer() }), initialState: { total: 0 } })
  .on(Added, ({ total }, { amount }) => ({ total: total + amount }))
  .command("add", {
    body: Type.Object({ id: Type.String(), amount: Type.Integer() }),
    result: Type.Object({ total: Type.Integer() }),
    id: ({ id }) => id,
    decide({ total }, { amount }) {
      if (total + amount < 0) reject("too little", { total });
      const after = total + amount;
      return { events: amount === 0 ? [] : [Added.event({ amount, total: after })], result: { total: after } };
    },
  });

let databaseUrl: string;
const processes: DeciderProcess[] = [];
beforeAll(async () => {
  databaseUrl = await createTestDatabase();
  const first = start();
  await first.sql`select log_partition_add(false, 4000000)`;
});
afterAll(async () => {
  for (const process of processes) await process.stop();
});

function start(options: DeciderProcessOptions = {}): DeciderProcess {
  const process = startDeciderProcess(databaseUrl, sum, options);
  processes.push(process);
  return process;
}
const add = ({ run }: DeciderProcess, id: string, amount: number) =>
  run("add", { id, amount }).then(
    ({ result }) => (result as { total: number }).total,
    (error: Error) => (error instanceof Problem ? error.code : error.message),
  );
const totals = async ({ sql }: DeciderProcess, id: string) =>
  (
    await sql<{ data: string }[]>`
      select e.data from events e join streams s on s.id = e.stream_id
      where s.name = ${`sum-${id}`} and e."offset" >= s.first_offset order by e."offset"`
  ).map(({ data }) => (JSON.parse(data) as { total: number }).total);
/** Totals that do not follow on one another. */
const broken = (list: number[], amount: number) => list.filter((total, n) => total !== (n + 1) * amount);

test("concurrent commands on one stream travel in one batch, each on the state that the one before leaves", async () => {
  const process = start();
  await add(process, "batch", 1);
  const { batches } = process.appender.counters();
  const answers = await Promise.all(Array.from({ length: 20 }, () => add(process, "batch", 1)));
  expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => n + 2));
  expect(process.appender.counters().batches).toBe(batches + 1);
  expect(broken(await totals(process, "batch"), 1)).toEqual([]);
  expect(process.deciders.counters()).toMatchObject({ conflicts: 0, looks: 1 });
});

test("a command that was decided behind another which is refused is decided anew, though the version it expected is reached", async () => {
  const [one, other] = [start(), start()];
  await add(one, "aba", 1);
  // The first of two is sent on its way; before it arrives, another process puts its own event in its place.
  const hold = one.appends.hold("log_append", "statement");
  const first = add(one, "aba", 1);
  await until("the first is sent", () => hold.waiting() === 1);
  const second = add(one, "aba", 1);
  await until("the second is sent", () => hold.waiting() === 2);
  expect(await add(other, "aba", 10)).toBe(11);
  hold.release();
  expect((await Promise.all([first, second])).toSorted()).toEqual([12, 13]);
  expect(await totals(one, "aba")).toEqual([1, 11, 12, 13]);
});

test("those behind a command that fails for reasons of its own are decided anew, however many", async () => {
  let failures = 0;
  const failing =
    (commit: Commit): Commit =>
    (stream, events, expected, result) => {
      const { amount } = JSON.parse(events[0]?.data ?? "") as { amount: number };
      if (amount !== 7) return commit(stream, events, expected, result);
      failures++;
      return Promise.reject(new Problem("schema-mismatch", "not today"));
    };
  const process = start({ commit: failing });
  await add(process, "failing", 1);
  const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => add(process, "failing", n % 3 === 0 ? 7 : 1)));
  expect(answers.filter((answer) => answer === "schema-mismatch")).toHaveLength(20);
  expect(failures).toBe(20);
  expect(await totals(process, "failing")).toEqual(Array.from({ length: 41 }, (_, n) => n + 1));
});

test("a refusal is told only of what is stored: not on a decision that fails, and not on what another process has overtaken", async () => {
  const [one, other] = [start(), start()];
  expect(await add(one, "refused", 5)).toBe(5);
  expect(await add(other, "refused", 5)).toBe(10);
  // This process still believes in 5.
  expect(await add(one, "refused", -8)).toBe(2);
  expect(await add(other, "refused", -3)).toBe("too little");
  const hold = one.appends.hold("log_append", "statement");
  const taken = add(one, "refused", -2);
  await until("it is sent", () => hold.waiting() === 1);
  const refused = add(one, "refused", -1);
  expect(await add(other, "refused", 4)).toBe(6);
  hold.release();
  expect(["4,3", "3,5"]).toContain((await Promise.all([taken, refused])).join());
});

test("a decision without events is as good as the newest state", async () => {
  const [one, other] = [start(), start()];
  expect(await add(one, "asked", 0)).toBe(0);
  expect(await add(other, "asked", 3)).toBe(3);
  expect(await add(one, "asked", 0)).toBe(3);
});

test("a decision that overtakes the one it is built on is decided anew, and both are stored", async () => {
  const process = start();
  await add(process, "overtaken", 1);
  const hold = process.appends.hold("log_append", "statement");
  const first = add(process, "overtaken", 1);
  await until("the first is sent", () => hold.waiting() === 1);
  hold.pass();
  const second = add(process, "overtaken", 1);
  await until("the second has met its refusal", () => process.appender.counters().refused === 1);
  hold.step();
  expect(await Promise.all([first, second])).toEqual([2, 3]);
  expect(await totals(process, "overtaken")).toEqual([1, 2, 3]);
});

test("a deleted stream is not decided on the state of its earlier life, whether anything was appended since or not", async () => {
  const [one, other] = [start(), start()];
  const remove = (id: string) => deleteStream(one.appends, `sum-${id}`, () => Promise.resolve());
  await add(one, "deleted", 5);
  await remove("deleted");
  // The last offset is what it was.
  expect(await add(one, "deleted", 1)).toBe(1);
  expect(await totals(one, "deleted")).toEqual([1]);
  await remove("deleted");
  expect(await add(other, "deleted", 2)).toBe(2);
  expect(await add(one, "deleted", 1)).toBe(3);
  // Behind what is under way.
  const hold = one.appends.hold("log_append", "statement");
  const first = add(one, "deleted", 1);
  await until("the first is sent", () => hold.waiting() === 1);
  await deleteStream(other.appends, "sum-deleted", () => Promise.resolve());
  const second = add(one, "deleted", 1);
  hold.release();
  expect((await Promise.all([first, second])).toSorted()).toEqual([1, 2]);
  expect(await totals(one, "deleted")).toEqual([1, 2]);
});

test("an unknown outcome is told to whoever met it, and the next command is decided on what the log has", async () => {
  const process = start();
  await add(process, "unknown", 1);
  const hold = process.appends.hold("log_append", "answer");
  const lost = add(process, "unknown", 1);
  await until("it is stored", () => hold.waiting() === 1);
  hold.release();
  expect(await lost).toBe(2);
  const breaking = start({
    commit: (commit) => async (stream, events, expected, result) => {
      await commit(stream, events, expected, result);
      throw new Problem("outcome-unknown", "the answer is lost");
    },
  });
  expect(await add(breaking, "unknown", 1)).toBe("outcome-unknown");
  expect(await add(process, "unknown", 1)).toBe(4);
  expect(await totals(process, "unknown")).toEqual([1, 2, 3, 4]);
});

test("a command gives up after several attempts, and nothing of it is stored", async () => {
  const other = start();
  let attempts = 0;
  const overtaken = start({
    commit: (commit) => async (stream, events, expected, result) => {
      attempts++;
      await other.run("add", { id: "contended", amount: 1 });
      return commit(stream, events, expected, result);
    },
  });
  expect(await add(overtaken, "contended", 100)).toBe("command-conflict");
  expect(attempts).toBe(8);
  expect(await totals(other, "contended")).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test("what others append without a decider is seen by the next command", async () => {
  const process = start();
  await add(process, "foreign", 1);
  const data = JSON.stringify({ amount: 4, total: 5 });
  const event = newEvent({ type: "Added", data });
  await process.appender.append({ stream: "sum-foreign", events: [event], expected: "any", idempotency: null });
  expect(await add(process, "foreign", 1)).toBe(6);
});

test("two processes with many commands at once lose none and give no total twice", async () => {
  const [one, other] = [start(), start()];
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      await Bun.sleep(n % 17);
      return add(n % 2 === 0 ? one : other, "both", 1);
    }),
  );
  const stored = answers.filter((answer) => answer !== "command-conflict");
  expect(stored.toSorted((a, b) => Number(a) - Number(b))).toEqual(
    Array.from({ length: stored.length }, (_, n) => n + 1),
  );
  expect(await totals(one, "both")).toEqual(Array.from({ length: stored.length }, (_, n) => n + 1));
  expect(await logDefects(one.sql)).toEqual([]);
});

test("processes that run commands on one stream all the time take turns, and none is always too late", async () => {
  const [one, other] = [start(), start()];
  one.others.push(other);
  other.others.push(one);
  const stored = [0, 0];
  const refused = [0, 0];
  const loop = async (process: DeciderProcess, n: number) => {
    while (stored.reduce((a, b) => a + b) < 3_000) {
      const counts = typeof (await add(process, "turns", 1)) === "number" ? stored : refused;
      counts[n] = (counts[n] as number) + 1;
    }
  };
  await Promise.all([one, other].flatMap((process, n) => Array.from({ length: 40 }, () => loop(process, n))));
  expect(Math.min(...stored)).toBeGreaterThan(600);
  expect(Math.max(...refused)).toBeLessThan(10);
  expect(broken(await totals(one, "turns"), 1)).toEqual([]);
});
