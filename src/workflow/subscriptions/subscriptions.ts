// The subscriptions of modules: configured as PUT would, and consumed by their handlers in this process.
import { randomUUID } from "node:crypto";
import { parseSubscription } from "../../subscription/registry/configuration.ts";
import { consumerName } from "../../subscription/registry/subscription.ts";
import { inPlainWords } from "../module/explain.ts";
import type { Module } from "../module/module.ts";
import { type ConsumerDependencies, consumeHere } from "./consumer.ts";

export type ModuleSubscriptions = {
  /** Waits for the handlers under way, but no longer than this, in milliseconds. */
  stop: (withinMs: number) => Promise<void>;
};

/** Throws a plain sentence where a subscription cannot be what its module says. */
export async function startModuleSubscriptions(
  modules: readonly Module[],
  dependencies: ConsumerDependencies,
): Promise<ModuleSubscriptions> {
  const { feeds, log } = dependencies;
  const ending = new AbortController();
  const consuming: Promise<void>[] = [];
  const handled: (() => Promise<void>)[] = [];
  for (const module of modules)
    for (const definition of module.subscriptions) {
      await inPlainWords(`module ${module.name}: subscription ${definition.name}`, async () => {
        const parsed = parseSubscription(definition.body);
        if (await feeds.catalog.configure(definition.name, parsed, null))
          log.info({ subscription: definition.name, module: module.name }, "subscription created");
        if (definition.handlers.length === 0) return;
        const { mode } = parsed.configuration;
        const own = mode === "consumer-group" ? `${module.name}-${randomUUID().slice(0, 8)}` : module.name;
        const consumer = definition.consumer ?? own;
        if (!consumerName.test(consumer)) throw new Error(`${JSON.stringify(consumer)} is no name of a consumer`);
        handled.push(() => consumeHere(dependencies, definition, consumer, ending.signal));
      });
    }
  // Only when all of them are as they should be.
  for (const consume of handled) consuming.push(consume());

  return {
    async stop(withinMs) {
      ending.abort(new Error("the service stops"));
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, withinMs);
      });
      await Promise.race([Promise.all(consuming), late]);
      clearTimeout(timer);
    },
  };
}
