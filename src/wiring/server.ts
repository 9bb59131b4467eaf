// Wires the routes: which parts each of them is given.
import { createSemaphore } from "../base/semaphore.ts";
import { createBodyReader } from "../http/body.ts";
import { createRemoteStreamView } from "../http/remote-stream-view.ts";
import type { ServerDependencies } from "../http/server.ts";
import { checkHealth } from "../ops/health.ts";
import { type Metrics, renderMetrics } from "../ops/metrics.ts";
import type { ProcessMetrics } from "../ops/workers/messages.ts";
import { extensionsOf } from "../workflow/module/load-modules.ts";
import { namingOf, standingOf } from "./bridge.ts";
import type { Ground } from "./ground.ts";
import { announceControl } from "./log.ts";
import type { Parts } from "./parts.ts";

export type Serving = {
  /** The service is about to end. */
  isDraining: () => boolean;
  metrics: Metrics;
  /** What all processes on the port measured; null when this is the only one. */
  collect: (() => Promise<ProcessMetrics[]>) | null;
};

export function startRoutes(
  { config, database, onStop, servedAt, log }: Ground,
  parts: Parts,
  { isDraining, metrics, collect }: Serving,
): ServerDependencies {
  const { reads, appends, claims } = database;
  const { tail, upkeep, wake, schemas, appender, forgetting, subscriptions, hub, live, isFull, bridge } = parts;
  const { registry, upcasting } = schemas;
  const { connection, defaults } = config.bridge;
  const { catalog, consumption, ledger, membership, deadLetters } = subscriptions;
  const reader = { pool: reads, knownHead: tail.head };
  const onControl = announceControl(parts);
  const body = createBodyReader({ maxBytes: config.maxBodyBytes, timeoutMs: config.bodyTimeoutMs });
  onStop(body.stop);
  const showRemoteStream = createRemoteStreamView({
    service: config.serviceName,
    natsState: () => bridge?.nats.state() ?? null,
    standingOf: parts.mirrors.standingOf,
  });
  return {
    append: { appender, body, service: config.serviceName, log, observeLatency: metrics.observeAppend },
    events: {
      reader,
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
      naming: namingOf(config),
      body,
      log,
      async onConfigured(name, configuration) {
        await consumption.configureQueue(name, configuration);
        bridge?.outbound.wake();
      },
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
      reader,
      registry,
      hub: live,
      memberships: parts.liveMemberships,
      catalog,
      membership,
      ledger,
      announce: (id) => wake.sendLive([id]),
      isDraining,
      isFull,
      log,
    },
    consumers: { catalog, membership, reset: subscriptions.reset, reader, reads, body, log },
    deadLetters: { deadLetters, catalog, schemas: registry, reads, body, log },
    consume: { catalog, streams: parts.subscriptionStreams, isDraining, isFull, log },
    receipts: { receipts: subscriptions.receipts, catalog, registry, upcasting, body },
    processed: { processed: subscriptions.processed, catalog, reads, body },
    locks: { locks: parts.locks, body },
    commands: { ...parts.workflows, body, log },
    bridge: { reads, connection: bridge && (() => standingOf(bridge)), showRemoteStream },
    outbox: { reads, writes: claims, body, wake: parts.outbox.wake, log },
    remoteStreams: {
      reads,
      writes: claims,
      mirrors: parts.mirrors,
      naming: namingOf(config),
      show: showRemoteStream,
      body,
      log,
    },
    projections: { projections: parts.projections, body, log },
    schemas: { ...schemas, reads, body },
    sagas: { sagas: parts.sagas, body },
    operations: {
      checks: () =>
        checkHealth({
          pool: reads,
          isDraining,
          partitionRoom: upkeep.partitionRoom,
          tail: () => ({ head: tail.head(), lag: tail.lag() }),
          bridge: () =>
            bridge === null ? null : { connected: bridge.nats.state() === "connected", error: bridge.nats.lastError() },
        }),
      metrics: async () => renderMetrics(collect === null ? [await metrics.measure()] : await collect()),
    },
    extensions: extensionsOf(parts.modules),
    asyncApi: {
      reads,
      registry,
      publicUrl: () => config.publicUrl ?? servedAt(),
      nats: connection === null ? null : { servers: connection.servers, naming: namingOf(config), mode: defaults.mode },
    },
    corsOrigins: config.corsOrigins,
    development: config.development,
    log,
  };
}
