// What a projection does while its lease is held up, or lost and had again: one at a time, and nobody waits behind it for long.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import { classify, generationElsewhere, rowsNotHeld } from "../../../src/storage/pg-errors.ts";
import type { Pool } from "../../../src/storage/pool.ts";
import { defineEvent, defineSqlProjection, type ProjectionSql, Type } from "../../../src/workflow/index.ts";
import { isElsewhere } from "../../../src/workflow/projections/checkpoint.ts";
import { createProjectionRig, type ProjectionRig } from "../../support/projections.ts";
import { openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Counted = defineEvent("Counted", Type.Object({ n: Type.Integer() }));
const count = async (sql: ProjectionSql, { n }: { n: number }) => sql`insert into counts values (${n})`;

test("who has its lease again waits for what it began under it before", async () => {
  const gate = Promise.withResolvers<void>();
  let begun = 0;
  let pools = 0;
  /** All but the leases' own, which is the first that is asked for. */
  const through = (pool: Pool): Pool =>
    pools++ === 0
      ? pool
      : {
          ...pool,
          async run(task, signal) {
            begun++;
            await gate.promise;
            return pool.run(task, signal);
          },
        };
  const again = defineSqlProjection("again", {
    streams: ["again"],
    tables: async (sql) => sql`create table counts (n int)`,
  }).on(Counted, count);
  const process = await rig.start([again], { leaseMs: 300, through });
  const lease = async () =>
    (
      await rig.sql<{ epoch: number; until: Date }[]>`
        select epoch::int, until from leases where name = 'projection:again'`
    )[0] as { epoch: number; until: Date };
  await until("it has begun", () => begun === 1);
  await rig.sql`
    update leases set owner = ${randomUUID()}, epoch = epoch + 1, until = '-infinity' where name = 'projection:again'`;
  const regained = await until("the lease is had again", async () => {
    const found = await lease();
    return found.epoch > 2 ? found : null;
  });
  await until("it is renewed", async () => (await lease()).until > regained.until);
  expect(begun).toBe(1);
  gate.resolve();
  await process.reached("again", await process.append("again", Counted.event({ n: 1 })));
  expect(begun).toBeGreaterThan(1);
  expect(await rig.rows("again__counts")).toEqual([{ n: 1 }]);
  await process.stop();
});

test("a projection that begins behind somebody who reads its views holds its lease's row for a moment only", async () => {
  await rig.sql`create schema if not exists event_streaming_read`;
  await rig.sql`create view event_streaming_read.late__counts as select 1 as n`;
  await rig.sql`comment on view event_streaming_read.late__counts is 'Of the projection late'`;
  const late = defineSqlProjection("late", {
    streams: ["late"],
    tables: async (sql) => sql`create table counts (n int)`,
  }).on(Counted, count);
  const waiting = async () =>
    (
      await rig.sql`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%view%'`
    ).length > 0;
  const reader = openSql(rig.databaseUrl, 1);
  let process: Awaited<ReturnType<typeof rig.start>> | null = null;
  await reader.begin(async (tx) => {
    await tx`select * from event_streaming_read.late__counts`;
    process = await rig.start([late]);
    await until("it waits for the reader", waiting);
    await until("the row is free", async () => {
      const free = await rig.sql`select 1 from leases where name = 'projection:late' for update skip locked`;
      return free.length > 0;
    });
  });
  await reader.end();
  const started = process as unknown as Awaited<ReturnType<typeof rig.start>>;
  await started.reached("late", await started.append("late", Counted.event({ n: 1 })));
  expect(await rig.rows("late__counts")).toEqual([{ n: 1 }]);
  await started.stop();
});

test("a generation that stands elsewhere is one failure, and rows of the outbox that are not held another", async () => {
  const elsewhere = defineSqlProjection("elsewhere", {
    streams: ["elsewhere"],
    tables: async (sql) => sql`create table counts (n int)`,
  }).on(Counted, count);
  const process = await rig.start([elsewhere]);
  await process.reached("elsewhere", await process.append("elsewhere", Counted.event({ n: 1 })));
  const [lease] = await rig.sql<{ owner: string; epoch: number }[]>`
    select owner, epoch::int from leases where name = 'projection:elsewhere'`;
  const failed = (work: PromiseLike<unknown>) =>
    Promise.resolve(work).then(
      () => null,
      (error: unknown) => error,
    );
  const moved = await failed(
    rig.sql`select projection_advance('elsewhere', 1, 100000, 100001, 1, ${lease?.owner as string}, ${lease?.epoch as number})`,
  );
  const unheld = await failed(rig.sql`select outbox_hold('{100000}')`);
  expect([moved, unheld].map((error) => classify(error).code)).toEqual([generationElsewhere, rowsNotHeld]);
  expect([moved, unheld].map((error) => classify(error).kind)).toEqual(["refused", "refused"]);
  expect([moved, unheld].map(isElsewhere)).toEqual([true, false]);
  await process.stop();
});
