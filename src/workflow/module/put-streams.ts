// Configures the streams of modules, as PUT would.
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Naming } from "../../stream/cross-service/names.ts";
import { parseConfiguration, type StreamConfiguration } from "../../stream/stream-configuration.ts";
import { configureStream } from "../../stream/streams.ts";
import { inPlainWords } from "./explain.ts";
import type { Module } from "./module.ts";

export type StreamsOptions = {
  writes: Pool;
  naming: Naming;
  /** A stream has this configuration now. */
  onConfigured: (name: string, configuration: StreamConfiguration) => Promise<void>;
  log: Log;
};

/** Throws a plain sentence where a stream cannot be what its module says. */
export async function putStreams(
  modules: readonly Module[],
  { writes, naming, onConfigured, log }: StreamsOptions,
): Promise<void> {
  for (const module of modules)
    for (const { name, options } of module.streams)
      await inPlainWords(`module ${module.name}: stream ${name}`, async () => {
        const configuration = parseConfiguration(options);
        const isNew = await configureStream(writes, name, configuration, naming);
        await onConfigured(name, configuration);
        if (isNew) log.info({ stream: name, module: module.name }, "stream created");
      });
}
