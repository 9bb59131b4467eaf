import { expect, test } from "bun:test";
import postgres from "postgres";
import { createTestDatabase } from "../support/postgres.ts";

const outcome = (query: PromiseLike<unknown>) =>
  Promise.resolve(query).then(
    () => "answered",
    (error: { code: string }) => error.code,
  );

// The library without our patch throws past the caller here, where nothing can catch it.
test("a statement on a connection that has closed is refused like any other", async () => {
  const url = await createTestDatabase();
  const sql = postgres(url, { max: 1, onnotice() {} });
  const killer = postgres(url, { max: 1 });
  const reserved = await sql.reserve();
  const [row] = await reserved<{ pid: number }[]>`select pg_backend_pid() as pid`;
  await killer`select pg_terminate_backend(${row?.pid as number})`;
  const outcomes = [await outcome(reserved`select 1`), await outcome(reserved`select 1`)];
  expect(outcomes).toContain("CONNECTION_CLOSED");
  expect(outcomes.every((code) => ["CONNECTION_CLOSED", "57P01", "answered"].includes(code))).toBe(true);
  await sql.end({ timeout: 0 });
  await killer.end();
});
