// How handlers run the commands of modules.
import type { TSchema } from "@sinclair/typebox";
import type { DeciderDefinition } from "../deciders/decider.ts";
import type { CommandDefinition } from "./command.ts";
import type { CommandOutcome } from "./command-answers.ts";

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
  /** The same, and returns all that the command came to: where its events stand too. */
  readonly outcome: RunOutcome;
};

type RunOutcome = {
  <Body, Result>(command: CommandDefinition<Body, Result>, body: Body): Promise<OutcomeOf<Result>>;
  <State extends TSchema, Bodies extends object, Name extends keyof Bodies & string>(
    decider: DeciderDefinition<State, Bodies>,
    command: Name,
    body: Bodies[Name],
  ): Promise<OutcomeOf<unknown>>;
};

type OutcomeOf<Result> = Omit<CommandOutcome, "result"> & { readonly result: Result };

/** Runs a command by its name; throws problems. */
export type CallCommand = (
  name: string,
  body: unknown,
  cause: { idempotencyKey: string; correlationId: string; signal: AbortSignal },
) => Promise<CommandOutcome>;

/** What handlers are given; `call` is told the name and the body. */
export function runCommandBy(call: (name: string, body: unknown) => Promise<CommandOutcome>): RunCommand {
  const outcome = (of: CommandDefinition | DeciderDefinition, ...rest: readonly unknown[]) =>
    of.kind === "decider" ? call(rest[0] as string, rest[1]) : call(of.name, rest[0]);
  const run = async (of: CommandDefinition | DeciderDefinition, ...rest: readonly unknown[]) =>
    (await outcome(of, ...rest)).result;
  return Object.assign(run, { outcome }) as unknown as RunCommand;
}
