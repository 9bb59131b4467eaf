import { expect, test } from "bun:test";
import postgres from "postgres";
import { createTestDatabase } from "../support/postgres.ts";

/** What became of a query; the library leaves one unanswered that comes between a socket's error and its end, and the pool's time limit is for that. */
function outcome(query: PromiseLike<unknown>): Promise<string> {
  const unanswered = new Promise<string>((resolve) => setTimeout(resolve, 2_000, "unanswered"));
  const settled = Promise.resolve(query).then(
    () => "answered",
    (error: { code: string }) => error.code,
  );
  return Promise.race([settled, unanswered]);
}

// The library without our patch throws past the caller here, where nothing can catch it.
test("a statement on a connection that has just closed throws nothing past its caller", async () => {
  const url = await createTestDatabase();
  const sql = postgres(url, { max: 1, onnotice() {} });
  const killer = postgres(url, { max: 1 });
  const reserved = await sql.reserve();
  const [row] = await reserved<{ pid: number }[]>`select pg_backend_pid() as pid`;
  await killer`select pg_terminate_backend(${row?.pid as number})`;
  const outcomes = [await outcome(reserved`select 1`), await outcome(reserved`select 1`)];
  for (const code of outcomes)
    expect(code).toBeOneOf(["CONNECTION_CLOSED", "ECONNRESET", "EPIPE", "57P01", "unanswered", "answered"]);
  await sql.end({ timeout: 0 });
  await killer.end();
});

// Without our patch the next statement's rows stand behind as many holes as the broken one had rows.
test.each([
  ["fails", "1 / (40000 - n)"],
  ["ends with its connection", "case when n = 40000 then pg_terminate_backend(pg_backend_pid())::int end"],
])("a statement that %s in the middle of its rows leaves nothing to the next one", async (_, column) => {
  const sql = postgres(await createTestDatabase(), { max: 1, onnotice() {} });
  const broken = sql.unsafe(`select n, ${column} from generate_series(1, 50000) n`);
  await expect(broken.then(() => "answered")).rejects.toThrow();
  const rows = await sql<{ n: number }[]>`select n from generate_series(1, 5) n`;
  expect(rows.length).toBe(5);
  expect(rows.map((row) => row.n)).toEqual([1, 2, 3, 4, 5]);
  await sql.end();
});
