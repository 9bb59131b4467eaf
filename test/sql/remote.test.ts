// Remote streams: what is put and what moves at the same time leaves nothing of the former source.
import { expect, test } from "bun:test";
import { createTestDatabase } from "../support/postgres.ts";
import { openSql } from "../support/sql.ts";
import { until } from "../support/until.ts";

test("a move that is under way when another source is put leaves no place of the former one", async () => {
  const url = await createTestDatabase();
  const [one, other] = [openSql(url, 1), openSql(url, 2)];
  const put = (source: object) =>
    other`select remote_configure('users', ${JSON.stringify(source)}::text::json, 5, 1000, 2, 60000)`;
  await put({ subject: "a.*" });
  const moved = await one.begin(async (tx) => {
    // As log_append does: the mirror is held, then moved.
    const [row] = await tx<{ id: string }[]>`select id from remote_streams where name = 'users' for no key update`;
    const putting = put({ subject: "b.*" }).execute();
    await until("the other source waits for the move", async () => {
      const waiting =
        await other`select from pg_stat_activity where wait_event_type = 'Lock' and query like '%remote_configure%'`;
      return waiting.length > 0;
    });
    await tx`insert into remote_origins (remote_id, log_id, stream, "offset") values (${row?.id ?? ""}, 'l', 's', 7)`;
    return { putting };
  });
  await moved.putting;
  expect(await other`select from remote_origins`).toHaveLength(0);
  await Promise.all([one.end(), other.end()]);
});
