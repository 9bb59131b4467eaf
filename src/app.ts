// Wires the parts together: starts them in order, and stops them in the reverse order.

import type { Log } from "./base/log.ts";
import { createSemaphore } from "./base/semaphore.ts";
import type { Config } from "./config.ts";
import { createLiveHub, type LiveHub } from "./delivery/live/hub.ts";
import { createLiveMemberships } from "./delivery/live/membership.ts";
import { createSseHub } from "./delivery/sse-hub.ts";
import { createSubscriptionStreams } from "./delivery/subscription-stream.ts";
import { createBodyReader } from "./http/body.ts";
import { listen } from "./http/listen.ts";
import { createServer } from "./http/server.ts";
import { checkHealth } from "./ops/health.ts";
import { watchLoopLag } from "./ops/loop-lag.ts";
import { createMetrics, renderMetrics } from "./ops/metrics.ts";
import type { ProcessMetrics } from "./ops/workers/messages.ts";
import {
  type Connection,
  createDatabase,
  type Database,
  type DatabaseOptions,
  projectionsInFlight,
} from "./storage/database.ts";
import { startEmbedded } from "./storage/embedded.ts";
import { createLeases } from "./storage/lease.ts";
import { assertCurrent, migrate } from "./storage/migrate.ts";
import { createWake } from "./storage/wake.ts";
import { createAppender } from "./stream/append.ts";
import { locateStream } from "./stream/follow-start.ts";
import { createForgetting } from "./stream/forgetting.ts";
import { type Outbox, startOutbox } from "./stream/outbox/outbox.ts";
import { readStanding } from "./stream/outbox/standing.ts";
import { readTail } from "./stream/page.ts";
import { startPayloadIndex } from "./stream/payload-index.ts";
import { readHead } from "./stream/resolve.ts";
import { type Schemas, startSchemas } from "./stream/schema/schemas.ts";
import { readStreamStarts } from "./stream/stream-head.ts";
import { createTail } from "./stream/tail.ts";
import { createUpkeep } from "./stream/upkeep.ts";
import { type Consume, createLocalConsumption } from "./subscription/consume.ts";
import { createLocks } from "./subscription/exactly-once/locks.ts";
import { createFollowers } from "./subscription/following/follow.ts";
import { createTally } from "./subscription/ledger/tally.ts";
import { createUnreadGauge } from "./subscription/receipts/unread-gauge.ts";
import { readFigures } from "./subscription/registry/figures.ts";
import { type Subscriptions, startSubscriptions } from "./subscription/subscriptions.ts";
import { loadModules, registerEvents } from "./workflow/module/load-modules.ts";
import { putStreams } from "./workflow/module/put-streams.ts";
import { type Projections, startProjections } from "./workflow/projections/projections.ts";
import { startSagas } from "./workflow/sagas/sagas.ts";
import { startModuleSubscriptions } from "./workflow/subscriptions/subscriptions.ts";
import { startWorkflows, type Workflows } from "./workflow/workflows.ts";

export type App = {
  url: string;
  port: number;
  /** The last position when it started. */
  head: number;
  /** What this process measured. */
  measure: () => Promise<ProcessMetrics>;
  /** Consumes a subscription in this process. */
  consume: Consume;
  /** Drains: no new requests, event streams told to come back, appends finished; then stops everything. */
  stop: () => Promise<void>;
};

const appendsInFlight = 2;
const claimsInFlight = 4;
const followersReading = 4;
/** Each has a time series of several gauges. */
const subscriptionsMeasured = 200;
const projectionsMeasured = 200;
const measureTimeoutMs = 500;

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

/** The place of a service among the workers of one port. */
export type WorkerPlace = {
  connection: Connection;
  port: number;
  /** What all workers measured. */
  collect: () => Promise<ProcessMetrics[]>;
};

