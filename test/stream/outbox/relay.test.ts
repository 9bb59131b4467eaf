// The outbox: what services insert in their own transactions becomes events, in order, once, or is set aside with the reason.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, readAll, send } from "../../support/client.ts";
import { insertRow, outboxState } from "../../support/outbox.ts";
import { registerVersions } from "../../support/registry.ts";
import { type Service, startService } from "../../support/service.ts";
import { logDefects, openSql } from "../../support/sql.ts";
import { until } from "../../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService({ MAX_BODY_BYTES: "100000" });
  sql = openSql(service.databaseUrl, 10);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

const relayed = () => until("nothing waits", async () => (await outboxState(sql)).waiting === 0);
const dataOf = async (stream: string) => (await readAll(service.url, stream)).map((event) => event.data);

test("rows of a transaction become events in order, and those of one that is rolled back do not", async () => {
  await sql`create table orders (id int primary key, state text)`;
  await sql.begin(async (tx) => {
    await tx`insert into orders values (1, 'placed')`;
    for (let n = 0; n < 50; n++) await insertRow(tx, { stream: "orders", type: "OrderPlaced", data: { n } });
  });
  await sql
    .begin(async (tx) => {
      await insertRow(tx, { stream: "orders", type: "OrderPlaced", data: { n: "never" } });
      await tx`insert into orders values (1, 'twice')`;
    })
    .catch(() => {});
  await sql.begin((tx) => insertRow(tx, { stream: "orders", type: "OrderPlaced", data: { n: 50 } }));
  await until("all are there", async () => (await readAll(service.url, "orders")).length === 51);
  expect(await dataOf("orders")).toEqual(Array.from({ length: 51 }, (_, n) => ({ n })));
  expect(await outboxState(sql)).toEqual({ waiting: 0, failures: [] });
});

test("an event bears what its row says, and what any event has by default", async () => {
  const attributes = {
    source: "/shop",
    subject: "o-1",
    causationid: "c-1",
    time: "2026-01-02T03:04:05Z",
    tenant: "t",
    n: 7,
  };
  await insertRow(sql, {
    ...{ stream: "bearing", type: "Full", data: { a: [1, "ü"] }, attributes, event_id: "e-1", schema_version: 2 },
    ...{ correlation_id: "w-1", partition_key: "k-1" },
  });
  await insertRow(sql, {
    stream: "bearing",
    data_binary: Buffer.from([0, 255]),
    attributes: { datacontenttype: "image/x" },
  });
  await sql`insert into outbox (stream, type, data) values ('bearing', 'Spaced', ${'  {"a":\n\n  1.50}\r\n'}::text::json)`;
  const [{ created_at: insertedAt }] = await sql<[{ created_at: Date }]>`
    insert into outbox (stream, type) values ('bearing', 'Bare') returning created_at`;
  await until("all are there", async () => (await readAll(service.url, "bearing")).length === 4);
  const [full, binary, spaced, bare] = await readAll(service.url, "bearing");
  expect(full).toMatchObject({
    ...attributes,
    ...{
      id: "e-1",
      type: "Full",
      schemaversion: "2",
      correlationid: "w-1",
      partitionkey: "k-1",
      data: { a: [1, "ü"] },
    },
    ...{ stream: "bearing", offset: "0" },
  });
  expect(binary).toMatchObject({ data_base64: "AP8=", datacontenttype: "image/x" });
  expect(spaced?.data).toEqual({ a: 1.5 });
  expect(bare).toMatchObject({ source: "/sluice/streams/bearing", time: new Date(insertedAt).toISOString() });
  expect(bare?.data).toBeUndefined();
});

