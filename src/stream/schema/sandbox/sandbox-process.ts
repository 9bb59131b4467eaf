// One process of a sandbox: starts it, writes calls to it, reads its lines, and tells how it ended.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onLines } from "./lines.ts";
import { ready } from "./protocol.ts";

/** How a process ended: its exit, and what it wrote to its errors last. */
export type Ended = { code: number | null; signal: string | null; errors: string; wasReady: boolean };

export type SandboxProcess = {
  /** Programs whose texts it has been sent. */
  known: Set<string>;
  write: (text: string) => void;
  kill: () => void;
  /** Kills it, and resolves when it is gone. */
  end: () => Promise<void>;
};

export type SandboxProcessOptions = {
  onReady: () => void;
  onLine: (line: string) => void;
  /** Called once, after its last line. */
  onEnded: (ended: Ended) => void;
};

const maxErrorText = 2_000;
const file = fileURLToPath(new URL("./program.ts", import.meta.url));

/** Throws when no process can be started. */
export function startSandboxProcess({ onReady, onLine, onEnded }: SandboxProcessOptions): SandboxProcess {
  // Nothing of this process's environment, which holds passwords, is of use there.
  const { PATH, HOME, TMPDIR } = process.env;
  const env = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined));
  const child: ChildProcess = fork(file, [], { stdio: ["pipe", "pipe", "pipe", "ipc"], env: env as NodeJS.ProcessEnv });
  let isReady = false;
  let hasEnded = false;
  let errors = "";

  function ended(code: number | null, signal: string | null): void {
    if (hasEnded) return;
    hasEnded = true;
    onEnded({ code, signal, errors, wasReady: isReady });
  }

  child.on("error", (error) => {
    errors += error.message;
    // One that was never there does not close.
    if (child.pid === undefined) ended(null, null);
  });
  // Not `exit`: what it has written last is read by then.
  child.on("close", ended);
  const { stdin, stdout, stderr } = child;
  if (!stdin || !stdout || !stderr) {
    child.kill("SIGKILL");
    throw new Error("the process has no pipes");
  }
  // Its end is told by `close`; what cannot be written any more is written again to the next one.
  stdin.on("error", () => {});
  stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-maxErrorText);
  });
  onLines(stdout, (line) => {
    if (isReady) return onLine(line);
    isReady = line === ready;
    if (isReady) onReady();
  });
  return {
    known: new Set(),
    write: (text) => void stdin.write(text),
    kill: () => void child.kill("SIGKILL"),
    end() {
      if (hasEnded || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
      return new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.kill("SIGKILL");
      });
    },
  };
}
