// How handlers run the commands of modules.
import type { TSchema } from "@sinclair/typebox";
import type { DeciderDefinition } from "../deciders/decider.ts";
import type { CommandDefinition } from "./command.ts";

/**
 * Runs a command, of a module or of a decider, and returns its result. It has its effect once, however often the handler is
 * tried: the idempotency key follows from what is handled. Throws a `Rejection` when the command is refused.
 */
export type RunCommand = {
  <Body, Result>(command: CommandDefinition<Body, Result>, body: Body): Promise<Result>;
  <State extends TSchema, Bodies extends object, Name extends keyof Bodies & string>(
    decider: DeciderDefinition<State, Bodies>,
    command: Name,
    body: Bodies[Name],
  ): Promise<unknown>;
};
