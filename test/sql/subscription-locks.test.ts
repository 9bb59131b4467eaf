// What changes, deletes or joins a subscription while its ledger is being written: neither stands in the other's way for good.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type postgres from "postgres";
import { append, send } from "../support/client.ts";
import { claim, put, subscription } from "../support/consume.ts";
import { type Service, startService } from "../support/service.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

let service: Service;
let sql: postgres.Sql;
beforeAll(async () => {
  service = await startService();
  sql = openSql(service.databaseUrl, 4);
});
afterAll(async () => {
  await sql.end();
  await service.stop();
});

async function create(name: string, configuration: Record<string, unknown>) {
  const source = subscription(service.url, name);
  await put(source.url, { stream: name, from: "beginning", ...configuration });
  const [row] = await sql`select id from subscriptions where name = ${name}`;
  return { source, id: row?.id as string };
}
const cursorOf = async (id: string) =>
  (await sql`select id from subscription_cursors where subscription_id = ${id}`)[0]?.id as string;
const join = async (on: postgres.Sql, id: string, name: string) =>
  (await on`select outcome from consumer_join(${id}, ${name}, null)`)[0]?.outcome as string;
const slotsOf = async (on: postgres.Sql, id: string, name: string) =>
  (
    await on`
      select count(*)::int as slots from group_slots g join subscription_cursors k on k.id = g.cursor_id
      where k.subscription_id = ${id} and coalesce(g.next_owner, g.owner) = ${name}`
  )[0]?.slots as number;

/** Runs one transaction while another one, begun in the middle of it, waits for it; both must come to their ends. */
async function meanwhile<T>(
  first: (tx: postgres.Sql) => Promise<unknown>,
  other: () => Promise<T>,
  last: (tx: postgres.Sql) => Promise<unknown> = async () => {},
): Promise<T> {
  let done: Promise<T> | undefined;
  await sql.begin(async (transaction) => {
    const tx = transaction as unknown as postgres.Sql;
    const [self] = await tx`select pg_backend_pid() as pid`;
    await first(tx);
    done = other();
    done.catch(() => {});
    await until("the other one waits", async () => {
      const [row] = await sql`
        select exists (select from pg_stat_activity a where ${self?.pid}::int = any(pg_blocking_pids(a.pid))) as waits`;
      return row?.waits === true;
    });
    await last(tx);
  });
  return done as Promise<T>;
}

test("who joins while the mode changes gets a cursor of the new mode", async () => {
  const { id } = await create("changing", { mode: "exclusive" });
  const [row] = await sql`
    select (to_jsonb(s) || '{"mode": "broadcast", "start_position": 5}')::text as configuration from subscriptions s where s.id = ${id}`;
  const outcome = await meanwhile(
    (tx) => tx`select subscription_configure(${row?.configuration}::text::json, '{changing}')`,
    () => join(sql, id, "ada"),
  );
  expect(outcome).toBe("joined");
  const cursors = await sql`select consumer from subscription_cursors where subscription_id = ${id}`;
  expect(cursors.map(({ consumer }) => consumer)).toEqual(["ada"]);
});

test("a member of a group that comes back after its timeout, not forgotten yet, joins anew and has slots", async () => {
  const { id } = await create("back", { mode: "consumer-group", slots: 4 });
  await join(sql, id, "ada");
  await sql.begin(async (transaction) => {
    const tx = transaction as unknown as postgres.Sql;
    await tx`update consumers set seen_at = clock_timestamp() - interval '1 hour' where subscription_id = ${id}`;
    await join(tx, id, "bob");
    expect(await slotsOf(tx, id, "ada")).toBe(0);
    expect(await join(tx, id, "ada")).toBe("joined");
    expect(await slotsOf(tx, id, "ada")).toBe(2);
    expect(await join(tx, id, "ada")).toBe("present");
  });
});

test("a member of a group whose slots were given away before its heartbeat gets some when it asks", async () => {
  const { id } = await create("heartbeat", { mode: "consumer-group", slots: 4 });
  await join(sql, id, "ada");
  await sql.begin(async (transaction) => {
    const tx = transaction as unknown as postgres.Sql;
    await tx`update consumers set seen_at = clock_timestamp() - interval '1 hour' where subscription_id = ${id}`;
    await join(tx, id, "bob");
    await tx`update consumers set seen_at = clock_timestamp() where subscription_id = ${id}`;
    expect(await join(tx, id, "ada")).toBe("present");
    expect(await slotsOf(tx, id, "ada")).toBe(2);
  });
});

test("a stale member that comes back counts against the maximum", async () => {
  const { id } = await create("full", { mode: "broadcast", maxConsumers: 1 });
  await join(sql, id, "ada");
  await sql.begin(async (transaction) => {
    const tx = transaction as unknown as postgres.Sql;
    await tx`update consumers set seen_at = clock_timestamp() - interval '1 hour' where subscription_id = ${id}`;
    expect(await join(tx, id, "bob")).toBe("joined");
    expect(await join(tx, id, "ada")).toBe("full");
  });
});