test("what can never be an event is refused in the transaction that inserts it", async () => {
  const refused: Parameters<typeof insertRow>[1][] = [
    { stream: "no/name" },
    { stream: ".." },
    { stream: "" },
    { stream: "a", type: "" },
    { stream: "a", type: "a\nb" },
    { stream: "a", type: "sluice.stream-deleted" },
    { stream: "a", data: "\u0000" },
    { stream: "a", data: 1, data_binary: Buffer.from("x") },
    { stream: "a", schema_version: 0 },
    { stream: "a", event_id: "" },
    { stream: "a", correlation_id: "x".repeat(257) },
    { stream: "a", attributes: { type: "B" } },
    { stream: "a", attributes: { id: "e" } },
  ];
  for (const row of refused) {
    const code = await insertRow(sql, row).then(
      () => "accepted",
      (error: { code: string }) => error.code,
    );
    expect({ row, code }).toEqual({ row, code: expect.stringMatching(/^2[23]/) });
  }
});

test("what is only found later is set aside with the reason, and the others of its stream go on", async () => {
  const before = await outboxState(sql);
  await send(`${service.url}/api/streams/checked`, { method: "PUT", body: '{"validation":"enforce"}' });
  await registerVersions(service.url, "Checked", [
    { type: "object", properties: { x: { type: "number" } }, required: ["x"] },
  ]);
  const rows = Array.from({ length: 40 }, (_, n) => ({ stream: "checked", type: "Checked", data: { x: n } as object }));
  for (const at of [0, 7, 8, 39]) (rows[at] as (typeof rows)[0]).data = { x: "none" };
  await sql.begin(async (tx) => {
    for (const row of rows) await insertRow(tx, row);
    await insertRow(tx, { stream: "attributed", attributes: { Upper: "x" } });
    await insertRow(tx, { stream: "attributed", attributes: { offset: 3 } });
    await insertRow(tx, { stream: "attributed", attributes: { nested: { a: 1 } } });
    await insertRow(tx, { stream: "attributed", data: JSON.parse(`${"[".repeat(101)}${"]".repeat(101)}`) });
    await insertRow(tx, { stream: "attributed", data: "x".repeat(100_000) });
    await insertRow(tx, { stream: "attributed", data: "good" });
  });
  await relayed();
  const expected = rows.map(({ data }) => data).filter((data) => (data as { x: unknown }).x !== "none");
  expect(await dataOf("checked")).toEqual(expected);
  expect(await dataOf("attributed")).toEqual(["good"]);
  const { failures } = await outboxState(sql);
  expect(failures.slice(before.failures.length)).toEqual([
    ...Array.from({ length: 4 }, () => expect.stringContaining("/data/x")),
    expect.stringContaining("/Upper"),
    expect.stringContaining("/offset is set by the service"),
    expect.stringContaining("/nested"),
    expect.stringContaining("nested deeper"),
    expect.stringContaining("at most 100000"),
  ]);
});

test("a row that was set aside waits again when somebody mends it", async () => {
  const id = await insertRow(sql, { stream: "mended", attributes: { Upper: "x" } });
  await until(
    "it is set aside",
    async () => (await sql`select 1 from outbox where id = ${id} and failure is not null`)[0],
  );
  await sql`update outbox set attributes = '{"lower": "x"}', failure = null where id = ${id}`;
  await until("it is there", async () => (await readAll(service.url, "mended"))[0]?.lower === "x");
});

test("two rows of one event id are one event, and of another content a failure", async () => {
  const before = (await outboxState(sql)).failures.length;
  await append(service.url, "same", { id: "e-1", type: "A", data: 1 });
  for (const data of [1, 2]) await insertRow(sql, { stream: "same", event_id: "e-1", data });
  await sql.begin(async (tx) => {
    for (const data of [1, 1, 3, 1]) await insertRow(tx, { stream: "same", event_id: "e-2", data });
  });
  await relayed();
  expect(await dataOf("same")).toEqual([1, 1]);
  const { failures } = await outboxState(sql);
  expect(failures.slice(before)).toEqual([expect.stringContaining("same id"), expect.stringContaining("same id")]);
});

