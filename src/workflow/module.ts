// A module: what a service is extended with, in one file that exports it.
import type { EventType } from "./event-type.ts";

export type Module = {
  /** Lower-case letters, digits and hyphens. */
  readonly name: string;
  /** The event types that it owns. */
  readonly events: readonly EventType[];
};

const moduleName = /^[a-z][a-z0-9-]{0,62}$/;

/** The default export of a module's file. Throws on a name that is none, and on an event type that stands in it twice. */
export function defineModule({ name, events = [] }: { name: string; events?: readonly EventType[] }): Module {
  if (!moduleName.test(name))
    throw new Error(`a module is named by lower-case letters, digits and hyphens, not ${name}`);
  const twice = events.find((event, n) => events.findIndex((other) => other.name === event.name) !== n);
  if (twice !== undefined) throw new Error(`module ${name} defines ${twice.name} twice`);
  return { name, events };
}

/** What a file exports, if it is a module. */
export function asModule(value: unknown): Module | null {
  if (typeof value !== "object" || value === null) return null;
  const { name, events } = value as Partial<Module>;
  return typeof name === "string" && moduleName.test(name) && Array.isArray(events) ? (value as Module) : null;
}
