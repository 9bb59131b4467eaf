// Wires the mirrors of remote streams, and puts those that modules bring along.
import { type Mirrors, startMirrors } from "../delivery/bridge/inbound/mirrors.ts";
import type { Nats } from "../delivery/bridge/jetstream.ts";
import { putRemoteStreams } from "../workflow/module/put-remote-streams.ts";
import { namingOf } from "./bridge.ts";
import type { Ground } from "./ground.ts";
import type { LogParts } from "./log.ts";
import type { CommandParts } from "./processes.ts";

export type RemoteStreamParts = { mirrors: Mirrors };

/** `nats`: null without NATS_URL, where remote streams wait for it. */
export async function startRemoteStreams(
  { config, database, onStop, log }: Ground,
  { appender, modules }: LogParts,
  { leases }: CommandParts,
  nats: Nats | null,
): Promise<RemoteStreamParts> {
  const { serviceName: service, maxBodyBytes: maxEventBytes } = config;
  await putRemoteStreams(modules, { writes: database.claims, service, log });
  const mirrors = startMirrors({
    nats,
    pool: database.claims,
    appender,
    leases,
    naming: namingOf(config),
    context: { service, maxEventBytes },
    log,
  });
  onStop(mirrors.stop);
  return { mirrors };
}
