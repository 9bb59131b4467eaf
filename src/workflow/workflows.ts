// What modules bring along, put to work: the commands of this process.
import type { Log } from "../base/log.ts";
import type { Pool } from "../storage/pool.ts";
import type { Appender } from "../stream/append.ts";
import { type CommandRunner, createCommandRunner, type Runnable } from "./commands/command-runner.ts";
import { handlerCommand } from "./commands/handler-command.ts";
import { createEmission } from "./events/emission.ts";
import type { Module } from "./module/module.ts";

export type Workflows = {
  /** All commands, of whatever kind. */
  commands: readonly Runnable[];
  runner: CommandRunner;
  stop: () => Promise<void>;
};

export type WorkflowsOptions = {
  modules: readonly Module[];
  /** Name of the service. */
  service: string;
  appender: Appender;
  reads: Pool;
  writes: Pool;
  log: Log;
};

export function startWorkflows({ modules, service, appender, reads, writes, log }: WorkflowsOptions): Workflows {
  const emission = createEmission(service);
  const commands = modules.flatMap((module) => module.commands.map((command) => handlerCommand(command, emission)));
  const runner = createCommandRunner({ commands, appender, reads, writes, log });
  return { commands, runner, stop: runner.stop };
}
