// The command line: starts the service, migrates, or verifies generated files.
import { readFile, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { fileURLToPath } from "node:url";
import { startApp } from "./app.ts";
import { createLog, type Log } from "./base/log.ts";
import { type Config, ConfigError, readConfig } from "./config.ts";
import { describeOperations } from "./http/openapi/document.ts";
import { superviseWorkers, type Workers } from "./ops/workers/supervise.ts";
import { openWorkerChannel } from "./ops/workers/worker.ts";
import type { Connection } from "./storage/database.ts";
import { migrate, status } from "./storage/migrate.ts";
import { dumpSchema } from "./storage/schema-dump.ts";
import { openDatabase, provideDatabase } from "./wiring/database.ts";
import { extensionsOf, loadModules } from "./workflow/module/load-modules.ts";

const usage = `usage: main.ts start | health | migrate [--status] | schema --check|--write | openapi --check|--write`;
const healthWithinMs = 4_000;
const goldenSchema = new URL("../sql/schema.sql", import.meta.url);
const goldenDocument = new URL("../openapi.json", import.meta.url);

function configured(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}

/** Stops on the signals that ask for it, or when told; ends the process. */
function stopOnSignal(stop: () => Promise<void>, log: Log): () => void {
  let stopping = false;
  const begin = () => {
    if (stopping) return;
    stopping = true;
    void stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "the service did not stop as it should");
        process.exit(1);
      },
    );
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, begin);
  // A defect in one request must not end the others; it is logged, loudly.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "unhandled rejection"));
  process.on("uncaughtException", (error) => log.error({ err: error }, "uncaught exception"));
  return begin;
}

async function start(): Promise<void> {
  const config = configured();
  const log = createLog(config.logLevel, config.serviceName);
  const { schema, workers } = config;
  if (workers > 1) return startWorkers(config, log);
  const starting = startApp(config, log);
  // A start that is interrupted comes to its end first: the embedded Postgres must not be left behind.
  stopOnSignal(() => starting.then((app) => app.stop()), log);
  const app = await starting;
  log.info({ schema, head: app.head }, `Sluice ready on ${app.url}`);
}

async function startWorkers(config: Config, log: Log): Promise<void> {
  const { schema, workers } = config;
  const starting = startSupervised(config, log);
  stopOnSignal(() => starting.then((supervised) => supervised.stop()), log);
  const supervised = await starting;
  log.info({ schema, workers }, `Sluice ready on ${supervised.url}`);
}

async function startSupervised(config: Config, log: Log): Promise<Workers> {
  const { workers, host, port, shutdownMs } = config;
  const provided = await provideDatabase(config, log);
  try {
    const supervised = await superviseWorkers({
      workers,
      program: { file: fileURLToPath(import.meta.url), args: ["worker"] },
      connection: provided.connection,
      host,
      port,
      stopWithinMs: shutdownMs + 5_000,
      log,
    });
    return { url: supervised.url, stop: () => supervised.stop().finally(provided.stop) };
  } catch (error) {
    await provided.stop();
    throw error;
  }
}

/** One of several processes on a port, told by its supervisor what to do. */
async function work(): Promise<void> {
  const config = configured();
  const channel = openWorkerChannel<Connection>();
  const { worker, connection, port } = await channel.assignment;
  const log = createLog(config.logLevel, config.serviceName).child({ worker });
  const app = await startApp(config, log, { connection, port, collect: channel.collect });
  channel.onMeasure(app.measure);
  channel.onStop(stopOnSignal(app.stop, log));
  log.info({ head: app.head }, "worker ready");
  channel.started(app.url, app.port);
}

/** For a container's health check: whether the service of this configuration can serve. */
function health(): void {
  const { host, port } = configured();
  const reached = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  // Not fetch: that asks a proxy, if the environment names one.
  const asked = get({ host: reached, port, path: "/readyz", timeout: healthWithinMs }, (answer) => {
    answer.setEncoding("utf8").on("data", (text) => process.stdout.write(text));
    answer.on("end", () => process.exit(answer.statusCode === 200 ? 0 : 1));
  });
  asked.on("timeout", () => asked.destroy(new Error(`no answer within ${healthWithinMs} ms`)));
  asked.on("error", (error) => {
    console.error(error.message);
    process.exit(1);
  });
}

async function migrateByHand(onlyStatus: boolean): Promise<void> {
  const config = configured();
  const log = createLog("warn", config.serviceName);
  const provided = await provideDatabase(config, log);
  const sql = openDatabase(config, provided.connection, log).connect({
    statement_timeout: "0",
    idle_in_transaction_session_timeout: "0",
  });
  try {
    if (onlyStatus) {
      const found = await status(sql, { schema: config.schema });
      console.log(`schema ${config.schema}: version ${found.current} of ${found.target}, functions ${found.functions}`);
      for (const file of found.pending) console.log(`pending: ${file}`);
    } else {
      const done = await migrate(sql, { schema: config.schema, log });
      console.log(`schema ${config.schema}: version ${done.from} → ${done.to}, ${done.applied.length} files applied`);
      for (const file of done.applied) console.log(`applied: ${file}`);
    }
  } finally {
    await sql.end({ timeout: 1 });
    await provided.stop();
  }
}

/** The golden file is what a fresh database looks like: a change of the schema shows in the diff, where people read it. */
async function goldenFile(write: boolean): Promise<void> {
  const config = readConfig({ STORAGE: "memory" });
  const log = createLog("warn", config.serviceName);
  const provided = await provideDatabase(config, log);
  const sql = openDatabase(config, provided.connection, log).connect();
  try {
    await migrate(sql, { schema: config.schema, log });
    const dump = await dumpSchema(sql, config.schema);
    if (write) await writeFile(goldenSchema, dump);
    else if ((await readFile(goldenSchema, "utf8").catch(() => "")) !== dump) {
      console.error(
        "sql/schema.sql is not what the migrations make: run `bun src/main.ts schema --write` and look at the difference",
      );
      process.exitCode = 1;
    }
  } finally {
    await sql.end({ timeout: 1 });
    await provided.stop();
  }
}

/** The API's document as a file, with what the samples bring along: a change of the contract shows in the diff too. */
async function goldenOpenApi(write: boolean): Promise<void> {
  const document = describeOperations(extensionsOf(await loadModules(readConfig({}).modules)));
  if (write) await writeFile(goldenDocument, document);
  else if ((await readFile(goldenDocument, "utf8").catch(() => "")) !== document) {
    console.error(
      "openapi.json is not what the operations make: run `bun src/main.ts openapi --write` and look at the difference",
    );
    process.exitCode = 1;
  }
}

const [command = "start", option] = process.argv.slice(2);
try {
  if (command === "start" && option === undefined) await start();
  else if (command === "worker" && option === undefined) await work();
  else if (command === "health" && option === undefined) health();
  else if (command === "migrate" && (option === undefined || option === "--status"))
    await migrateByHand(option === "--status");
  else if (command === "schema" && (option === "--check" || option === "--write"))
    await goldenFile(option === "--write");
  else if (command === "openapi" && (option === "--check" || option === "--write"))
    await goldenOpenApi(option === "--write");
  else {
    console.error(usage);
    process.exit(2);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
