// Loads the modules that the configuration names, and makes their event types known.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Registration } from "../../stream/schema/registration.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { CommandListing } from "../commands/command-runner.ts";
import { inPlainWords } from "./explain.ts";
import { asModule, type Module } from "./module.ts";

/** The modules of these files, paths from the working directory. Throws one plain sentence where a file is none. */
export async function loadModules(paths: readonly string[]): Promise<Module[]> {
  const modules: Module[] = [];
  for (const path of paths) {
    const loaded = (await import(pathToFileURL(resolve(path)).href).catch((error: unknown) => {
      throw new Error(`module ${path} cannot be loaded: ${error instanceof Error ? error.message : error}`);
    })) as { default?: unknown };
    const module = asModule(loaded.default);
    if (module === null) throw new Error(`${path} is no module: its default export must be made by defineModule`);
    if (modules.some(({ name }) => name === module.name))
      throw new Error(`there are two modules of the name ${module.name}`);
    modules.push(module);
  }
  requireApart(modules, "event type ", ({ events }) => events);
  requireApart(modules, "stream ", ({ streams }) => streams);
  requireApart(modules, "remote stream ", ({ remoteStreams }) => remoteStreams);
  requireApart(modules, "subscription ", ({ subscriptions }) => subscriptions);
  requireApart(modules, "decider ", ({ deciders }) => deciders);
  requireApart(modules, "projection ", ({ projections }) => projections);
  requireApart(modules, "saga ", ({ sagas }) => sagas);
  requireApart(modules, "command ", (module) => commandsOf([module]));
  return modules;
}

/** What the modules define that is asked for over HTTP. */
export function extensionsOf(modules: readonly Module[]) {
  return {
    commands: commandsOf(modules),
    sagas: modules.flatMap(({ sagas }) => sagas),
    projections: modules.flatMap(({ projections }) => projections),
  };
}

function commandsOf(modules: readonly Module[]): CommandListing[] {
  return modules.flatMap(({ commands, deciders }) => [...commands, ...deciders.flatMap((decider) => decider.commands)]);
}

/** Throws where two modules, or two parts of one, define the same. */
function requireApart(
  modules: readonly Module[],
  what: string,
  partsOf: (module: Module) => readonly { name: string }[],
): void {
  const owners = new Map<string, string>();
  for (const module of modules)
    for (const { name } of partsOf(module)) {
      const owner = owners.get(name);
      if (owner === module.name) throw new Error(`module ${owner} defines the ${what}${name} twice`);
      if (owner !== undefined)
        throw new Error(`the modules ${owner} and ${module.name} both define the ${what}${name}`);
      owners.set(name, module.name);
    }
}

/**
 * Registers the versions of the modules' event types and provides their upcasters. Throws an error that says what has changed
 * where a version is registered with another schema, or why it cannot be registered.
 */
export async function registerEvents(
  modules: readonly Module[],
  registration: Pick<Registration, "register">,
  upcasting: Pick<Upcasting, "provide">,
): Promise<void> {
  for (const { name, events } of modules)
    for (const event of events)
      for (const [n, { schema, description, upcast }] of event.versions.entries()) {
        const version = n + 1;
        if (upcast !== null) upcasting.provide(event.name, version, upcast);
        await inPlainWords(`module ${name}`, () =>
          registration.register({
            type: event.name,
            version,
            schema: JSON.parse(JSON.stringify(schema)),
            description,
            // An expression that was registered over HTTP is nothing that code takes away by being silent.
            upcast: upcast === null ? "keep-expression" : { language: "code" },
            by: `module ${name}`,
          }),
        );
      }
}
