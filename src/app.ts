// Starts the parts in order, and stops them in the reverse order; how each is wired stands in wiring/.
import type { Log } from "./base/log.ts";
import type { Config } from "./config.ts";
import { listen } from "./http/listen.ts";
import { createServer } from "./http/server.ts";
import type { ProcessMetrics } from "./ops/workers/messages.ts";
import type { Connection } from "./storage/database.ts";
import { type Consume, createLocalConsumption } from "./subscription/consume.ts";
import { createLocks } from "./subscription/exactly-once/locks.ts";
import { createTally } from "./subscription/ledger/tally.ts";
import { startBridge } from "./wiring/bridge.ts";
import { openDatabase, prepareSchema, provideDatabase } from "./wiring/database.ts";
import { startDelivery, startFollowers } from "./wiring/delivery.ts";
import type { Ground } from "./wiring/ground.ts";
import { startForgetting, startLog } from "./wiring/log.ts";
import { startMetrics } from "./wiring/metrics.ts";
import { startCommands, startHandlers, startReactions } from "./wiring/processes.ts";
import { startRemoteStreams } from "./wiring/remote-streams.ts";
import { startRoutes } from "./wiring/server.ts";
import { startConsuming } from "./wiring/subscriptions.ts";

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

/** The place of a service among the workers of one port. */
export type WorkerPlace = {
  connection: Connection;
  port: number;
  /** What all workers measured. */
  collect: () => Promise<ProcessMetrics[]>;
};

type Stop = Parameters<Ground["onStop"]>[0];

/** Starts the service; everything that was started is stopped again when a later part fails. */
export async function startApp(config: Config, log: Log, place: WorkerPlace | null = null): Promise<App> {
  const stops: Stop[] = [];
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) {
      await Promise.resolve(stop()).catch((error: unknown) => log.error({ err: error }, "a part did not stop"));
    }
  };
  const onStop = (stop: Stop) => void stops.push(stop);
  try {
    let connection = place?.connection;
    if (connection === undefined) {
      const provided = await provideDatabase(config, log);
      onStop(provided.stop);
      connection = provided.connection;
    }
    const started = await startParts(config, connection, log, onStop, place);
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
  onStop: Ground["onStop"],
  place: WorkerPlace | null,
): Promise<Omit<App, "stop">> {
  const tally = createTally();
  const database = openDatabase(config, connection, log, tally.onNotice);
  onStop(database.stop);
  await prepareSchema(config, database, log);

  let servedAt = "";
  const ground: Ground = { config, database, onStop, servedAt: () => servedAt, log };
  const logParts = await startLog(ground);
  const commands = startCommands(ground, logParts);
  const forgetting = startForgetting(ground, logParts);
  const subscriptions = await startConsuming(ground, logParts);
  const { ledger } = subscriptions;
  const reactions = await startReactions(ground, logParts, commands);
  const locks = createLocks({ pool: database.claims, log });
  onStop(locks.stop);
  const followers = startFollowers(ground, logParts);
  const local = createLocalConsumption({ ...subscriptions, log, settlements: ledger });
  const handlers = await startHandlers(ground, logParts, subscriptions, commands, reactions);
  const delivery = startDelivery(ground, logParts, subscriptions, followers);
  const bridge = startBridge(ground, logParts, commands);
  const remote = await startRemoteStreams(ground, logParts, commands, bridge);

  let draining = false;
  const parts = {
    ...logParts,
    ...commands,
    ...reactions,
    ...delivery,
    ...bridge,
    ...remote,
    tally,
    forgetting,
    subscriptions,
    locks,
  };
  const metrics = startMetrics(ground, parts);
  const routes = startRoutes(ground, parts, {
    isDraining: () => draining,
    metrics,
    collect: place === null ? null : place.collect,
  });
  const listening = listen(createServer(routes), {
    host: config.host,
    port: place?.port ?? config.port,
    shared: place !== null,
    idleTimeoutSeconds: Math.min(255, Math.ceil((config.heartbeatMs * 3) / 1_000) + 10),
  });
  onStop(async () => {
    draining = true;
    log.info("draining");
    delivery.hub.stop();
    const ended = Promise.all([
      delivery.subscriptionStreams.stop(),
      delivery.live.stop(),
      local.stop(config.shutdownMs),
      handlers.stop(config.shutdownMs),
      reactions.stopSagas(),
    ]);
    ledger.drain();
    locks.drain();
    reactions.projections.drain();
    const late = setTimeout(() => void listening.stop(true), config.shutdownMs);
    await listening.stop(false);
    await ended;
    clearTimeout(late);
  });
  const { url, port } = listening;
  // What listens on every address has none that a reader could use.
  servedAt = url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, "//localhost");
  return { url, port, head: logParts.tail.head(), measure: metrics.measure, consume: local.consume };
}