/** Starts the service; everything that was started is stopped again when a later part fails. */
export async function startApp(config: Config, log: Log, place: WorkerPlace | null = null): Promise<App> {
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) {
      await Promise.resolve(stop()).catch((error: unknown) => log.error({ err: error }, "a part did not stop"));
    }
  };
  try {
    let connection = place?.connection;
    if (connection === undefined) {
      const provided = await provideDatabase(config, log);
      stops.push(provided.stop);
      connection = provided.connection;
    }
    const started = await startParts(config, connection, log, stops, place);
    return { ...started, stop: stopAll };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function startParts(
  config: Config,
  connection: Connection,
  log: Log,
  stops: (() => Promise<void> | void)[],
  place: WorkerPlace | null,
): Promise<Omit<App, "stop">> {
  const tally = createTally();
  const database = openDatabase(config, connection, log, tally.onNotice);
  stops.push(database.stop);
  await prepareSchema(config, database, log);

  const { reads, appends, claims } = database;
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

  let subscriptions: Subscriptions | null = null;
  let liveHub: LiveHub | null = null;
  let schemas: Schemas | null = null;
  let workflows: Workflows | null = null;
  let outbox: Outbox | null = null;
  let projections: Projections | null = null;
  const wake = createWake({
    connect: database.listen,
    channel: `sluice_${config.schema}`,
    onWake: tail.wake,
    onCursors: (cursors) => subscriptions?.ledger.wake(cursors),
    onLive: (ids) => liveHub?.reload(ids),
    onSchemas: () => schemas?.registry.wake(),
    onOutbox: () => outbox?.wakeHere(),
    onContended: (streams) => workflows?.yieldTo(streams),
    onProjections: () => projections?.tend(),
    log,
  });
  stops.push(wake.stop);
  await wake.start();

  let servedAt = "";
  const readHeadNow = () => reads.run((sql) => readHead(sql, tail.head()));
  schemas = await startSchemas({
    reads,
    writes: claims,
    publicUrl: () => config.publicUrl ?? servedAt,
    readHead: readHeadNow,
    announce: wake.sendSchemas,
    log,
  });
  stops.push(schemas.stop);
  const { registry, upcasting, registration } = schemas;
  const modules = await loadModules(config.modules);
  await registerEvents(modules, registration, upcasting);

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
    validation: schemas.validation,
  });
  stops.push(appender.stop);

  workflows = startWorkflows({
    modules,
    service: config.serviceName,
    maxEventBytes: config.maxBodyBytes,
    appender,
    upcasting,
    reads,
    writes: claims,
    announce: wake.sendContended,
    log,
  });
  stops.push(workflows.stop);
  const leases = createLeases({ pool: claims, ttlMs: config.leaseMs, log });
  stops.push(leases.stop);
  leases.start();
  outbox = startOutbox({
    pool: claims,
    appender,
    leases,
    intervalMs: config.outboxIntervalMs,
    announce: wake.sendOutbox,
    service: config.serviceName,
    maxEventBytes: config.maxBodyBytes,
    log,
  });
  stops.push(outbox.stop);

  const onControl = (position: number) => {
    tail.wake(position);
    wake.send(position);
  };
  const forgetting = createForgetting({
    pool: reads,
    connect: database.connect,
    everyMs: config.trimIntervalMs,
    deduplicationMs: config.deduplicationMs,
    partitionSize: config.partitionSize,
    onControl,
    onNoPartition: upkeep.wakePartitions,
    log,
  });
  stops.push(forgetting.stop);
  forgetting.start();

  const { processedMs, groupWindow } = config;
  subscriptions = await startSubscriptions({
    reads,
    claims,
    tail,
    registry,
    upcasting,
    announce: wake.sendCursors,
    processedMs,
    groupWindow,
    log,
  });
  stops.push(subscriptions.stop);
  const { catalog, consumption, ledger, processed, receipts, expiry, deadLetters, membership } = subscriptions;
  const { resets } = subscriptions;
  await putStreams(modules, { writes: appends, onConfigured: consumption.configureQueue, log });

  const sagas = startSagas({
    modules,
    reads,
    writes: claims,
    leases,
    tail,
    upcasting,
    wakeOutbox: outbox.wake,
    runCommand: workflows.call,
    service: config.serviceName,
    maxEventBytes: config.maxBodyBytes,
    concurrency: config.sagaConcurrency,
    windowMs: config.sagaWindowMs,
    log,
  });
  let sagasStopping: Promise<void> | null = null;
  const stopSagas = () => {
    sagasStopping ??= sagas.stop(config.shutdownMs);
    return sagasStopping;
  };
  stops.push(stopSagas);

  const startedProjections = await startProjections({
    definitions: modules.flatMap((module) => module.projections),
    leases,
    serviceSchema: config.schema,
    database,
    tail,
    upcasting,
    announce: wake.sendProjections,
    log,
  });
  projections = startedProjections;
  stops.push(startedProjections.stop);

  const locks = createLocks({ pool: claims, log });
  stops.push(locks.stop);

  const followers = createFollowers({
    tail,
    pool: reads,
    upcasting,
    catchUps: createSemaphore(followersReading),
    streamStarts: (names) => reads.run((sql) => readStreamStarts(sql, names)),
    log,
  });
  stops.push(followers.stop);
  const hub = createSseHub({
    followers,
    schemas: registry,
    heartbeatMs: config.heartbeatMs,
    retryMs: config.retryMs,
    bufferBytes: config.connectionBufferBytes,
  });

  const feeds = { ...subscriptions, log };
  const local = createLocalConsumption({ ...feeds, settlements: ledger });
  const handlers = await startModuleSubscriptions(modules, {
    feeds,
    settlements: ledger,
    upcasting,
    reach: { runCommand: workflows.call, startSaga: sagas.startFor },
    log,
  });
  stops.push(() => handlers.stop(config.shutdownMs));
  const subscriptionStreams = createSubscriptionStreams({
    feeds,
    schemas: registry,
    heartbeatMs: config.heartbeatMs,
    retryMs: config.retryMs,
    bufferBytes: config.connectionBufferBytes,
    log,
  });
  const liveMemberships = createLiveMemberships(reads, claims);
  const live = createLiveHub({
    memberships: liveMemberships,
    followers,
    feeds,
    schemas: registry,
    locate: (stream, position) => reads.run((sql) => locateStream(sql, stream, position, tail.head())),
    head: tail.head,
    bufferBytes: config.connectionBufferBytes,
    heartbeatMs: config.heartbeatMs,
    retryMs: config.retryMs,
    announce: (id) => wake.sendLive([id]),
    forgottenMs: config.liveForgottenMs,
    log,
  });
  liveHub = live;
  const isFull = () =>
    hub.counts().connections + subscriptionStreams.counts().connections + live.counts().connections >=
    config.maxConnections;

  let draining = false;
  const isDraining = () => draining;
  const loopLag = watchLoopLag();
  stops.push(loopLag.stop);
  const tailState = () => ({ head: tail.head(), lag: tail.lag() });
  const metrics = createMetrics(
    {
      appends: appender.counters,
      eventStreams: hub.counts,
      subscriptionStreams: subscriptionStreams.counts,
      liveConnections: live.counts,
      tail: tailState,
      forgetting: forgetting.counters,
      ledger: () => ({ ...ledger.counts(), ...ledger.counters(), expired: tally.counters().expired, resets: resets() }),
      deadLetters: () => ({ ...deadLetters.counters(), created: tally.counters().dead }),
      members: () => {
        const { joined, removed, silent } = membership.counters();
        return { joined, left: removed + tally.counters().left, silent };
      },
      receipts: () => ({ ...receipts.counters(), ...expiry.counters() }),
      unread: createUnreadGauge(reads),
      processed: processed.counters,
      locks: () => ({ ...locks.counters(), waiting: locks.waiting() }),
      schemas: {
        validated: schemas.validation.counters,
        upcasts: upcasting.counters,
        sandboxes: schemas.sandboxes,
      },
      workflows: { commands: workflows.runner.counters },
      sagas: { counters: sagas.counters, figures: sagas.figures },
      outbox: { counters: outbox.counters, standing: () => readStanding(reads) },
      projections: {
        counters: startedProjections.counters,
        figures: () => startedProjections.figures(projectionsMeasured),
      },
      subscriptions: () => readFigures(reads, subscriptionsMeasured, measureTimeoutMs),
      eventLoopLagSeconds: loopLag.seconds,
    },
    log,
  );
  const body = createBodyReader({ maxBytes: config.maxBodyBytes, timeoutMs: config.bodyTimeoutMs });
  stops.push(body.stop);
  const server = createServer({
    append: { appender, body, service: config.serviceName, log, observeLatency: metrics.observeAppend },
    events: {
      reader: { pool: reads, knownHead: tail.head },
      registry,
      upcasting,
      hub,
      replays: createSemaphore(Math.ceil(config.poolSize / 2)),
      log,
      isDraining,
      isFull,
    },
    streams: {
      reads,
      writes: appends,
      body,
      log,
      onConfigured: consumption.configureQueue,
      onNoPartition: upkeep.wakePartitions,
      onControl(position) {
        onControl(position);
        forgetting.wakePurge();
      },
    },
    snapshots: { reads, writes: claims, body, log },
    subscriptions: { catalog, reads, body, log },
    claims: { consumption, catalog, settlements: ledger, schemas: registry, body },
    live: {
      reader: { pool: reads, knownHead: tail.head },
      registry,
      hub: live,
      memberships: liveMemberships,
      catalog,
      membership,
      ledger,
      announce: (id) => wake.sendLive([id]),
      isDraining,
      isFull,
      log,
    },
    consumers: {
      catalog,
      membership,
      reset: subscriptions.reset,
      reader: { pool: reads, knownHead: tail.head },
      reads,
      body,
      log,
    },
    deadLetters: { deadLetters, catalog, schemas: registry, reads, body, log },
    consume: { catalog, streams: subscriptionStreams, isDraining, isFull, log },
    receipts: { receipts, catalog, registry, upcasting, body },
    processed: { processed, catalog, reads, body },
    locks: { locks, body },
    commands: { ...workflows, body, log },
    outbox: { reads, writes: claims, body, wake: outbox.wake, log },
    projections: { projections: startedProjections, body, log },
    schemas: { ...schemas, reads, body },
    sagas: { sagas, body },
    operations: {
      checks: () => checkHealth({ pool: reads, isDraining, partitionRoom: upkeep.partitionRoom, tail: tailState }),
      metrics: async () => renderMetrics(place === null ? [await metrics.measure()] : await place.collect()),
    },
    corsOrigins: config.corsOrigins,
    development: config.development,
    log,
  });
  const listening = listen(server, {
    host: config.host,
    port: place?.port ?? config.port,
    shared: place !== null,
    idleTimeoutSeconds: Math.min(255, Math.ceil((config.heartbeatMs * 3) / 1_000) + 10),
  });
  stops.push(async () => {
    draining = true;
    log.info("draining");
    hub.stop();
    const ended = Promise.all([
      subscriptionStreams.stop(),
      live.stop(),
      local.stop(config.shutdownMs),
      handlers.stop(config.shutdownMs),
      stopSagas(),
    ]);
    ledger.drain();
    locks.drain();
    startedProjections.drain();
    const late = setTimeout(() => void listening.stop(true), config.shutdownMs);
    await listening.stop(false);
    await ended;
    clearTimeout(late);
  });
  const { url, port } = listening;
  // What listens on every address has none that a reader could use.
  servedAt = url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, "//localhost");
  return { url, port, head: tail.head(), measure: metrics.measure, consume: local.consume };
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
