import { afterAll, beforeAll, expect, test } from "bun:test";
import postgres from "postgres";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService({ GIN_INDEX: "true" });
  sql = postgres(service.databaseUrl, { max: 1, connection: { search_path: "event_streaming" }, onnotice() {} });
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

async function indexes(): Promise<{ leaf: string; valid: boolean }[]> {
  return sql<{ leaf: string; valid: boolean }[]>`
    select t.relname as leaf, x.indisvalid as valid from pg_index x join pg_class c on c.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
    where c.relname like 'events%payload'`;
}

test("every partition gets a payload index, which a predicate uses", async () => {
  const leaves =
    await sql`select from pg_class where relname ~ '^events_(persistent|ephemeral)_[0-9]+$' and relkind = 'r'`;
  await until(
    "all partitions are indexed",
    async () => (await indexes()).filter((index) => index.valid).length === leaves.length,
  );
  const plan = await sql.begin(async (tx) => {
    await tx`set local enable_seqscan = off`;
    return tx`explain select position from events_persistent_0 e where e.data::jsonb @@ '$.orderId == "o-7"'`;
  });
  expect(JSON.stringify(plan)).toContain("events_persistent_0_payload");
});

test("reads filtered by a predicate find the same with the index", async () => {
  const events = Array.from({ length: 20 }, (_, i) => ({ type: "Placed", data: { orderId: `o-${i}` } }));
  await fetch(`${service.url}/api/streams/orders/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(events),
  });
  const where = encodeURIComponent('$.orderId == "o-7"');
  const read = (await (await fetch(`${service.url}/api/streams/orders/events?where=${where}`)).json()) as {
    events: { offset: string }[];
  };
  expect(read.events.map((event) => event.offset)).toEqual(["7"]);
});
