// Runs commands: checks what is asked, calls the handler, and appends everything that it emitted at once or not at all.

import type { TSchema } from "@sinclair/typebox";
import {
  commandFailed,
  commandNotFound,
  commandRejected,
  idempotencyKeyInUse,
  idempotencyKeyReused,
  invalidRequest,
  Problem,
  shuttingDown,
} from "../../base/errors.ts";
import { uuidv7 } from "../../base/ids.ts";
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Appended, Appender } from "../../stream/append.ts";
import { type AppendRequest, clientKey, type Expected } from "../../stream/append-request.ts";
import { correlatedPositions } from "../../stream/correlated-positions.ts";
import type { NewEvent } from "../../stream/event.ts";
import type { Cause } from "../events/emission.ts";
import { type Checker, checkerOf } from "../handlers/checker.ts";
import { Defect } from "../handlers/defect.ts";
import { TimeLimitExceeded } from "../handlers/time-limit.ts";
import { type CommandOutcome, findAnswer, keepAnswer, type Unstored } from "./command-answers.ts";
import { orOutage } from "./outage.ts";
import { Rejection } from "./rejection.ts";

export type CommandRequest = {
  body: unknown;
  /** The workflow that goes on; null begins one. */
  workflowId: string | null;
  /** The scoped key of an idempotent request, and the hash of what it asks. */
  idempotency: { key: string; requestHash: string } | null;
  /** W3C trace context of the request, which its events bear. */
  traceparent: string | null;
  signal: AbortSignal;
};

export type CommandRunner = {
  /**
   * Runs a command. Throws `command-not-found`, `invalid-request`, `command-rejected`, `command-failed`, `command-conflict`,
   * `idempotency-key-reused`, `idempotency-key-in-use`, and what appending throws.
   */
  run: (name: string, request: CommandRequest) => Promise<CommandOutcome>;
  counters: () => CommandCounters[];
  /** Refuses new commands, and waits for those under way. */
  stop: () => Promise<void>;
};

/** Commands by how they ended. */
export type CommandCounters = { command: string; done: number; refused: number; failed: number };

/** How the code behind a command is called; what it comes to is appended by `commit`. */
export type Execution = {
  cause: Cause;
  workflow: { id: string; isNew: boolean };
  signal: AbortSignal;
  /** Appends the events of the command with its result, and resolves when they are stored. Called once with success. */
  commit: Commit;
};

/** Events of streams, in the order in which they were emitted. Throws what appending throws. */
export type Commit = (parts: readonly EmittedPart[], result: unknown) => Promise<readonly Appended[]>;
export type EmittedPart = { stream: string; events: readonly NewEvent[]; expected: Expected };

/** What is told of a command. */
export type CommandListing = {
  readonly name: string;
  readonly description: string | null;
  readonly body: TSchema;
  /** Null when it has none. */
  readonly result: TSchema | null;
};

/** A command of any kind. */
export type Runnable = CommandListing & {
  execute: (body: unknown, execution: Execution) => Promise<void>;
};

export type CommandRunnerOptions = {
  commands: readonly Runnable[];
  appender: Pick<Appender, "append" | "appendTogether">;
  reads: Pool;
  /** For what is written beside the log. */
  writes: Pool;
  log: Log;
};

/** Another process, or an earlier request, has answered the key meanwhile. */
class AnsweredBefore extends Error {}

