// A program that keeps a Postgres with a migrated template for the tests, until its standard input ends: also when they are killed.
import postgres from "postgres";
import { createLog } from "../../src/base/log.ts";
import { startEmbedded } from "../../src/storage/embedded.ts";
import { migrate } from "../../src/storage/migrate.ts";
import { testSchema } from "./postgres.ts";

const template = "sluice_template";
const log = createLog("silent", "test");

/** What the program writes when it is ready, as one line of JSON. */
export type KeptPostgres = {
  /** The address over TCP of its own database. */
  url: string;
  template: string;
};

// Ctrl-C in a terminal reaches this program too; it ends when the tests have.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});

// On TCP, so that proxies can stand before it.
const embedded = await startEmbedded({ tcp: true, log, maxConnections: 300 });
try {
  for (const [database, prepare] of [
    ["postgres", (sql: postgres.Sql) => sql.unsafe(`create database ${template}`)],
    [template, (sql: postgres.Sql) => migrate(sql, { schema: testSchema, log })],
  ] as const) {
    const sql = postgres({ ...embedded.connection, database, max: 1, onnotice() {} });
    await prepare(sql);
    await sql.end();
  }
  const kept: KeptPostgres = { url: embedded.tcpUrl as string, template };
  process.stdout.write(`${JSON.stringify(kept)}\n`);
  for await (const _ of Bun.stdin.stream());
} finally {
  await embedded.stop();
}
