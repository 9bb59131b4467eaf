// Puts the remote streams of modules, as PUT would.
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import { parseRemoteDefinition } from "../../stream/remote/definition.ts";
import { configureRemoteStream } from "../../stream/remote/remote-streams.ts";
import { inPlainWords } from "./explain.ts";
import type { Module } from "./module.ts";

export type RemoteStreamsOptions = {
  writes: Pool;
  /** Name of this service. */
  service: string;
  log: Log;
};

/** Throws a plain sentence where a remote stream cannot be what its module says. */
export async function putRemoteStreams(
  modules: readonly Module[],
  { writes, service, log }: RemoteStreamsOptions,
): Promise<void> {
  for (const module of modules)
    for (const { name, options } of module.remoteStreams)
      await inPlainWords(`module ${module.name}: remote stream ${name}`, async () => {
        const definition = parseRemoteDefinition(options, { service, stream: name });
        const isNew = await configureRemoteStream(writes, name, definition);
        if (isNew) log.info({ remoteStream: name, module: module.name, ...definition.source }, "remote stream created");
      });
}
