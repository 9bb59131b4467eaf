// Sagas whose database is cut off, again and again, at any moment: each comes to its end, and nothing is recorded twice.
import { expect, test } from "bun:test";
import { createTestDatabase } from "../../support/postgres.ts";
import { newCorrelation, startSaga } from "../../support/sagas.ts";
import { startService } from "../../support/service.ts";
import { openSql } from "../../support/sql.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";
import { callsOf, whenever } from "./trial.ts";

test("sagas whose records meet a connection that breaks all end, each transition told once", async () => {
  const direct = await createTestDatabase();
  const url = new URL(direct);
  const proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  const service = await startService({
    DATABASE_URL: url.href,
    MODULES: new URL("./trial.ts", import.meta.url).pathname,
    LEASE_DURATION: "2s",
  });
  const sql = openSql(direct, 1);
  try {
    const correlation = newCorrelation();
    for (const step of ["one", "two"])
      whenever(correlation, step, () => new Promise((resolve) => setTimeout(() => resolve({}), Math.random() * 20)));
    const count = 120;
    const start = async (n: number): Promise<string> => {
      for (;;) {
        const headers = { "correlation-id": correlation, "idempotency-key": `outage-${n}` };
        const { status, body } = await startSaga(service, "three", { name: `${n}` }, headers);
        if (status === 202) return body.sagaId;
        expect([409, 503]).toContain(status);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const starting = Promise.all(Array.from({ length: count }, (_, n) => start(n)));
    for (let n = 0; n < 8; n++) {
      const seen = callsOf(correlation).length;
      await until(
        "there is progress",
        () => callsOf(correlation).length > seen + 10 || callsOf(correlation).length >= count * 3,
      );
      // Now and then what was sent arrives, and its answer does not.
      if (n % 2 === 0) proxy.cut();
      else {
        await proxy.set("lose-answers");
        await new Promise((resolve) => setTimeout(resolve, 50));
        await proxy.set("pass");
      }
    }
    expect(new Set(await starting).size).toBe(count);
    await until("all have ended", async () => {
      const [row] = await sql<{ n: string }[]>`select count(*) as n from sagas where state = 'Completed'`;
      return Number(row?.n) === count;
    });
    await until("the outbox is empty", async () => (await sql`select 1 from outbox`).length === 0);
    const told = await sql<{ types: string }[]>`
      select string_agg(replace(e.type, 'sluice.saga-', ''), ',' order by e.position) as types
      from events e join streams s on s.id = e.stream_id where s.name = 'saga-three' group by e.partition_key`;
    expect(told).toHaveLength(count);
    expect(new Set(told.map(({ types }) => types))).toEqual(
      new Set(["started,step-completed,step-completed,step-completed,completed"]),
    );
  } finally {
    await sql.end();
    await service.stop();
    await proxy.stop();
  }
});
