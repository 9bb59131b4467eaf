// Wires the database: the server or the embedded Postgres, the pools, and the schema in it.
import type { Log } from "../base/log.ts";
import type { Config } from "../config.ts";
import {
  type Connection,
  createDatabase,
  type Database,
  type DatabaseOptions,
  projectionsInFlight,
} from "../storage/database.ts";
import { startEmbedded } from "../storage/embedded.ts";
import { assertCurrent, migrate } from "../storage/migrate.ts";

export const appendsInFlight = 2;
const claimsInFlight = 4;

/** Finds the database that the configuration names: a server, or the embedded Postgres, which is started. */
export async function provideDatabase(
  config: Config,
  log: Log,
): Promise<{ connection: Connection; stop: () => Promise<void> }> {
  if (config.databaseUrl !== null) return { connection: config.databaseUrl, stop: async () => {} };
  const embedded = await startEmbedded({
    ...(config.storage === "memory" ? {} : { dataDir: config.dataDir }),
    tcp: config.embeddedTcp,
    // Each worker has its pools, two connections for wake-ups, one for an index, one to drop partitions, and some to make tables
    // of projections; some are left for people.
    maxConnections: Math.max(
      100,
      config.workers * (config.poolSize + appendsInFlight + claimsInFlight + 3 * projectionsInFlight + 8) + 20,
    ),
    log,
  });
  log.info({ dataDir: embedded.dataDir, takenOver: embedded.takenOver }, "embedded Postgres is up");
  return { connection: embedded.connection, stop: () => embedded.stop() };
}

/** Connections to a database, as the configuration wants them. The caller stops it. */
export function openDatabase(
  config: Config,
  connection: Connection,
  log: Log,
  onNotice: DatabaseOptions["onNotice"] = () => {},
): Database {
  const { schema, poolSize, commandTimeoutMs } = config;
  return createDatabase({
    connection,
    schema,
    poolSize,
    commandTimeoutMs,
    appendsInFlight,
    claimsInFlight,
    onNotice,
    log,
  });
}

/** Migrates the schema, or sees that it is as this version wants it. */
export async function prepareSchema(config: Config, database: Database, log: Log): Promise<void> {
  const sql = database.connect({ statement_timeout: "0", idle_in_transaction_session_timeout: "0" });
  try {
    if (config.autoMigrate) await migrate(sql, { schema: config.schema, log });
    else await assertCurrent(sql, { schema: config.schema });
  } finally {
    await sql.end({ timeout: 1 });
  }
}
