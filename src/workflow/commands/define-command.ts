// Defines commands.
import type { Static, TSchema, TVoid } from "@sinclair/typebox";
import { requireDuration, requireName } from "../module/definition.ts";
import type { CommandDefinition, CommandOptions } from "./command.ts";

/** Longest time of a handler, in milliseconds. */
const maxHandlerMs = 60_000;

/** A command, which is run by `POST /api/commands/{name}`. Throws on a name or a timeout that is none. */
export function defineCommand<Body extends TSchema, Result extends TSchema = TVoid>(
  name: string,
  { description, body, result, timeout = "5s", handle }: CommandOptions<Body, Result>,
): CommandDefinition<Static<Body>, Static<Result>> {
  return {
    kind: "command",
    name: requireName("command", name),
    description: description ?? null,
    body,
    result: result ?? null,
    timeoutMs: requireDuration(`command ${name}: timeout`, timeout, 1, maxHandlerMs),
    handle: handle as CommandDefinition["handle"],
  };
}
