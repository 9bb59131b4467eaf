// What modules bring along, put to work: the commands of this process.
import type { Log } from "../base/log.ts";
import type { Pool } from "../storage/pool.ts";
import type { Appender } from "../stream/append.ts";
import { scopeKey } from "../stream/append-request.ts";
import type { Upcasting } from "../stream/schema/upcasting.ts";
import { type CommandRunner, createCommandRunner, type Runnable } from "./commands/command-runner.ts";
import { deciderCommands } from "./commands/decider-command.ts";
import { handlerCommand } from "./commands/handler-command.ts";
import type { CallCommand } from "./commands/run-command.ts";
import { createDeciders, type DeciderCounters } from "./deciders/deciders.ts";
import { createEmission } from "./events/emission.ts";
import { asRequest, handlers } from "./handlers/from-within.ts";
import type { Module } from "./module/module.ts";

export type Workflows = {
  /** All commands, of whatever kind. */
  commands: readonly Runnable[];
  runner: CommandRunner;
  /** Runs a command for a handler, whose key is apart from those of clients. */
  call: CallCommand;
  /** Takes turns with the other processes on these streams for a moment. */
  yieldTo: (streams: readonly string[]) => void;
  deciderCounters: () => DeciderCounters;
  stop: () => Promise<void>;
};

export type WorkflowsOptions = {
  modules: readonly Module[];
  /** Name of the service. */
  service: string;
  /** Bytes of one event that code emits, at most. */
  maxEventBytes: number;
  appender: Appender;
  upcasting: Upcasting;
  reads: Pool;
  writes: Pool;
  /** Asks the other processes to take turns on a stream. */
  announce: (stream: string) => void;
  log: Log;
};

export function startWorkflows(options: WorkflowsOptions): Workflows {
  const { modules, service, appender, upcasting, reads, writes, announce, log } = options;
  const emission = createEmission(service, options.maxEventBytes);
  const deciders = createDeciders({ reads, writes, upcasting, emission, announce, log });
  const commands = modules.flatMap((module) => [
    ...module.commands.map((command) => handlerCommand(command, emission)),
    ...module.deciders.flatMap((decider) => deciderCommands(decider, deciders)),
  ]);
  const runner = createCommandRunner({ commands, appender, reads, writes, log });
  return {
    commands,
    runner,
    call(name, given, { idempotencyKey, correlationId, signal }) {
      const { body, requestHash } = asRequest(given, correlationId);
      return runner.run(name, {
        body,
        workflowId: correlationId,
        idempotency: { key: scopeKey(handlers, name, idempotencyKey), requestHash },
        traceparent: null,
        signal,
      });
    },
    yieldTo: deciders.yieldTo,
    deciderCounters: deciders.counters,
    async stop() {
      await runner.stop();
      await deciders.stop();
    },
  };
}
