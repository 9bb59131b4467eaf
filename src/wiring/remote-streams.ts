// Wires the mirrors of remote streams, and puts those that modules bring along.
import { type Mirrors, startMirrors } from "../delivery/bridge/inbound/mirrors.ts";
import { putRemoteStreams } from "../workflow/module/put-remote-streams.ts";
import { type BridgeParts, namingOf } from "./bridge.ts";
import type { Ground } from "./ground.ts";
import type { LogParts } from "./log.ts";
import type { CommandParts } from "./processes.ts";

export type RemoteStreamParts = { mirrors: Mirrors };

/** Without NATS_URL remote streams wait for it. */
export async function startRemoteStreams(
  { config, database, onStop, log }: Ground,
  { appender, modules }: LogParts,
  { leases }: CommandParts,
  { bridge }: BridgeParts,
): Promise<RemoteStreamParts> {
  const { serviceName: service, maxBodyBytes: maxEventBytes } = config;
  const naming = namingOf(config);
  await putRemoteStreams(modules, { writes: database.claims, naming, log });
  const mirrors = startMirrors({
    nats: bridge?.nats ?? null,
    pool: database.claims,
    appender,
    leases,
    naming,
    context: { service, maxEventBytes },
    log,
  });
  onStop(mirrors.stop);
  return { mirrors };
}
