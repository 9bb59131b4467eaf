// One Postgres for the whole test run, and a database of its own for each test file, copied from a migrated template.
import postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { type Embedded, startEmbedded } from "../../src/storage/embedded.ts";
import { migrate } from "../../src/storage/migrate.ts";

export const testSchema = "event_streaming";
const template = "sluice_template";

let shared: Promise<Embedded> | null = null;
let databases = 0;
let creating: Promise<unknown> = Promise.resolve();

/** The shared Postgres, with a migrated template database. It listens on TCP, so that proxies can stand before it. */
function sharedPostgres(): Promise<Embedded> {
  shared ??= start();
  return shared;
}

async function start(): Promise<Embedded> {
  const log = createLog("silent", "test");
  const embedded = await startEmbedded({ tcp: true, log, maxConnections: 300 });
  await run(embedded, "postgres", (sql) => sql.unsafe(`create database ${template}`));
  await run(embedded, template, (sql) => migrate(sql, { schema: testSchema, log }));
  return embedded;
}

async function run(
  embedded: Embedded,
  database: string,
  task: (sql: postgres.Sql) => PromiseLike<unknown>,
): Promise<void> {
  const sql = postgres({ ...embedded.connection, database, max: 1, onnotice() {} });
  try {
    await task(sql);
  } finally {
    await sql.end();
  }
}

/** The URL (over TCP) of a new database with the schema and no events. */
export async function createTestDatabase(): Promise<string> {
  const embedded = await sharedPostgres();
  const name = `test_${++databases}`;
  // Copies of one template must not overlap.
  creating = creating.then(() =>
    run(embedded, "postgres", (sql) => sql.unsafe(`create database ${name} template ${template}`)),
  );
  await creating;
  const url = new URL(embedded.tcpUrl as string);
  url.pathname = `/${name}`;
  return url.href;
}

/** Stops the shared Postgres, if a test has started it. */
export async function stopSharedPostgres(): Promise<void> {
  await (await shared)?.stop();
  shared = null;
}
