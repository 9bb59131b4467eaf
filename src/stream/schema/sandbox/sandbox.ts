// Evaluates expressions and schemas in a process apart, bounded in time and memory; one that ends is replaced.
import { overloaded, type Problem, schemasUnavailable, shuttingDown } from "../../../base/errors.ts";
import type { Log } from "../../../base/log.ts";
import { failed, type Header, type Operation, type Program, succeeded, unknownProgram } from "./protocol.ts";
import { type Ended, type SandboxProcess, startSandboxProcess } from "./sandbox-process.ts";
import { createStrikes } from "./strikes.ts";
import { type Failure, stuckPlace, tooMuch } from "./verdict.ts";

/**
 * What became of one line of input: its text, or in a plain sentence why there is none. `passing`: not for want of the line, but
 * because its program is left alone for now.
 */
export type Outcome = { text: string; error: null } | { text: null; error: string; passing: boolean };

export type Sandbox = {
  /**
   * Evaluates lines of JSON, in order. The process is started with the first call. A line that does not come to its end in
   * time or takes too much memory has an error, and so have, for a while, all lines of a program that did so again and again.
   * Throws `overloaded` when too much waits, `schemas-unavailable` when there cannot be such a process, and `shutting-down`.
   */
  run: (operation: Operation, programs: readonly Program[], lines: readonly string[]) => Promise<Outcome[]>;
  counters: () => SandboxCounters;
  stop: () => Promise<void>;
};

export type SandboxCounters = { lines: number; failed: number; killed: number };

export type SandboxOptions = {
  /** Stands in the log. */
  name: string;
  /** Processor time that one line may take, in milliseconds. */
  limitMs: number;
  log: Log;
};

type Call = {
  operation: Operation;
  programs: readonly Program[];
  lines: readonly string[];
  bytes: number;
  /** By the places of the lines; undefined where there is none yet. */
  outcomes: (Outcome | undefined)[];
  /** Places of the lines that have to be answered, in order. */
  open: number[];
  /** How many of them were handed over. */
  sent: number;
  /** The process ended in the middle of it, and nobody said at which line. */
  careful: boolean;
  /** Programs travel with their texts. */
  spelledOut: boolean;
  resolve: (outcomes: Outcome[]) => void;
  reject: (error: unknown) => void;
};

const maxWaitingBytes = 64_000_000;
/** Calls that are handed over before the first is answered: the pipe is kept full. */
const callsAhead = 4;
/** Time without an answer, in milliseconds, after which the watchdog must have died too, or the process been stopped. */
const silenceMs = 120_000;
const lookMs = 1_000;
/** A process that is asked for nothing for so long ends, in milliseconds. */
const idleMs = 300_000;
/** So many starts are tried at once; after they have failed, none for so long, in milliseconds. */
const startsTried = 2;
const restartMs = 500;
/** Processor time of a compilation, in milliseconds: large schemas take seconds. */
const compileMs = 10_000;
const leftAlone = "It has exceeded its time or memory several times, and is left alone for a minute";

