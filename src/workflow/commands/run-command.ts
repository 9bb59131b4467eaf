// How handlers run the commands of modules.
import type { TSchema } from "@sinclair/typebox";
import type { DeciderDefinition } from "../deciders/decider.ts";
import type { CommandDefinition } from "./command.ts";

/**
 * Runs a command, of a module or of a decider, and returns its result. It has its effect once, however often the handler is
 * tried: its idempotency key follows from what is handled. Throws when the command is refused or fails.
 */
export type RunCommand = {
  <Body, Result>(command: CommandDefinition<Body, Result>, body: Body): Promise<Result>;
  <State extends TSchema, Bodies extends object, Name extends keyof Bodies & string>(
    decider: DeciderDefinition<State, Bodies>,
    command: Name,
    body: Bodies[Name],
  ): Promise<unknown>;
};

/** Runs a command by its name; throws problems. */
export type CallCommand = (
  name: string,
  body: unknown,
  cause: { idempotencyKey: string; correlationId: string; signal: AbortSignal },
) => Promise<{ result: unknown }>;

/** What handlers are given; `call` is told the name and the body. */
export function runCommandBy(call: (name: string, body: unknown) => Promise<unknown>): RunCommand {
  return ((of: CommandDefinition | DeciderDefinition, ...rest: readonly unknown[]) =>
    of.kind === "decider" ? call(rest[0] as string, rest[1]) : call(of.name, rest[0])) as RunCommand;
}
