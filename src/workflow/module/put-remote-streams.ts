// Puts the remote streams of modules, as PUT would.
import type { Log } from "../../base/log.ts";
import { everyone } from "../../base/principal.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Naming } from "../../stream/cross-service/names.ts";
import { parseRemoteDefinition } from "../../stream/remote/definition.ts";
import { requireMirrorable } from "../../stream/remote/own-streams.ts";
import { configureRemoteStream } from "../../stream/remote/remote-streams.ts";
import { inPlainWords } from "./explain.ts";
import type { Module } from "./module.ts";

export type RemoteStreamsOptions = {
  writes: Pool;
  naming: Naming;
  log: Log;
};

/** Throws a plain sentence where a remote stream cannot be what its module says. */
export async function putRemoteStreams(
  modules: readonly Module[],
  { writes, naming, log }: RemoteStreamsOptions,
): Promise<void> {
  for (const module of modules)
    for (const { name, options } of module.remoteStreams)
      await inPlainWords(`module ${module.name}: remote stream ${name}`, async () => {
        const definition = parseRemoteDefinition(options, { service: naming.service, stream: name });
        await requireMirrorable(writes, name, definition.source, naming, everyone);
        const isNew = await configureRemoteStream(writes, name, definition);
        if (isNew) log.info({ remoteStream: name, module: module.name, ...definition.source }, "remote stream created");
      });
}
