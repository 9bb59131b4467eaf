// A module: what a service is extended with, in one file that exports it.
import type { CommandDefinition } from "../commands/command.ts";
import type { DeciderDefinition } from "../deciders/decider.ts";
import type { EventType } from "../events/event-type.ts";
import type { SubscriptionDefinition } from "../subscriptions/define-subscription.ts";
import { requireName } from "./definition.ts";
import type { StreamDefinition } from "./stream-definition.ts";

export type Module = {
  /** Lower-case letters, digits and hyphens. */
  readonly name: string;
  /** The event types that it owns. */
  readonly events: readonly EventType[];
  /** Streams whose configuration is put at the start. */
  readonly streams: readonly StreamDefinition[];
  readonly commands: readonly CommandDefinition[];
  readonly deciders: readonly DeciderDefinition[];
  /** Subscriptions that are put at the start, and consumed here where they have handlers. */
  readonly subscriptions: readonly SubscriptionDefinition[];
};

export type ModuleOptions = Partial<Omit<Module, "name">> & { name: string };

/** The default export of a module's file. Throws on a name that is none, and on what stands in it twice. */
export function defineModule(options: ModuleOptions): Module {
  const { name, events = [], streams = [], commands = [], deciders = [], subscriptions = [] } = options;
  requireName("module", name);
  for (const parts of [events, streams, commands, deciders, subscriptions]) {
    const twice = parts.find((part, n) => parts.findIndex((other) => other.name === part.name) !== n);
    if (twice !== undefined) throw new Error(`module ${name} defines ${twice.name} twice`);
  }
  return { name, events, streams, commands, deciders, subscriptions };
}

/** What a file exports, if it is a module. */
export function asModule(value: unknown): Module | null {
  if (typeof value !== "object" || value === null) return null;
  const { name, events, streams, commands, deciders, subscriptions } = value as Partial<Module>;
  const lists = [events, streams, commands, deciders, subscriptions];
  return typeof name === "string" && lists.every((list) => Array.isArray(list)) ? (value as Module) : null;
}
