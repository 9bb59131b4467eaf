// Starts the service with its own Postgres, as ./scripts/start does, and opens connections to that Postgres.
import { readFile } from "node:fs/promises";
import postgres from "postgres";
import { searchPath } from "../../src/storage/migrate.ts";
import { newFolder, type Running, removeFolder, root, startServer } from "./processes.ts";

export type Service = Running & {
  dataDir: string;
  /** Stops it and removes its data. */
  discard: () => Promise<void>;
};

export const serviceSchema = "event_streaming";

/** A service on a free port with its data on the disk and fsync on: in the given folder, or in a new one. */
export async function startService(dataDir = newFolder("data"), env: Record<string, string> = {}): Promise<Service> {
  const settings = {
    PORT: "0",
    HOST: "127.0.0.1",
    WORKERS: "1",
    DATABASE_URL: "",
    STORAGE: "embedded",
    DATA_DIR: dataDir,
    DATABASE_SCHEMA: serviceSchema,
    MODULES: "none",
    ...env,
  };
  const running = await startServer([process.execPath, `${root}src/main.ts`, "start"], settings);
  return {
    ...running,
    dataDir,
    async discard() {
      await running.stop();
      await removeFolder(dataDir);
    },
  };
}

/** Where the Postgres of a data folder listens, as its own file says. */
export async function socketOf(dataDir: string): Promise<{ host: string; port: number; username: string }> {
  const file = await readFile(`${dataDir}/postgres/postmaster.pid`, "utf8");
  const [, , , port, host] = file.split("\n");
  return { host: host as string, port: Number(port), username: "sluice" };
}

export type ConnectOptions = { connections?: number; database?: string; schema?: string };

/** Connections to the Postgres of a running service. The caller ends them. */
export async function connectTo(dataDir: string, options: ConnectOptions = {}): Promise<postgres.Sql> {
  const { connections = 1, database = "sluice", schema = serviceSchema } = options;
  return postgres({
    ...(await socketOf(dataDir)),
    database,
    max: connections,
    fetch_types: false,
    onnotice() {},
    connection: {
      search_path: searchPath(schema),
      idle_in_transaction_session_timeout: 0,
      application_name: "sluice bench",
    } as unknown as Record<string, string>,
  });
}
