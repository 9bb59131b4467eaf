// Definitions that change while sagas are under way: they go on by the new one where that is possible, and say so where it is not.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { append, expectProblem } from "../../support/client.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { begin, manage, newCorrelation, sagaOf, startSaga, untilSaga, untilState } from "../../support/sagas.ts";
import { type Service, startService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";

const root = new URL("../../../", import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-sagas-"));
});
afterAll(() => rm(folder, { recursive: true }));

let files = 0;
/** A service with a saga `changing` of these steps. */
async function start(databaseUrl: string, steps: string, version = 1): Promise<Service> {
  const file = join(folder, `module-${++files}.ts`);
  await writeFile(
    file,
    `import { defineEvent, defineModule, defineSaga, Type } from ${JSON.stringify(`${root}src/workflow/index.ts`)};
    const Go = defineEvent("ChangingGo", Type.Object({}));
    const Data = Type.Object({ trail: Type.Optional(Type.Array(Type.String())) });
    const note = (what: string) => ({
      execute: ({ trail = [] }: { trail?: string[] }) => ({ trail: [...trail, what] }),
      compensate: ({ trail = [] }: { trail?: string[] }) => ({ trail: [...trail, "undo " + what] }),
    });
    const changing = defineSaga("changing", { data: Data, version: ${version} })${steps};
    export default defineModule({ name: "changing", events: [Go], sagas: [changing] });`,
  );
  return startService({ DATABASE_URL: databaseUrl, MODULES: file, LEASE_DURATION: "500ms" });
}
const first = '.step("a", note("a")).waitFor("go", Go).step("c", note("c"))';
const waits = (place: Service, id: string) =>
  untilSaga(place, id, "waits", ({ waitingFor }) => waitingFor === "ChangingGo");
const go = (place: Service, correlationid: string) =>
  append(place.url, "go", { type: "ChangingGo", correlationid, data: {} });

test("a saga that an earlier version has begun goes on by the new one, if what it has done is the same", async () => {
  const url = await createTestDatabase();
  const one = await start(url, first);
  const correlation = newCorrelation();
  const id = await begin(one, "changing", correlation, {});
  await waits(one, id);
  await one.stop();
  const two = await start(url, '.step("a", note("a")).waitFor("go", Go).step("b", note("b")).step("d", note("d"))', 2);
  await go(two, correlation);
  const saga = await untilState(two, id, "Completed");
  expect(saga).toMatchObject({
    completedSteps: ["a", "go", "b", "d"],
    data: { trail: ["a", "b", "d"] },
    totalSteps: 4,
  });
  await two.stop();
});

test("what cannot go on by what there is now says so, and goes on when there is what it needs", async () => {
  const url = await createTestDatabase();
  const one = await start(url, first);
  const correlation = newCorrelation();
  const id = await begin(one, "changing", correlation, {});
  await waits(one, id);
  await one.stop();
  const unfit = [
    [first.replace('"c"', '"e"'), 1, /^it was started with the steps a, go, c, and the saga changing has others now/],
    [
      '.step("z", note("z")).waitFor("go", Go)',
      2,
      /^it has begun the steps a, go, which are not the first ones of version 2/,
    ],
  ] as const;
  const sql = openSql(url, 1);
  for (const [steps, version, reason] of unfit) {
    const service = await start(url, steps, version);
    await sql`update sagas set due_at = clock_timestamp() where id = ${id}`;
    const { error } = await untilSaga(service, id, "says why", (saga) => reason.test(saga.error ?? ""));
    expect(error).toMatch(reason);
    await service.stop();
  }
  const again = await start(url, first);
  await go(again, correlation);
  await sql`update sagas set due_at = clock_timestamp() where id = ${id}`;
  expect((await untilState(again, id, "Completed")).completedSteps).toEqual(["a", "go", "c"]);
  await sql.end();
  await again.stop();
});

test("a saga that has failed is not tried again by a version whose steps are others: what it has to undo is not theirs", async () => {
  const url = await createTestDatabase();
  const no = '() => { throw new Error("no"); }';
  const fails = `.step("a", { execute: () => {}, compensate: ${no}, compensateRetry: { attempts: 1 } })
    .step("b", { execute: ${no}, retry: { attempts: 1 } })`;
  const one = await start(url, fails);
  const id = await begin(one, "changing", newCorrelation(), {});
  await untilState(one, id, "Failed");
  await one.stop();
  const two = await start(url, '.step("z", note("z")).step("b", note("b"))', 2);
  const refused = expectProblem(await manage<never>(two, id, "retry"), 409, "saga-misfit");
  expect(refused.detail).toContain("which are not the first ones of version 2");
  expect(await sagaOf(two, id)).toMatchObject({ state: "Failed", undone: ["a"] });
  await two.stop();
  const again = await start(url, fails.replace(`compensate: ${no}`, "compensate: () => {}"));
  expect((await manage(again, id, "retry")).status).toBe(202);
  expect((await untilState(again, id, "Compensated")).compensatedSteps).toEqual(["a"]);
  await again.stop();
});

test("a process with an older version leaves the sagas of a newer one alone", async () => {
  const url = await createTestDatabase();
  const older = await start(url, first);
  const newer = await start(url, '.step("a", note("a"))', 2);
  const there = await Promise.all([1, 2, 3, 4].map(() => begin(newer, "changing", newCorrelation(), {})));
  for (const id of there) expect((await untilState(older, id, "Completed")).totalSteps).toBe(1);
  await newer.stop();
  const sql = openSql(url, 1);
  // As if its process had died.
  await sql`update sagas set state = 'Running', ended_at = null, due_at = clock_timestamp() where id = ${there[0] as string}`;
  const other = await begin(older, "changing", newCorrelation(), {});
  await waits(older, other);
  expect(await sagaOf(older, there[0] as string)).toMatchObject({ state: "Running", error: null });
  await sql.end();
  await older.stop();
});

test("a service without the module shows its sagas, and starts none", async () => {
  const url = await createTestDatabase();
  const one = await start(url, first);
  const id = await begin(one, "changing", newCorrelation(), {});
  await waits(one, id);
  const without = await startService({ DATABASE_URL: url });
  expect(await sagaOf(without, id)).toMatchObject({ saga: "changing", step: "go", progress: "1/3" });
  expectProblem(await startSaga<never>(without, "changing"), 404, "saga-not-found");
  await Promise.all([one.stop(), without.stop()]);
});

test("a step in which process after process dies fails, and is not tried for ever", async () => {
  const url = await createTestDatabase();
  const one = await start(url, first);
  const id = await begin(one, "changing", newCorrelation(), {});
  await waits(one, id);
  const sql = openSql(url, 1);
  await sql`update sagas set lost = 10, due_at = clock_timestamp() where id = ${id}`;
  await sql.end();
  const saga = await untilState(one, id, "Compensated");
  expect(saga).toMatchObject({ error: "10 processes have ended during it", data: { trail: ["a", "undo a"] } });
  await one.stop();
});
