// snapshot_put and stream_delete at the same time: a deleted stream leaves no snapshot behind, and appends wait for neither.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { createTestDatabase } from "../support/postgres.ts";
import { configure, openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let sql: postgres.Sql;
beforeAll(async () => {
  sql = openSql(await createTestDatabase(), 4);
  await sql`select log_partition_add(false, 4000000)`;
});
afterAll(() => sql.end());

type Outcome = { outcome: string; known: string | null };

const append = (on: postgres.Sql | postgres.TransactionSql, stream: string) =>
  on`select status from log_append(${stream}, '{1}'::int[], '{NULL}'::bigint[], '{1}'::int[], null, null, null, null,
       '{10}'::int[], '{1}'::int[], ${crypto.randomUUID()}, 'A', E'\\x1f', E'\\x1f', '{"source":"/t"}', '{}', null, null, null, null)`;
const put = async (on: postgres.Sql | postgres.TransactionSql, stream: string, offset: number): Promise<Outcome> => {
  const [row] = await on<Outcome[]>`
    select outcome, known from snapshot_put(${stream}, '', ${offset}, null, '1', null, 'application/json', null)`;
  return row as Outcome;
};
const remove = (on: postgres.Sql | postgres.TransactionSql, stream: string) =>
  on`select * from stream_delete(${stream})`;
const waiters = async () =>
  Number(
    (
      await sql<
        { count: string }[]
      >`select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
    )[0]?.count,
  );
const rows = async () => (await sql`select * from snapshots`).length;

test("a deletion waits for a snapshot that is being saved, and takes it along", async () => {
  await configure(sql, "one");
  await append(sql, "one");
  const removed = await sql.begin(async (tx) => {
    expect(await put(tx, "one", 0)).toEqual({ outcome: "created", known: null });
    const removing = remove(sql, "one").then((found) => found.length);
    await until("the deletion waits", async () => (await waiters()) === 1);
    return { removing };
  });
  expect(await removed.removing).toBe(1);
  expect(await rows()).toBe(0);
});

test("a snapshot waits for a deletion, and is refused as one of an earlier life", async () => {
  await append(sql, "two");
  await append(sql, "two");
  const saved = await sql.begin(async (tx) => {
    await remove(tx, "two");
    const saving = put(sql, "two", 1);
    await until("the snapshot waits", async () => (await waiters()) === 1);
    return { saving };
  });
  expect(await saved.saving).toEqual({ outcome: "not-found", known: null });
  await append(sql, "two");
  expect(await put(sql, "two", 1)).toEqual({ outcome: "outdated", known: "1" });
  expect(await put(sql, "two", 2)).toEqual({ outcome: "created", known: null });
});

test("appends and snapshots do not wait for one another", async () => {
  await append(sql, "three");
  await sql.begin(async (tx) => {
    await put(tx, "three", 0);
    await append(sql, "three");
  });
  await sql.begin(async (tx) => {
    await append(tx, "three");
    expect(await put(sql, "three", 1)).toEqual({ outcome: "replaced", known: null });
  });
});

test("a state that a decider keeps does not wait for the disk, one that was put does", async () => {
  const asks = async (owner: string) =>
    sql.begin(async (tx) => {
      await tx`select snapshot_put('three', ${owner}, 1, 1, '1', null, 'application/json', 't')`;
      const [row] = await tx<{ setting: string }[]>`select current_setting('synchronous_commit') as setting`;
      return row?.setting;
    });
  expect(await asks("")).toBe("on");
  expect(await asks("decider:d")).toBe("off");
});
