// Wires the parts together: starts them in order, and stops them in the reverse order.

import { createLog, type Log } from "./base/log.ts";
import { everyone } from "./base/principal.ts";
import { createSemaphore } from "./base/semaphore.ts";
import type { Config } from "./config.ts";
import { createSseHub } from "./delivery/sse-hub.ts";
import { createBodyReader } from "./http/body.ts";
import { type Listening, listen } from "./http/listen.ts";
import { createServer } from "./http/server.ts";
import { checkHealth } from "./ops/health.ts";
import { watchLoopLag } from "./ops/loop-lag.ts";
import { createMetrics } from "./ops/metrics.ts";
import { type Connection, createDatabase, type Database } from "./storage/database.ts";
import { startEmbedded } from "./storage/embedded.ts";
import { assertCurrent, migrate } from "./storage/migrate.ts";
import { createWake } from "./storage/wake.ts";
import { createAppender } from "./stream/append.ts";
import { readTail } from "./stream/page.ts";
import { startPayloadIndex } from "./stream/payload-index.ts";
import { readHead } from "./stream/resolve.ts";
import { readStreamIds } from "./stream/stream-head.ts";
import { createTail } from "./stream/tail.ts";
import { createUpkeep } from "./stream/upkeep.ts";
import { createFollowers } from "./subscription/follow.ts";

export type App = {
  url: string;
  log: Log;
  /** Drains: no new requests, event streams told to come back, appends finished; then stops everything. */
  stop: () => Promise<void>;
};

const appendsInFlight = 2;
const followersReading = 4;

/** Opens the database that the configuration names: a server, or the embedded Postgres. The caller stops both. */
export async function openDatabase(
  config: Config,
  log: Log,
): Promise<{ database: Database; stop: () => Promise<void> }> {
  let connection: Connection;
  let stopEmbedded = async () => {};
  if (config.databaseUrl !== null) connection = config.databaseUrl;
  else {
    const embedded = await startEmbedded({
      ...(config.storage === "memory" ? {} : { dataDir: config.dataDir }),
      tcp: config.embeddedTcp,
      log,
    });
    connection = embedded.connection;
    stopEmbedded = () => embedded.stop();
    log.info({ dataDir: embedded.dataDir, takenOver: embedded.takenOver }, "embedded Postgres is up");
  }
  const database = createDatabase({
    connection,
    schema: config.schema,
    poolSize: config.poolSize,
    commandTimeoutMs: config.commandTimeoutMs,
    appendsInFlight,
    log,
  });
  return {
    database,
    async stop() {
      await database.stop();
      await stopEmbedded();
    },
  };
}

/** Starts the service; everything that was started is stopped again when a later part fails. */
export async function startApp(config: Config): Promise<App> {
  const log = createLog(config.logLevel, config.serviceName);
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) {
      await Promise.resolve(stop()).catch((error: unknown) => log.error({ err: error }, "a part did not stop"));
    }
  };
  try {
    const listening = await startParts(config, log, stops);
    return { url: listening.url, log, stop: stopAll };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function startParts(config: Config, log: Log, stops: (() => Promise<void> | void)[]): Promise<Listening> {
  const { database, stop } = await openDatabase(config, log);
  stops.push(stop);
  await prepareSchema(config, database, log);

  const { reads, appends } = database;
  const tail = createTail({
    readHead: (atLeast) => reads.run((sql) => readHead(sql, atLeast)),
    readRange: (after, upTo, limit) => readTail(reads, after, upTo, limit),
    ringBytes: config.ringBytes,
    pollMs: 1_000,
    log,
  });
  await tail.start();
  stops.push(tail.stop);

  const upkeep = createUpkeep({
    pool: reads,
    head: tail.head,
    partitionSize: config.partitionSize,
    idempotencyKeysMs: config.idempotencyKeysMs,
    log,
  });
  stops.push(upkeep.stop);
  await upkeep.start();

  if (config.ginIndex) {
    const payloadIndex = startPayloadIndex(() => database.connect({ statement_timeout: "0" }), log);
    stops.push(payloadIndex.stop);
  }

  const wake = createWake({ connect: database.listen, channel: `sluice_${config.schema}`, onWake: tail.wake, log });
  stops.push(wake.stop);
  await wake.start();

  const appender = createAppender({
    pool: appends,
    log,
    maxBatchEvents: config.appendBatchEvents,
    maxBatchBytes: config.appendBatchBytes,
    batchesInFlight: appendsInFlight,
    maxWaitingBytes: 64_000_000,
    onAppended(events) {
      tail.offer(events);
      wake.send(events.at(-1)?.position ?? -1);
    },
    onUnknown: () => tail.wake(Number.POSITIVE_INFINITY),
    onNoPartition: upkeep.wakePartitions,
  });
  stops.push(appender.stop);

  const followers = createFollowers({
    tail,
    pool: reads,
    catchUps: createSemaphore(followersReading),
    streamIds: (names) => reads.run((sql) => readStreamIds(sql, names)),
    log,
  });
  stops.push(followers.stop);
  const hub = createSseHub({
    followers,
    heartbeatMs: config.heartbeatMs,
    retryMs: config.retryMs,
    bufferBytes: config.connectionBufferBytes,
  });

  let draining = false;
  const loopLag = watchLoopLag();
  stops.push(loopLag.stop);
  const tailState = () => ({ head: tail.head(), lag: tail.lag() });
  const metrics = createMetrics({
    appends: appender.counters,
    eventStreams: hub.counts,
    tail: tailState,
    eventLoopLagSeconds: loopLag.seconds,
  });
  const body = createBodyReader({ maxBytes: config.maxBodyBytes, timeoutMs: config.bodyTimeoutMs });
  stops.push(body.stop);
  const server = createServer({
    append: { appender, body, service: config.serviceName, log, observeLatency: metrics.observeAppend },
    events: {
      reader: { pool: reads, knownHead: tail.head },
      hub,
      log,
      isDraining: () => draining,
      maxConnections: config.maxConnections,
    },
    streams: {
      reads,
      writes: appends,
      body,
      log,
      onControl(position) {
        tail.wake(position);
        wake.send(position);
        upkeep.wakePurge();
      },
    },
    operations: {
      checks: () =>
        checkHealth({ pool: reads, isDraining: () => draining, partitionRoom: upkeep.partitionRoom, tail: tailState }),
      metrics: metrics.render,
    },
    corsOrigins: config.corsOrigins,
    development: config.development,
    log,
  });
  const listening = listen(server, {
    host: config.host,
    port: config.port,
    idleTimeoutSeconds: Math.min(255, Math.ceil((config.heartbeatMs * 3) / 1_000) + 10),
  });
  stops.push(async () => {
    draining = true;
    log.info("draining");
    hub.stop();
    const late = setTimeout(() => void listening.stop(true), config.shutdownMs);
    await listening.stop(false);
    clearTimeout(late);
  });
  log.info({ principal: everyone.name, schema: config.schema, head: tail.head() }, `Sluice ready on ${listening.url}`);
  return listening;
}

async function prepareSchema(config: Config, database: Database, log: Log): Promise<void> {
  const sql = database.connect({ statement_timeout: "0", idle_in_transaction_session_timeout: "0" });
  try {
    if (config.autoMigrate) await migrate(sql, { schema: config.schema, log });
    else await assertCurrent(sql, { schema: config.schema });
  } finally {
    await sql.end({ timeout: 1 });
  }
}
