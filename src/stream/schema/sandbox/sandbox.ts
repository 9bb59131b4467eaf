// A process that evaluates expressions and schemas for this one, bounded in time and memory; one that ends is replaced.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { overloaded, type Problem, schemasUnavailable, shuttingDown } from "../../../base/errors.ts";
import type { Log } from "../../../base/log.ts";
import { onLines } from "./lines.ts";
import {
  failed,
  type Header,
  type Operation,
  type Program,
  ready,
  stuckAt,
  tooMuch,
  unknownProgram,
} from "./protocol.ts";
import { createStrikes } from "./strikes.ts";

/** What became of one line of input: its text, or in a plain sentence why there is none. */
export type Outcome = { text: string; error: null } | { text: null; error: string };

export type Sandbox = {
  /**
   * Evaluates lines of JSON, in order. The process is started with the first call. A line that does not come to its end in
   * time or takes too much memory has an error, and so have, for a while, the lines of a program that did so again and again.
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
  /** Places of the lines that have to be answered, in order; handed over, as they were handed over. */
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
/** Time without any answer, in milliseconds, after which the watchdog must have died too, or the process been stopped. */
const silenceMs = 30_000;
const lookMs = 1_000;
/** A process that is asked for nothing for so long ends, in milliseconds. */
const idleMs = 300_000;
/** After a start that failed, none is tried for so long, in milliseconds. */
const restartMs = 500;
/** Processor time of a compilation, in milliseconds: large schemas take seconds. */
const compileMs = 10_000;
const maxErrorText = 2_000;
const maxMessage = 300;
const program = fileURLToPath(new URL("./program.ts", import.meta.url));

export function createSandbox({ name, limitMs, log }: SandboxOptions): Sandbox {
  const counters: SandboxCounters = { lines: 0, failed: 0, killed: 0 };
  const waiting: Call[] = [];
  /** Handed over to the process, in order. */
  let handed: Call[] = [];
  let waitingBytes = 0;
  let child: ChildProcess | null = null;
  let known = new Set<string>();
  let isReady = false;
  let failedAt = Number.NEGATIVE_INFINITY;
  let stopped = false;
  let answeredAt = 0;
  let errors = "";
  const { strike, isOut } = createStrikes();
  const timer = setInterval(lookAfter, lookMs);
  timer.unref?.();

  function start(): ChildProcess {
    // Nothing of this process's environment, which holds passwords, is of use there.
    const { PATH, HOME, TMPDIR } = process.env;
    const env = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined));
    const started = fork(program, [], { stdio: ["pipe", "pipe", "pipe", "ipc"], env: env as NodeJS.ProcessEnv });
    known = new Set();
    isReady = false;
    errors = "";
    answeredAt = Date.now();
    onLines(started.stdout as NonNullable<typeof started.stdout>, (line) => {
      if (child === started) take(line);
    });
    started.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-maxErrorText);
    });
    // Its end is told by `exit`; what cannot be written any more is written again to the next one.
    started.stdin?.on("error", () => {});
    started.on("error", (error) => {
      log.error({ err: error, sandbox: name }, "the sandbox cannot be started or reached");
      if (started.pid === undefined && child === started) ended(null, null);
    });
    // Not `exit`: what it has written last is read by now.
    started.on("close", (code, signal) => {
      if (child === started) ended(code, signal);
    });
    return started;
  }

  function handOver(): void {
    // What was in its way when a process ended is found out one call at a time.
    const ahead = handed[0]?.careful || waiting[0]?.careful ? 1 : callsAhead;
    while (waiting.length > 0 && handed.length < ahead) {
      const call = waiting.shift() as Call;
      const guilty = call.programs.find(({ key }) => isOut(key));
      if (guilty !== undefined) {
        fail(call, "It has exceeded its time or memory several times, and is left alone for a minute");
        continue;
      }
      child ??= start();
      if (handed.length === 0) answeredAt = Date.now();
      handed.push(call);
      child.stdin?.write(encode(call));
    }
  }

  function encode(call: Call): string {
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
    if (!isReady) {
      isReady = line === ready;
      answeredAt = Date.now();
      return;
    }
    const call = handed[0];
    if (call === undefined) return;
    answeredAt = Date.now();
    if (line === unknownProgram) {
      // What was handed over behind it is answered first.
      handed.shift();
      call.spelledOut = true;
      waiting.unshift(call);
    } else {
      const isFailed = line.startsWith(failed);
      const text = line.slice(1);
      if (isFailed) counters.failed++;
      const outcome: Outcome = isFailed ? { text: null, error: messageOf(text) } : { text, error: null };
      if (outcome.error === tooMuch) for (const { key } of call.programs) strike(key);
      call.outcomes[call.open.shift() as number] = outcome;
      if (call.open.length > 0) return;
      handed.shift();
      settle(call);
    }
    handOver();
  }

  function settle(call: Call): void {
    waitingBytes -= call.bytes;
    call.resolve(call.outcomes as Outcome[]);
  }

  function fail(call: Call, error: string): void {
    counters.failed += call.open.length;
    for (const at of call.open.splice(0)) call.outcomes[at] = { text: null, error };
    settle(call);
  }

  /** The process is gone. What it was at is tried once more, one line after the other: then it is known which was its end. */
  function ended(code: number | null, signal: string | null): void {
    child = null;
    if (stopped) return;
    const [first, ...others] = handed;
    handed = [];
    const why = { sandbox: name, code, signal, errors: errors === "" ? undefined : errors };
    if (!isReady) {
      // No line is to blame.
      log.error(why, "the sandbox cannot be started");
      failedAt = Date.now();
      waiting.unshift(...(first === undefined ? [] : [first]), ...others);
      refuseAll(schemasUnavailable());
      return;
    }
    log.warn(why, "the sandbox has ended; another takes its place");
    waiting.unshift(...others);
    if (first !== undefined) {
      const stuck = stuckLine(errors);
      // Tried line by line, the first without an answer was its end.
      const answered = first.sent - first.open.length;
      if (stuck !== null || first.careful) blame(first, stuck === null ? 0 : stuck - answered);
      else first.careful = true;
      if (first.open.length === 0) settle(first);
      else waiting.unshift(first);
    }
    handOver();
  }

  /** A line, by its place among those that are open, was the end of the process. */
  function blame(call: Call, line: number): void {
    const [at] = call.open.splice(line, 1);
    if (at === undefined) return;
    counters.killed++;
    counters.failed++;
    call.outcomes[at] = { text: null, error: tooMuch };
    for (const { key } of call.programs) strike(key);
  }

  function refuseAll(problem: Problem): void {
    for (const call of waiting.splice(0)) {
      waitingBytes -= call.bytes;
      call.reject(problem);
    }
  }

  function lookAfter(): void {
    const quietMs = Date.now() - answeredAt;
    if (handed.length > 0) {
      if (quietMs > silenceMs) child?.kill("SIGKILL");
    } else if (child !== null && quietMs > idleMs) {
      const idle = child;
      child = null;
      idle.kill("SIGKILL");
    }
  }

  return {
    run(operation, programs, lines) {
      if (stopped) return Promise.reject(shuttingDown());
      if (lines.length === 0) return Promise.resolve([]);
      if (child === null && Date.now() - failedAt < restartMs) return Promise.reject(schemasUnavailable());
      if (waitingBytes > maxWaitingBytes)
        return Promise.reject(overloaded("Too much waits for schemas and upcasters to be evaluated"));
      let bytes = 0;
      for (const line of lines) bytes += line.length;
      waitingBytes += bytes;
      counters.lines += lines.length;
      return new Promise((resolve, reject) => {
        waiting.push({
          operation,
          programs,
          lines,
          bytes,
          outcomes: new Array(lines.length),
          open: [...lines.keys()],
          sent: 0,
          careful: false,
          spelledOut: false,
          resolve,
          reject,
        });
        handOver();
      });
    },
    counters: () => counters,
    async stop() {
      stopped = true;
      clearInterval(timer);
      waiting.unshift(...handed);
      handed = [];
      refuseAll(shuttingDown());
      const last = child;
      child = null;
      if (last === null || last.exitCode !== null || last.signalCode !== null) return;
      await new Promise<void>((resolve) => {
        last.once("exit", () => resolve());
        last.kill("SIGKILL");
      });
    },
  };
}

function messageOf(text: string): string {
  return (JSON.parse(text) as string).replace(/\s+/g, " ").slice(0, maxMessage);
}

/** The line of its call at which a process was stuck, as its watchdog says; null when that is not how it ended. */
function stuckLine(errors: string): number | null {
  const at = errors.lastIndexOf(stuckAt);
  return at === -1 ? null : Number.parseInt(errors.slice(at + stuckAt.length), 10);
}
