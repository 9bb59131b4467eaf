// Partitions and the checkpoint: the log goes on over their borders, and ends of streams are found below the checkpoint.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { callLogAppend } from "../../src/stream/log-append.ts";
import { append, expectProblem, readAll, send } from "../support/client.ts";
import { newEvent } from "../support/new-event.ts";
import { type Service, startService } from "../support/service.ts";
import { logDefects, openSql } from "../support/sql.ts";

const env = { PARTITION_SIZE: "100" };

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService(env);
  sql = openSql(service.databaseUrl);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

async function restart(): Promise<void> {
  await service.stop();
  service = await startService({ ...env, DATABASE_URL: service.databaseUrl });
}

const head = async () => Number((await sql`select max(position) as head from events`)[0]?.head);
const many = (n: number) => Array.from({ length: n }, (_, i) => ({ type: "A", data: i }));

test("thousands of events in partitions of a hundred are appended without one failure", async () => {
  const sizes = [1, 1_000, 7, 150, 1_000, 99, 100, 101, 1_000];
  const other = await startService({ ...env, DATABASE_URL: service.databaseUrl });
  const answers = await Promise.all(
    sizes.map((size, i) => append(i % 2 ? service.url : other.url, `sized-${i}`, many(size))),
  );
  await other.stop();
  expect(answers.map((answer) => answer.status)).toEqual(sizes.map(() => 201));
  for (let i = 0; i < 60; i++) expect((await append(service.url, "steady", many(40))).status).toBe(201);
  expect(await logDefects(sql)).toEqual([]);
  expect(await head()).toBe(sizes.reduce((sum, size) => sum + size) + 60 * 40 - 1);
  const leaves = await sql`select from pg_inherits where inhparent = 'events_persistent'::regclass`;
  expect(leaves.length).toBeGreaterThan((await head()) / 100);
  expect((await readAll(service.url, "sized-4")).map((event) => event.data)).toEqual(
    many(1_000).map(({ data }) => data),
  );
}, 120_000);

test("each family is extended, and its partitions follow one another without a gap or an overlap", async () => {
  for (const parent of ["events_persistent", "events_ephemeral"]) {
    const rows = await sql<{ bounds: string }[]>`
      select pg_get_expr(c.relpartbound, c.oid) as bounds from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = ${parent}::regclass`;
    const bounds = rows.map((row) => row.bounds.match(/\d+/g)?.map(Number) ?? []);
    expect(bounds.length).toBeGreaterThan(20);
    bounds.sort(([a = 0], [b = 0]) => a - b);
    expect(bounds).toEqual(bounds.map((_, i) => [i * 100, i * 100 + 100]));
  }
});

test("with the checkpoint moved, ends, versions and ids of streams are what they were, also after a restart", async () => {
  await append(service.url, "old", [
    { type: "A", id: "old-1" },
    { type: "B", data: "x".repeat(100) },
  ]);
  await append(service.url, "deleted", many(3));
  await send(`${service.url}/api/streams/deleted`, { method: "DELETE" });
  await append(service.url, "filler", many(500));
  const list = () => send(`${service.url}/api/streams?limit=1000`).then((answer) => answer.body);
  const before = await list();

  expect((await sql`select log_checkpoint(${await head()}, 200) as more`)[0]?.more).toBe(true);
  for (;;) if (!(await sql`select log_checkpoint(${await head()}, 200) as more`)[0]?.more) break;
  const [log] = await sql`select checkpoint_position from log`;
  expect(Number(log?.checkpoint_position)).toBeGreaterThan((await head()) - 200);
  expect(Number(log?.checkpoint_position)).toBeLessThanOrEqual(await head());
  const [old] = await sql`select checkpoint_offset, checkpoint_position from streams where name = 'old'`;
  expect([Number(old?.checkpoint_offset), Number(old?.checkpoint_position) < Number(log?.checkpoint_position)]).toEqual(
    [1, true],
  );

  for (let life = 0; life < 2; life++) {
    expect(await list()).toEqual(before);
    const stale = await append(service.url, "old", { type: "C" }, { "if-match": '"0"' });
    expect(expectProblem(stale, 412, "wrong-expected-version").actual).toBe("1");
    expectProblem(
      await append(service.url, "old", { type: "C" }, { "if-none-match": "*" }),
      412,
      "wrong-expected-version",
    );
    const twice = await append(service.url, "old", { type: "A", id: "old-1" });
    expect([twice.status, twice.body.firstOffset]).toEqual([200, "0"]);
    await restart();
  }
  const size = (await sql`select bytes from stream_heads where name = 'old'`)[0]?.bytes;
  const next = await append(service.url, "old", { type: "C", id: "3", data: 1 }, { "if-match": '"1"' });
  expect([next.status, next.body.firstOffset]).toEqual([201, "2"]);
  const grown = (await sql`select bytes from stream_heads where name = 'old'`)[0]?.bytes;
  expect(grown - size).toBe("3A1".length + '{"source":"/sluice/streams/old"}'.length);
  expect((await append(service.url, "deleted", { type: "A" })).body.firstOffset).toBe("3");
  expect((await append(service.url, "brand-new", { type: "A" }, { "if-none-match": "*" })).body.firstOffset).toBe("0");
});

test("the checkpoint never passes the head, so that times and positions go on from the last event", async () => {
  const end = await head();
  await sql`select log_checkpoint(${end}, 1)`;
  for (;;) if (!(await sql`select log_checkpoint(${end}, 1) as more`)[0]?.more) break;
  expect((await sql`select log_checkpoint(${end}, 1) as more`)[0]?.more).toBe(false);
  const [log] = await sql`select checkpoint_position from log`;
  expect(Number(log?.checkpoint_position)).toBe(end);
  const { body } = await append(service.url, "after", { type: "A" });
  expect(Number(body.lastPosition)).toBe(end + 1);
  const rows = await sql`select recorded_at from events where position >= ${end} order by position`;
  expect(rows[1]?.recorded_at >= rows[0]?.recorded_at).toBe(true);
});

test("appends go on while the checkpoint moves over their streams", async () => {
  let done = false;
  const moving = (async () => {
    while (!done) await sql`select log_checkpoint(${await head()}, 10)`;
  })();
  const answers = await Promise.all(
    Array.from({ length: 6 }, async (_, writer) => {
      const offsets: string[] = [];
      for (let i = 0; i < 40; i++) {
        const { status, body } = await append(service.url, `moved-${(writer + i) % 3}`, { type: "A" });
        expect(status).toBe(201);
        offsets.push(`${body.stream}/${body.firstOffset}`);
      }
      return offsets;
    }),
  );
  done = true;
  await moving;
  expect(new Set(answers.flat()).size).toBe(240);
  for (const n of [0, 1, 2]) expect(await readAll(service.url, `moved-${n}`)).toHaveLength(80);
});

test("a stream is deleted though the log is full: its record waits for a partition", async () => {
  const own = await startService(env);
  const direct = openSql(own.databaseUrl);
  await append(own.url, "doomed", many(3));
  const rows = await direct<{ free: number }[]>`
    select (log_partition_end(false) - 1 - (select max(position) from events))::int as free`;
  const events = Array.from({ length: rows[0]?.free ?? 0 }, () => newEvent());
  await callLogAppend(direct, [{ stream: "filler", events, expected: "any", idempotency: null }]);
  expect((await send(`${own.url}/api/streams/doomed`, { method: "DELETE" })).status).toBe(204);
  expectProblem(await send(`${own.url}/api/streams/doomed`), 404, "stream-not-found");
  await direct.end();
  await own.stop();
});
