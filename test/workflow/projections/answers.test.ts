// Read models answer whatever the projections of the process are busy with.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { projectionsInFlight } from "../../../src/storage/database.ts";
import { defineEvent, defineProjection, defineSqlProjection, Type } from "../../../src/workflow/index.ts";
import { createProjectionRig, type ProjectionRig } from "../../support/projections.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Counted = defineEvent("Counted", Type.Object({ n: Type.Integer() }));

test("a module answers while SQL projections hold all of their connections", async () => {
  const gate = Promise.withResolvers<void>();
  let busy = 0;
  const greedy = Array.from({ length: projectionsInFlight }, (_, n) =>
    defineSqlProjection(`greedy-${n}`, {
      streams: ["greedy"],
      timeout: "60s",
      tables: async (sql) => sql`create table counts (n int)`,
    }).on(Counted, async () => {
      busy++;
      await gate.promise;
    }),
  );
  const asked = defineProjection("asked", {
    streams: ["asked"],
    row: Type.Object({ name: Type.String(), total: Type.Integer() }),
    key: "name",
    initial: { total: 0 },
  })
    .on(Counted, { key: () => "all", apply: (row, { n }) => ({ ...row, total: row.total + n }) })
    .read(Type.Object({}), async (model) => model.get("all"));
  const process = await rig.start([...greedy, asked]);
  await process.reached("asked", await process.append("asked", Counted.event({ n: 7 })));
  await process.append("greedy", Counted.event({ n: 1 }));
  await until("all connections are held", () => busy === projectionsInFlight);
  const answered = await process.projections.models.answer(
    "asked",
    new URLSearchParams(),
    new AbortController().signal,
  );
  expect(busy).toBe(projectionsInFlight);
  expect(answered).toMatchObject({ body: { name: "all", total: 7 } });
  gate.resolve();
  await process.stop();
});
