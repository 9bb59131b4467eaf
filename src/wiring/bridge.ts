// Wires the bridge: the one connection to NATS of this process, and what is published and mirrored over it.

import type { Config } from "../config.ts";
import type { Nats } from "../delivery/bridge/jetstream.ts";
import { startNats } from "../delivery/bridge/nats.ts";
import type { Naming } from "../stream/cross-service/names.ts";
import type { Ground } from "./ground.ts";

export type BridgeParts = {
  /** Null without NATS_URL. */
  nats: Nats | null;
};

/** How streams are named in NATS that say nothing of their own. */
export function namingOf({ serviceName, bridge: { streamPattern, subjectPattern } }: Config): Naming {
  return { service: serviceName, streamPattern, subjectPattern };
}

const answerTimeoutMs = 5_000;

export function startBridge(ground: Ground): BridgeParts {
  const nats = startConnection(ground);
  return { nats };
}

/** Stopped after all that uses it, which is started later. */
function startConnection({ config, onStop, log }: Ground): Nats | null {
  const { connection } = config.bridge;
  if (connection === null) return null;
  const nats = startNats({ ...connection, name: config.serviceName, timeoutMs: answerTimeoutMs, log });
  onStop(nats.stop);
  return nats;
}