export function createCommandRunner({ commands, appender, reads, writes, log }: CommandRunnerOptions): CommandRunner {
  const byName = new Map(commands.map((command) => [command.name, command]));
  const counters = new Map(commands.map(({ name }) => [name, { command: name, done: 0, refused: 0, failed: 0 }]));
  const bodies = new Map<string, Checker>(commands.map(({ name, body }) => [name, checkerOf(body)]));
  const answering = new Set<string>();
  const underWay = new Set<Promise<unknown>>();
  let stopped = false;

  async function isNew(workflowId: string): Promise<boolean> {
    const found = await orOutage(
      reads.run((sql) => correlatedPositions(sql, workflowId, -1, Number.MAX_SAFE_INTEGER, true, 1)),
      false,
    );
    return found.length === 0;
  }

  async function execute(command: Runnable, request: CommandRequest): Promise<CommandOutcome> {
    const { body, workflowId, idempotency, traceparent, signal } = request;
    const workflow =
      workflowId === null ? { id: uuidv7(), isNew: true } : { id: workflowId, isNew: await isNew(workflowId) };
    const cause: Cause = { correlationId: workflow.id, causationId: uuidv7(), traceparent };
    let outcome: CommandOutcome | null = null;
    const commit: Commit = async (parts, result) => {
      signal.throwIfAborted();
      const appended = await store(parts, { workflowId: workflow.id, isNew: workflow.isNew, result }, idempotency);
      const events = parts.flatMap(({ stream, events: those }, n) =>
        those.map(({ id }, i) => ({ stream, offset: appended[n]?.events[i]?.offset as number, id })),
      );
      const lastPosition = appended.length === 0 ? null : Math.max(...appended.map((part) => part.lastPosition));
      outcome = { workflowId: workflow.id, isNew: workflow.isNew, result, events, lastPosition };
      return appended;
    };
    await command.execute(body, { cause, workflow, signal, commit });
    if (outcome === null) throw new Error(`command ${command.name} ended without a commit`);
    return outcome;
  }

  /** Throws `AnsweredBefore`, and what appending throws. */
  async function store(
    parts: readonly EmittedPart[],
    told: Omit<Unstored, "events">,
    idempotency: CommandRequest["idempotency"],
  ): Promise<readonly Appended[]> {
    refuseTwice(parts);
    const requests = parts.map(
      ({ stream, events, expected }): AppendRequest => ({ stream, events, expected, idempotency: null, isList: true }),
    );
    if (idempotency === null) {
      if (requests.length === 0) return [];
      if (requests.length === 1) return [await appender.append(requests[0] as AppendRequest)];
      return (await appender.appendTogether(requests, null)) as Appended[];
    }
    const events = parts.flatMap(({ stream, events: those }) => those.map(({ id }) => ({ stream, id })));
    const answer = { ...idempotency, answer: JSON.stringify({ ...told, events } satisfies Unstored) };
    const appended =
      requests.length > 0
        ? await appender.appendTogether(requests, answer)
        : (await orOutage(keepAnswer(writes, answer), true))
          ? []
          : null;
    if (appended === null) throw new AnsweredBefore();
    return appended;
  }

  /** The outcome of an earlier request of the key, if there was one. Throws `idempotency-key-reused`. */
  async function remembered({ key, requestHash }: NonNullable<CommandRequest["idempotency"]>) {
    const found = await orOutage(findAnswer(reads, key), false);
    if (found !== null && found.requestHash !== requestHash) throw idempotencyKeyReused(clientKey(key));
    return found?.outcome ?? null;
  }

  async function once(command: Runnable, request: CommandRequest): Promise<CommandOutcome> {
    const { idempotency } = request;
    if (idempotency === null) return execute(command, request);
    if (answering.has(idempotency.key)) throw idempotencyKeyInUse(clientKey(idempotency.key));
    answering.add(idempotency.key);
    try {
      const before = await remembered(idempotency);
      if (before !== null) return before;
      return await execute(command, request).catch(async (error: unknown) => {
        const answered = error instanceof AnsweredBefore ? await remembered(idempotency) : null;
        if (answered === null) throw error;
        return answered;
      });
    } finally {
      answering.delete(idempotency.key);
    }
  }

  async function run(name: string, request: CommandRequest): Promise<CommandOutcome> {
    if (stopped) throw shuttingDown();
    const command = byName.get(name);
    if (command === undefined) throw commandNotFound(name);
    const counts = counters.get(name) as CommandCounters;
    const violations = (bodies.get(name) as Checker)(request.body);
    if (violations !== null) {
      counts.refused++;
      throw invalidRequest(violations);
    }
    try {
      const outcome = await once(command, request);
      counts.done++;
      return outcome;
    } catch (error) {
      const problem = toCommandProblem(name, error, request.signal);
      if (problem === null) throw error;
      if (problem.status < 500) counts.refused++;
      else counts.failed++;
      if (problem.code === "command-failed") log.error({ err: error, command: name }, "command failed");
      throw problem;
    }
  }

  return {
    run(name, request) {
      const running = run(name, request);
      const done = running.catch(() => {});
      underWay.add(done);
      void done.then(() => underWay.delete(done));
      return running;
    },
    counters: () => [...counters.values()],
    async stop() {
      stopped = true;
      await Promise.all(underWay);
    },
  };
}

/** Two events of one id in one stream cannot both be stored; one of them would be lost without a word. */
function refuseTwice(parts: readonly EmittedPart[]): void {
  const seen = new Set<string>();
  for (const { stream, events } of parts)
    for (const { known, id, source } of events) {
      // An id that was made here is there once.
      if (!known) continue;
      const identity = `${stream}\n${source}\n${id}`;
      if (seen.has(identity)) throw new Defect(`it emitted two events of the id ${id} to ${stream}`);
      seen.add(identity);
    }
}

/** What the client is told; null for what is no failure of the command, such as that the client has left. */
function toCommandProblem(name: string, error: unknown, signal: AbortSignal): Problem | null {
  // An event that its stream refuses is the handler's doing, not the client's.
  if (error instanceof Problem && error.code === "schema-mismatch")
    return commandFailed(name, `it emitted what its schema refuses: ${error.message}`, error);
  if (error instanceof Problem) return error;
  if (error instanceof Rejection) return commandRejected(name, error.message, error.details);
  if (error instanceof TimeLimitExceeded) return commandFailed(name, error.message, error);
  if (error instanceof Defect) return commandFailed(name, error.message, error, error.violations);
  if (signal.aborted && error === signal.reason) return null;
  return commandFailed(name, "its handler threw an error, which the log of the service tells", error);
}
