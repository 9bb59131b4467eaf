// Wires the bridge: the one connection to NATS of this process, and what is published and mirrored over it.

import type { Config } from "../config.ts";
import { type Breaker, createBreaker } from "../delivery/bridge/breaker.ts";
import type { Nats } from "../delivery/bridge/jetstream.ts";
import { startNats } from "../delivery/bridge/nats.ts";
import { type Outbound, startOutbound } from "../delivery/bridge/outbound/outbound.ts";
import { guarded } from "../delivery/bridge/questions.ts";
import type { ConnectionStanding } from "../http/bridge.ts";
import type { Naming } from "../stream/cross-service/names.ts";
import { readLogId } from "../stream/stream-head.ts";
import type { Ground } from "./ground.ts";
import type { LogParts } from "./log.ts";
import type { CommandParts } from "./processes.ts";

export type BridgeParts = {
  bridge: {
    nats: Nats;
    /** Around what publishing and mirrors ask JetStream. */
    breaker: Breaker;
    outbound: Outbound;
  } | null;
};

/** How streams are named in NATS that say nothing of their own. */
export function namingOf({ serviceName, bridge: { streamPattern, subjectPattern } }: Config): Naming {
  return { service: serviceName, streamPattern, subjectPattern };
}

/** How the bridge of this process stands. */
export function standingOf({ nats, breaker, outbound }: NonNullable<BridgeParts["bridge"]>): ConnectionStanding {
  const server = nats.server();
  return {
    state: nats.state(),
    server: server && { name: server.name, version: server.version },
    connects: nats.connects(),
    lastError: nats.lastError() ?? breaker.cause(),
    breaker: breaker.state(),
    publishes: outbound.counters().publishes,
  };
}

const answerTimeoutMs = 5_000;

/** Null without NATS_URL: what is appended waits in the log. */
export function startBridge(
  ground: Ground,
  { tail, schemas }: LogParts,
  { leases }: Pick<CommandParts, "leases">,
): BridgeParts {
  const { config, database, onStop, log } = ground;
  const connection = startConnection(ground);
  if (connection === null) return { bridge: null };
  const breaker = createBreaker(log);
  const nats = guarded(connection, breaker);
  const { topology, checkIntervalMs, defaults } = config.bridge;
  const outbound = startOutbound({
    nats,
    leases,
    reads: database.reads,
    writes: database.claims,
    tail,
    schemas: schemas.registry,
    readLogId: () => database.reads.run(readLogId),
    service: config.serviceName,
    topology,
    checkIntervalMs,
    defaults,
    log,
  });
  onStop(outbound.stop);
  return { bridge: { nats, breaker, outbound } };
}

/** Stopped after all that uses it, which is started later. */
function startConnection({ config, onStop, log }: Ground): Nats | null {
  const { connection } = config.bridge;
  if (connection === null) return null;
  const nats = startNats({ ...connection, name: config.serviceName, timeoutMs: answerTimeoutMs, log });
  onStop(nats.stop);
  return nats;
}
