// A service stops in time, whatever has become of the connection on which a projection writes.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createLog } from "../../../src/base/log.ts";
import { createDatabase } from "../../../src/storage/database.ts";
import { defineEvent, defineSqlProjection, Type } from "../../../src/workflow/index.ts";
import { testSchema } from "../../support/postgres.ts";
import { createProjectionRig, type ProjectionRig } from "../../support/projections.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";

let rig: ProjectionRig;
beforeAll(async () => {
  rig = await createProjectionRig();
});
afterAll(() => rig.stop());

const Counted = defineEvent("Counted", Type.Object({ n: Type.Integer() }));

test("a handler under way on a dead connection does not keep the service from stopping", async () => {
  const url = new URL(rig.databaseUrl);
  const proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  const behindProxy = createDatabase({
    connection: url.href,
    schema: testSchema,
    poolSize: 1,
    commandTimeoutMs: 15_000,
    appendsInFlight: 1,
    claimsInFlight: 1,
    log: createLog("silent", "test"),
  });
  let begun = 0;
  const never = Promise.withResolvers<void>();
  const dead = defineSqlProjection("dead", {
    streams: ["dead"],
    tables: async (sql) => sql`create table counts (n int)`,
  }).on(Counted, async (sql, { n }) => {
    await sql`insert into counts values (${n})`;
    begun++;
    await never.promise;
  });
  const process = await rig.start([dead], {
    through: (pool, role) => (role === "handlers" ? behindProxy.handlers : pool),
  });
  await process.append("dead", Counted.event({ n: 1 }));
  await until("the handler is under way", () => begun === 1);
  await proxy.set("half-open");
  // The time limit of this test is below that of a transaction of handlers.
  await process.stop();
  expect(await rig.rows("dead__counts")).toEqual([]);
  await proxy.stop();
  await behindProxy.stop();
}, 60_000);
