// A module: what a service is extended with, in one file that exports it.
import type { CommandDefinition } from "../commands/command.ts";
import type { DeciderDefinition } from "../deciders/decider.ts";
import type { EventType } from "../events/event-type.ts";
import type { ProjectionDefinition } from "../projections/definition.ts";
import type { SagaDefinition } from "../sagas/saga.ts";
import type { SubscriptionDefinition } from "../subscriptions/define-subscription.ts";
import { requireName } from "./definition.ts";
import type { RemoteStreamDefinition } from "./remote-stream-definition.ts";
import type { StreamDefinition } from "./stream-definition.ts";

/** What a module consists of. */
type Parts = {
  /** The event types that it owns. */
  readonly events: readonly EventType[];
  /** Streams whose configuration is put at the start. */
  readonly streams: readonly StreamDefinition[];
  /** Streams of other services that are mirrored here. */
  readonly remoteStreams: readonly RemoteStreamDefinition[];
  readonly commands: readonly CommandDefinition[];
  readonly deciders: readonly DeciderDefinition[];
  /** Subscriptions that are put at the start, and consumed here where they have handlers. */
  readonly subscriptions: readonly SubscriptionDefinition[];
  readonly projections: readonly ProjectionDefinition[];
  readonly sagas: readonly SagaDefinition[];
};

const none: Parts = {
  events: [],
  streams: [],
  remoteStreams: [],
  commands: [],
  deciders: [],
  subscriptions: [],
  projections: [],
  sagas: [],
};
const kinds = Object.keys(none) as (keyof Parts)[];

export type Module = Parts & {
  /** Lower-case letters, digits and hyphens. */
  readonly name: string;
};

export type ModuleOptions = Partial<Parts> & { name: string };

/** The default export of a module's file. Throws on a name that is none, and on what stands in it twice. */
export function defineModule(options: ModuleOptions): Module {
  const module: Module = { ...none, ...options };
  const { name } = module;
  requireName("module", name);
  for (const kind of kinds) {
    const parts: readonly { name: string }[] = module[kind];
    const twice = parts.find((part, n) => parts.findIndex((other) => other.name === part.name) !== n);
    if (twice !== undefined) throw new Error(`module ${name} defines ${twice.name} twice`);
  }
  const idle = module.sagas.find(({ steps }) => steps.length === 0);
  if (idle !== undefined) throw new Error(`saga ${idle.name} has no steps`);
  return module;
}

/** What a file exports, if it is a module. */
export function asModule(value: unknown): Module | null {
  if (typeof value !== "object" || value === null) return null;
  const module = value as Partial<Module>;
  return typeof module.name === "string" && kinds.every((kind) => Array.isArray(module[kind]))
    ? (module as Module)
    : null;
}