test("the service's own rows bear its own types, which nobody who is granted the others can write", async () => {
  await insertRow(sql, { stream: "own", type: "sluice.saga-started", data: 1, own: true });
  await until("it is there", async () => (await readAll(service.url, "own"))[0]?.type === "sluice.saga-started");
  // Roles are of the whole server, which other tests use too.
  await sql`create role inserter`;
  await sql`grant usage on schema event_streaming to inserter`;
  await sql`grant insert (stream, type, data, data_binary, event_id, schema_version, correlation_id, partition_key, attributes)
            on outbox to inserter`;
  const as = (task: (tx: postgres.TransactionSql) => Promise<unknown>) =>
    sql
      .begin(async (tx) => {
        await tx`set local role inserter`;
        await task(tx);
      })
      .then(
        () => "done",
        (error: { code: string }) => error.code,
      );
  expect(await as((tx) => tx`insert into outbox (stream, type, data) values ('own', 'Mine', '2')`)).toBe("done");
  expect(await as((tx) => tx`insert into outbox (stream, type, own) values ('own', 'sluice.mine', true)`)).toBe(
    "42501",
  );
  expect(await as((tx) => tx`select * from outbox`)).toBe("42501");
  await until("it is there", async () => (await dataOf("own")).length === 2);
  await sql.unsafe("drop owned by inserter; drop role inserter");
});

test("an ephemeral stream takes rows too", async () => {
  await send(`${service.url}/api/streams/jobs`, { method: "PUT", body: '{"type":"ephemeral"}' });
  await insertRow(sql, { stream: "jobs", data: "work" });
  const claimed = await send<{ deliveries: { event: { data: unknown } }[] }>(`${service.url}/api/streams/jobs/claims`, {
    method: "POST",
    body: '{"consumer":"a","wait":"20s"}',
  });
  expect(claimed.body.deliveries.map(({ event }) => event.data)).toEqual(["work"]);
});

test("concurrent transactions, long and short, some rolled back, beside appends: each row once, in its writer's order", async () => {
  const writers = 8;
  const each = 40;
  const written = await Promise.all(
    Array.from({ length: writers }, async (_, w) => {
      const committed: string[] = [];
      for (let n = 0; n < each; n++) {
        const ids = [`${w}-${n}-a`, `${w}-${n}-b`];
        await sql
          .begin(async (tx) => {
            await insertRow(tx, { stream: `shared-${n % 2}`, data: ids[0] });
            // Others draw ids and commit meanwhile.
            await tx`select pg_sleep(${(n % 4) * 0.002})`;
            await insertRow(tx, { stream: `shared-${n % 2}`, data: ids[1] });
            if (n % 5 === 4) throw new Error("rolled back");
          })
          .then(
            () => committed.push(...ids),
            () => {},
          );
        if (n % 8 === 0) await append(service.url, `shared-${n % 2}`, { type: "B", data: "beside" });
      }
      return committed;
    }),
  );
  await relayed();
  const found = [...(await dataOf("shared-0")), ...(await dataOf("shared-1"))].filter((data) => data !== "beside");
  expect(found.toSorted()).toEqual(written.flat().toSorted());
  for (const stream of ["shared-0", "shared-1"]) {
    const data = await dataOf(stream);
    for (const mine of written) {
      const inStream = mine.filter((id) => Number(id.split("-")[1]) % 2 === Number(stream.at(-1)));
      expect(data.filter((id) => mine.includes(id as string))).toEqual(inStream);
    }
  }
  expect(await logDefects(sql)).toEqual([]);
});

test("more than one page, of more than one append, goes in order", async () => {
  await sql`insert into outbox (stream, type, data) select 'many', 'A', to_json(n) from generate_series(1, 7000) n order by n`;
  await relayed();
  const found = await dataOf("many");
  expect(found.length).toBe(7_000);
  expect(found.every((n, at) => n === at + 1)).toBe(true);
});
