// Rebuilds: new tables are filled beside those that answer, and take their place; what answers never goes back.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { defineEvent, defineProjection, defineSqlProjection, Type } from "../../../src/workflow/index.ts";
import type { ProjectionDefinition } from "../../../src/workflow/projections/definition.ts";
import type { Generation } from "../../../src/workflow/projections/generation.ts";
import { createProjectionRig, type ProjectionProcess, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Added = defineEvent("Added", Type.Object({ key: Type.String(), n: Type.Integer() }));
const added = (key: string, n = 1) => Added.event({ key, n });

const row = Type.Object({ key: Type.String(), n: Type.Integer() });
let failing = false;
let slowMs = 0;
function sums(
  name: string,
  options: { version?: number; times?: number; snapshotEvery?: number; batchSize?: number } = {},
) {
  const { times = 1, ...others } = options;
  return defineProjection(name, {
    streams: [name],
    row,
    key: "key",
    initial: { n: 0 },
    retry: { attempts: 2, initial: "1ms" },
    ...others,
  }).on(Added, {
    key: ({ key }) => key,
    apply(row, { n }) {
      const endMs = performance.now() + slowMs;
      while (performance.now() < endMs);
      if (failing && n === 13) throw new Error("thirteen");
      return { ...row, n: row.n + n * times };
    },
  });
}

const inRole = async (process: ProjectionProcess, name: string, role: Generation["role"]) =>
  (await process.generations(name)).filter((one) => one.role === role);
const live = async (process: ProjectionProcess, name: string) => (await inRole(process, name, "live"))[0];
const swapped = (process: ProjectionProcess, name: string, generation: number) =>
  until(`generation ${generation} of ${name} is live`, async () => {
    const found = await live(process, name);
    return (found?.generation ?? 0) >= generation ? found : null;
  });
/** Appends until it is told to end. */
function load(process: ProjectionProcess, stream: string): () => Promise<number> {
  let ending = false;
  let sent = 0;
  const running = (async () => {
    let last = -1;
    while (!ending) {
      last = await process.append(stream, added("a"), added("b", 2));
      sent++;
    }
    return last;
  })();
  return async () => {
    ending = true;
    await process.reached(stream, await running);
    return sent;
  };
}
const schemas = async (name: string) =>
  (
    await rig.sql<{ nspname: string }[]>`
      select nspname from pg_namespace where nspname like ${`event\\_streaming\\_p\\_${name}\\_%`} order by 1`
  ).map(({ nspname }) => nspname);

test("a rebuild under load swaps without a moment in which nothing answers, or in which what answers goes back", async () => {
  const process = await rig.start([sums("busy", { batchSize: 5 })]);
  const end = load(process, "busy");
  await until("there is something", async () => ((await live(process, "busy"))?.events ?? 0) > 50);
  let watching = true;
  let looks = 0;
  const watched = (async () => {
    let last = -1;
    while (watching) {
      const answered = await process.projections.models.page("busy", null, 10, new AbortController().signal);
      if ("unanswered" in answered || !("rows" in answered.body)) throw new Error("it does not answer");
      const [a, b] = answered.body.rows.map(({ n }) => Number(n));
      expect(answered.position).toBeGreaterThanOrEqual(last);
      // Of each pair of events, one row may be ahead by the half of a batch.
      expect(Math.abs((b ?? 0) - 2 * (a ?? 0))).toBeLessThanOrEqual(2);
      last = answered.position;
      looks++;
    }
  })();
  for (const generation of [2, 3]) {
    expect(await process.projections.manage.rebuild("busy", "beginning")).toBe("requested");
    expect(await process.projections.manage.rebuild("busy", "beginning")).toBe("building");
    await swapped(process, "busy", generation);
  }
  const sent = await end();
  watching = false;
  await watched;
  expect(looks).toBeGreaterThan(5);
  expect(await rig.rows("busy")).toEqual([
    { key: "a", n: String(sent) },
    { key: "b", n: String(2 * sent) },
  ]);
  expect(await live(process, "busy")).toMatchObject({ generation: 3, events: 2 * sent });
  await until("the old tables are gone", async () => (await schemas("busy")).length === 1);
  expect(await schemas("busy")).toEqual(["event_streaming_p_busy_3"]);
  await process.stop();
});

test("a changed definition builds its tables anew by itself, and the old ones answer meanwhile", async () => {
  failing = false;
  const first = await rig.start([sums("changed")]);
  const last = await first.append("changed", added("a", 3), added("a", 13));
  await first.reached("changed", last);
  await first.stop();
  failing = true;
  const second = await rig.start([sums("changed", { version: 2, times: 10 })]);
  const halted = await until("the new one has stopped", async () =>
    (await inRole(second, "changed", "building")).find((one) => one.halted),
  );
  expect(halted).toMatchObject({ version: 2, lastError: "thirteen", failedPosition: last });
  expect(await rig.rows("changed")).toEqual([{ key: "a", n: "16" }]);
  expect(await second.projections.describe("changed")).toMatchObject({
    state: "running",
    version: 1,
    rebuild: { state: "failed", version: 2, failedPosition: String(last), lastError: "thirteen" },
  });
  // Begun anew, it stops there again; done without the event, it takes the place of the old one.
  expect(await second.projections.manage.rebuild("changed", "beginning")).toBe("requested");
  await until("it has stopped again", async () =>
    (await inRole(second, "changed", "building")).find((one) => one.halted && one.generation > halted.generation),
  );
  expect(await second.projections.manage.skip("changed", last)).toBe(true);
  await swapped(second, "changed", 3);
  expect(await rig.rows("changed")).toEqual([{ key: "a", n: "30" }]);
  await second.stop();
  // A process that has an older version leaves it alone.
  const old = await rig.start([sums("changed")]);
  const there = await old.append("changed", added("a"));
  await until("it has had its turn", async () => (await old.projections.describe("changed"))?.state !== "unattended");
  const next = await rig.start([sums("other-changed")]);
  await next.reached("other-changed", there);
  expect((await live(old, "changed"))?.position).toBe(last);
  await old.stop();
  await next.stop();
  failing = false;
});

test("other columns, types or streams are another definition; descriptions and batch sizes are not", async () => {
  const base = { row, key: "key", initial: { n: 0 } } as const;
  const fold = { key: () => "a", apply: (row: { key: string; n: number }) => row };
  const Other = defineEvent("Other", Type.Object({}));
  const before: ProjectionDefinition = defineProjection("same", base).on(Added, fold);
  const process = await rig.start([before]);
  await process.reached("same", await process.append("same", added("a")));
  await process.stop();
  const same = await rig.start([defineProjection("same", { ...base, description: "d", batchSize: 3 }).on(Added, fold)]);
  await same.reached("same", await same.append("same", added("a")));
  expect((await live(same, "same"))?.generation).toBe(1);
  await same.stop();
  const others = [
    defineProjection("same", base).on(Added, fold).on(Other, fold),
    defineProjection("same", { ...base, streams: ["same"] }).on(Added, fold),
    defineProjection("same", { ...base, initial: { n: 1 } }).on(Added, fold),
    defineProjection("same", {
      row: Type.Object({ key: Type.String(), n: Type.Number() }),
      key: "key",
      initial: { n: 0 },
    }).on(Added, fold),
  ];
  let generation = 1;
  for (const definition of others) {
    const next = await rig.start([definition]);
    generation = (await swapped(next, "same", generation + 1)).generation;
    await next.stop();
  }
});

test("a view keeps its grants when its columns are the same, and follows when they are others", async () => {
  await rig.sql.unsafe("create role reader nologin");
  const process = await rig.start([sums("granted")]);
  await process.reached("granted", await process.append("granted", added("a")));
  await rig.sql.unsafe(
    `grant usage on schema event_streaming_read to reader; grant select on event_streaming_read.granted to reader`,
  );
  await process.projections.manage.rebuild("granted", "beginning");
  await swapped(process, "granted", 2);
  const read = () =>
    rig.sql.begin(async (tx) => {
      await tx.unsafe("set local role reader");
      return tx.unsafe<{ key: string }[]>("select * from event_streaming_read.granted");
    });
  expect((await read())[0]?.key).toBe("a");
  await process.stop();
  const wider = defineProjection("granted", {
    streams: ["granted"],
    row: Type.Object({ more: Type.Integer(), key: Type.String() }),
    key: "key",
    initial: { more: 0 },
  }).on(Added, { key: ({ key }) => key, apply: (row) => ({ ...row, more: row.more + 1 }) });
  const next = await rig.start([wider]);
  await swapped(next, "granted", 3);
  expect(await rig.rows("granted", "2")).toEqual([{ more: "1", key: "a" }]);
  await next.stop();
  await rig.sql.unsafe("drop owned by reader; drop role reader");
});

test("a rebuild may begin with a snapshot, which keeps what the log has forgotten", async () => {
  const ledger = (version = 1) =>
    defineSqlProjection("ledger", {
      streams: ["ledger"],
      version,
      tables: async (sql) => {
        await sql`create table keys (key text primary key, twice text generated always as (key || key) stored)`;
        await sql`create table entries (
          id bigint generated always as identity primary key, other serial, key text not null references keys, n int not null)`;
      },
    }).on(Added, async (sql, { key, n }) => {
      await sql`insert into keys values (${key}) on conflict do nothing`;
      await sql`insert into entries (key, n) values (${key}, ${n})`;
    });
  const process = await rig.start([ledger()]);
  const last = await process.append("ledger", added("a", 1), added("b", 2), added("a", 3));
  await process.reached("ledger", last);
  expect(await process.projections.manage.rebuild("ledger", "snapshot")).toBe("no-snapshot");
  expect(await process.projections.manage.snapshot("ledger")).toBe(true);
  const [copy] = await until("there is a snapshot", async () => {
    const found = await inRole(process, "ledger", "snapshot");
    return found.length > 0 ? found : null;
  });
  expect(copy).toMatchObject({ position: last, events: 3, version: 1 });
  await rig.sql`select * from stream_delete('ledger')`;
  const there = await process.append("ledger", added("c", 4));
  await process.reached("ledger", there);
  expect(await process.projections.manage.rebuild("ledger", "snapshot")).toBe("requested");
  await swapped(process, "ledger", 3);
  const entries = (await rig.rows("ledger__entries")).map(({ id, other, key, n }) => [id, other, key, n]);
  expect(entries).toEqual([
    ["1", 1, "a", 1],
    ["2", 2, "b", 2],
    ["3", 3, "a", 3],
    ["4", 4, "c", 4],
  ]);
  expect((await rig.rows("ledger__keys"))[0]).toEqual({ key: "a", twice: "aa" });
  await process.projections.manage.rebuild("ledger", "beginning");
  await swapped(process, "ledger", 4);
  expect((await rig.rows("ledger__entries")).map(({ key }) => key)).toEqual(["c"]);
  await process.stop();
});

test("snapshots are taken every so many events, and the last two are kept", async () => {
  const process = await rig.start([sums("often", { snapshotEvery: 10 })]);
  let last = -1;
  for (let round = 0; round < 4; round++) {
    last = await process.append("often", ...Array.from({ length: 10 }, () => added("a")));
    await until("a snapshot is taken", async () =>
      (await inRole(process, "often", "snapshot")).some(({ position }) => position === last),
    );
  }
  await until("two are left", async () => (await inRole(process, "often", "snapshot")).length === 2);
  expect((await inRole(process, "often", "snapshot")).map(({ events }) => events)).toEqual([30, 40]);
  expect((await schemas("often")).length).toBe(3);
  await process.stop();
});

test("a rebuild of what has stopped takes its place, and goes on where that could not", async () => {
  failing = true;
  const process = await rig.start([sums("mended")]);
  const last = await process.append("mended", added("a", 1), added("a", 13), added("a", 2));
  await until("it has stopped", async () => (await live(process, "mended"))?.halted);
  failing = false;
  await process.projections.manage.rebuild("mended", "beginning");
  await swapped(process, "mended", 2);
  await process.reached("mended", last);
  expect(await rig.rows("mended")).toEqual([{ key: "a", n: "16" }]);
  await process.stop();
});

test("a rebuild goes on in the process that takes over", async () => {
  const a = await rig.start([sums("handed", { batchSize: 1 })], { leaseMs: 600 });
  await a.append("handed", ...Array.from({ length: 300 }, () => added("a")));
  await until("all are there", async () => (await rig.rows("handed").catch(() => []))[0]?.n === "300");
  slowMs = 2;
  await a.projections.manage.rebuild("handed", "beginning");
  await until("it has begun", async () => ((await inRole(a, "handed", "building"))[0]?.events ?? 0) > 3);
  await a.stop();
  const b = await rig.start([sums("handed", { batchSize: 1 })], { leaseMs: 600 });
  const [under] = await inRole(b, "handed", "building");
  expect(under?.events).toBeGreaterThan(3);
  slowMs = 0;
  await swapped(b, "handed", 2);
  expect(b.projections.counters().get("handed")?.events).toBe(300 - (under?.events as number));
  expect(await rig.rows("handed")).toEqual([{ key: "a", n: "300" }]);
  await b.stop();
});
