// A database of its own and an appender on it, without a service around them.
import { createLog } from "../../src/base/log.ts";
import { createDatabase, type Database } from "../../src/storage/database.ts";
import { type Appender, createAppender } from "../../src/stream/append.ts";
import { createTestDatabase, testSchema } from "./postgres.ts";
import { noValidation } from "./schemas.ts";

export type Appending = Pick<Database, "reads" | "claims"> & {
  databaseUrl: string;
  appender: Appender;
  stop: () => Promise<void>;
};

/** The caller stops it. */
export async function openAppending(): Promise<Appending> {
  const log = createLog("silent", "test");
  const databaseUrl = await createTestDatabase();
  const database = createDatabase({
    ...{ connection: databaseUrl, schema: testSchema, poolSize: 4, commandTimeoutMs: 15_000 },
    ...{ appendsInFlight: 1, claimsInFlight: 4, log },
  });
  const { appends, reads, claims } = database;
  await claims.run((sql) => sql`select log_partition_add(false, 100000)`);
  const appender = createAppender({
    ...{
      pool: appends,
      log,
      maxBatchEvents: 100,
      maxBatchBytes: 1_000_000,
      batchesInFlight: 1,
      maxWaitingBytes: 10_000_000,
    },
    onAppended() {},
    onUnknown() {},
    onNoPartition: async () => {},
    validation: noValidation,
  });
  return {
    databaseUrl,
    reads,
    claims,
    appender,
    async stop() {
      await appender.stop();
      await database.stop();
    },
  };
}