export function createSandbox({ name, limitMs, log }: SandboxOptions): Sandbox {
  const counters: SandboxCounters = { lines: 0, failed: 0, killed: 0 };
  const waiting: Call[] = [];
  /** Handed over to the process, in order. */
  let handed: Call[] = [];
  let waitingBytes = 0;
  let current: SandboxProcess | null = null;
  let failedAt = Number.NEGATIVE_INFINITY;
  /** One after the other. */
  let failedStarts = 0;
  let stopped = false;
  /** Of the last answer, or of the first thing to do since. */
  let heardAt = 0;
  const { strike, isOut } = createStrikes();
  // Clocks of the day jump; this one does not.
  const now = () => performance.now();
  const timer = setInterval(lookAfter, lookMs);
  timer.unref?.();

  function start(): SandboxProcess | null {
    heardAt = now();
    try {
      const started = startSandboxProcess({
        onReady() {
          heardAt = now();
          failedStarts = 0;
        },
        onLine(line) {
          if (current === started) take(line);
        },
        onEnded(how) {
          if (current === started) ended(how);
        },
      });
      return started;
    } catch (error) {
      notStarted({ err: error });
      return null;
    }
  }

  function notStarted(why: object): void {
    log.error({ sandbox: name, ...why }, "the sandbox cannot be started");
    waiting.unshift(...handed.splice(0));
    failedStarts++;
    if (failedStarts < startsTried) {
      handOver();
      return;
    }
    failedAt = now();
    refuseAll(schemasUnavailable());
  }

  function handOver(): void {
    // What was in its way when a process ended is found out one call at a time.
    const ahead = handed[0]?.careful || waiting[0]?.careful ? 1 : callsAhead;
    while (waiting.length > 0 && handed.length < ahead) {
      const call = waiting[0] as Call;
      if (call.programs.some(({ key }) => isOut(key))) {
        waiting.shift();
        leave(call);
        continue;
      }
      current ??= start();
      if (current === null) return;
      waiting.shift();
      if (handed.length === 0) heardAt = now();
      handed.push(call);
      current.write(encode(call, current));
    }
  }

  function encode(call: Call, { known }: SandboxProcess): string {
    const header: Header = {
      operation: call.operation,
      programs: call.programs.map(({ key, text }) => ({ key, text: call.spelledOut || !known.has(key) ? text : null })),
      lines: call.open.length,
      careful: call.careful,
      limitMs,
      compileMs: Math.max(limitMs, compileMs),
    };
    for (const { key } of call.programs) known.add(key);
    call.sent = call.open.length;
    return `${JSON.stringify(header)}\n${call.open.map((at) => call.lines[at]).join("\n")}\n`;
  }

  function take(line: string): void {
    heardAt = now();
    const call = handed[0];
    if (call === undefined) return;
    if (line === unknownProgram) {
      // What was handed over behind it is answered first.
      handed.shift();
      call.spelledOut = true;
      waiting.unshift(call);
    } else if (line.startsWith(succeeded) || line.startsWith(failed)) {
      call.outcomes[call.open.shift() as number] = outcomeOf(line, call);
      if (call.open.length > 0) return;
      handed.shift();
      settle(call);
    } else {
      // Whatever this is, the answers behind it belong to who knows which lines.
      current?.kill();
      return;
    }
    handOver();
  }

  function outcomeOf(line: string, { programs }: Call): Outcome {
    const text = line.slice(1);
    if (line.startsWith(succeeded)) return { text, error: null };
    counters.failed++;
    const { error, program } = JSON.parse(text) as Failure;
    const guilty = programs[program];
    if (error === tooMuch && guilty !== undefined) strike(guilty.key);
    return { text: null, error, passing: false };
  }

  function settle(call: Call): void {
    waitingBytes -= call.bytes;
    call.resolve(call.outcomes as Outcome[]);
  }

  /** Its program was too expensive again and again: until that is some time ago nothing of it is evaluated. */
  function leave(call: Call): void {
    counters.failed += call.open.length;
    for (const at of call.open.splice(0)) call.outcomes[at] = { text: null, error: leftAlone, passing: true };
    settle(call);
  }

  /**
   * The process is gone. Its watchdog says which line was its end; else what it was at is tried once more, one line after the
   * other, and the first that is not answered was it.
   */
  function ended({ code, signal, errors, wasReady }: Ended): void {
    current = null;
    if (stopped) return;
    const why = { code, signal, errors: errors === "" ? undefined : errors };
    // No line is to blame.
    if (!wasReady) {
      notStarted(why);
      return;
    }
    log.warn({ sandbox: name, ...why }, "the sandbox has ended; another takes its place");
    const [first, ...others] = handed;
    handed = [];
    waiting.unshift(...others);
    if (first !== undefined) {
      const stuck = stuckPlace(errors);
      if (stuck !== null) blame(first, stuck.line - (first.sent - first.open.length), stuck.program);
      else if (first.careful) blame(first, 0, 0);
      else first.careful = true;
      if (first.open.length === 0) settle(first);
      else waiting.unshift(first);
    }
    handOver();
  }

  /** A line, by its place among those that are open, was the end of the process. */
  function blame(call: Call, line: number, program: number): void {
    const [at] = call.open.splice(line, 1);
    if (at === undefined) return;
    counters.killed++;
    counters.failed++;
    call.outcomes[at] = { text: null, error: tooMuch, passing: false };
    const guilty = call.programs[program];
    if (guilty !== undefined) strike(guilty.key);
  }

  function refuseAll(problem: Problem): void {
    for (const call of waiting.splice(0)) {
      waitingBytes -= call.bytes;
      call.reject(problem);
    }
  }

  function lookAfter(): void {
    const quietMs = now() - heardAt;
    if (handed.length > 0) {
      if (quietMs > silenceMs) current?.kill();
    } else if (current !== null && quietMs > idleMs) {
      const idle = current;
      current = null;
      idle.kill();
    }
  }

  return {
    run(operation, programs, lines) {
      if (stopped) return Promise.reject(shuttingDown());
      if (lines.length === 0) return Promise.resolve([]);
      if (current === null && now() - failedAt < restartMs) return Promise.reject(schemasUnavailable());
      if (waitingBytes > maxWaitingBytes)
        return Promise.reject(overloaded("Too much waits for schemas and upcasters to be evaluated"));
      let bytes = 0;
      for (const line of lines) bytes += line.length;
      waitingBytes += bytes;
      counters.lines += lines.length;
      return new Promise((resolve, reject) => {
        const outcomes = new Array<Outcome | undefined>(lines.length);
        const call: Call = {
          ...{ operation, programs, lines, bytes, outcomes, resolve, reject },
          ...{ open: [...lines.keys()], sent: 0, careful: false, spelledOut: false },
        };
        waiting.push(call);
        handOver();
      });
    },
    counters: () => counters,
    async stop() {
      stopped = true;
      clearInterval(timer);
      waiting.unshift(...handed.splice(0));
      refuseAll(shuttingDown());
      const last = current;
      current = null;
      await last?.end();
    },
  };
}