const isGone = (id: string) =>
  until("its rows are gone", async () => (await sql`select from subscriptions where id = ${id}`).length === 0);

test("a subscription is deleted while an expiry makes dead letters of it, and all of it goes", async () => {
  const { source, id } = await create("deleted", { mode: "exclusive", maxAttempts: 1, visibilityTimeout: "12h" });
  await append(service.url, "deleted", [{ type: "A", data: 1 }]);
  await claim(source, { consumer: "ada" });
  const cursor = await cursorOf(id);
  const answer = await meanwhile(
    (tx) => tx`select delivery_release(${cursor}, '{ada}', null, null, 'gone')`,
    () => send(source.url, { method: "DELETE" }),
  );
  expect(answer.status).toBe(204);
  expect((await send(source.url, { method: "DELETE" })).status).toBe(404);
  await isGone(id);
  expect(await sql`select from deliveries where cursor_id = ${cursor}`).toHaveLength(0);
  expect(await sql`select from dead_letters where subscription_id = ${id}`).toHaveLength(0);
});

test("a subscription is deleted while an acknowledgement makes receipts, and they go too", async () => {
  const { source, id } = await create("receipts", { mode: "read-receipt" });
  await append(service.url, "receipts", [{ type: "A", data: 1 }]);
  await claim(source, { consumer: "ada" });
  const cursor = await cursorOf(id);
  // What waits is the removal of the rows: the subscription is gone before.
  const answer = await meanwhile(
    (tx) => tx`delete from deliveries where cursor_id = ${cursor}`,
    () => send(source.url, { method: "DELETE" }),
    (tx) => tx`insert into receipts (cursor_id, positions, delivered_at, due) values (${cursor}, '{1}', now(), null)`,
  );
  expect(answer.status).toBe(204);
  await isGone(id);
  expect(await sql`select from receipts where cursor_id = ${cursor}`).toHaveLength(0);
});

test("a consumer joins a group that is completed in the same moment", async () => {
  const { id } = await create("completing", { mode: "consumer-group", terminal: ["End"] });
  const cursor = await cursorOf(id);
  const outcome = await meanwhile(
    (tx) => tx`select from subscription_cursors where id = ${cursor} for no key update`,
    () => join(sql, id, "ada"),
    (tx) => tx`select subscription_complete(${id})`,
  );
  expect(outcome).toBe("joined");
});

test("a configuration changes while the subscription is completed", async () => {
  const { source, id } = await create("configured", { mode: "exclusive", terminal: ["End"] });
  const cursor = await cursorOf(id);
  await sql`insert into cursor_ends (cursor_id, position) values (${cursor}, 3)`;
  const answer = await meanwhile(
    async (tx) => {
      await tx`select from subscription_cursors where id = ${cursor} for no key update`;
      await tx`update cursor_ends set completed_at = now() where cursor_id = ${cursor}`;
    },
    () => put(source.url, { stream: "configured", from: "beginning", mode: "exclusive", terminal: ["Other"] }),
    (tx) => tx`select subscription_complete(${id})`,
  );
  expect(answer.status).toBe(200);
});

for (const exists of [true, false]) {
  const streamOf = (name: string) => `${service.url}/api/streams/${name}`;
  const there = exists ? "a stream" : "a stream that is not there yet";

  test(`${there} that comes to promise less waits for who subscribes to it, and is refused`, async () => {
    const name = `weaker-${exists}`;
    if (exists) await put(streamOf(name), {});
    await create("template", { mode: "exclusive" });
    const [row] = await sql`
      select (to_jsonb(s) || json_build_object('name', ${name}::text)::jsonb)::text as configuration
      from subscriptions s where s.name = 'template'`;
    const answer = await meanwhile(
      (tx) => tx`select subscription_configure(${row?.configuration}::text::json, array[${name}::text])`,
      () => put<{ type: string }>(streamOf(name), { delivery: "at-most-once" }),
    );
    expect([answer.status, answer.body.type]).toEqual([409, "/problems/delivery-in-use"]);
  });

  test(`who subscribes to ${there} waits while it comes to promise less, and goes by that`, async () => {
    for (const [delivery, status] of [
      ["at-least-once", 422],
      [undefined, 201],
    ] as const) {
      const name = `weaker-${exists}-${delivery}`;
      if (exists) await put(streamOf(name), {});
      const source = subscription(service.url, name);
      const answer = await meanwhile(
        (tx) => tx`
          select stream_configure(${name}, false, 'at-most-once', true, null, null, null, 30000, 5, 1000, 2, 60000, 0)`,
        () => put<{ delivery?: string }>(source.url, { stream: name, delivery }),
      );
      expect(answer.status).toBe(status);
      if (status === 201) expect(answer.body.delivery).toBe("at-most-once");
    }
  });
}
