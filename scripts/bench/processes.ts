// Starts the programs that are measured and the ones that measure, and ends all of them whatever happens.
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";

export type Running = { url: string; pid: number; readyMs: number; stop: () => Promise<void> };

type Child = ReturnType<typeof Bun.spawn>;

export const root = new URL("../../", import.meta.url).pathname;
const benchFolder = `${root}scripts/bench/`;
const stopWithinMs = 30_000;

const children = new Set<Child>();
const folders = new Set<string>();
const embedded = new Set<() => Promise<void>>();
let foldersMade = 0;
let ending = false;

/** A program of this folder as a process of its own; what it prints can be read line by line. */
export function spawnProgram(command: readonly string[], env: Record<string, string> = {}) {
  if (ending) throw new Error("the bench is ending");
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  children.add(child);
  void child.exited.then(() => children.delete(child));
  return child;
}

/** The command for a program of this folder, on this Bun. */
export function program(file: string, ...args: (string | number)[]): string[] {
  return [process.execPath, `${benchFolder}${file}`, ...args.map(String)];
}

/** For a program that is documented for Node: that, where it is installed. */
export function nodeOrBun(): string {
  return Bun.which("node") ?? process.execPath;
}

/** All that a program prints. Throws when it fails. */
export async function outputOf(command: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const child = spawnProgram(command, env);
  const output = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}\n${output}`);
  return output;
}

/** Starts a server and waits for the line that says where it listens. */
export async function startServer(command: readonly string[], env: Record<string, string> = {}): Promise<Running> {
  const started = performance.now();
  const child = spawnProgram(command, env);
  const lines = child.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let url: string | undefined;
  while (url === undefined) {
    const { value, done } = await lines.read();
    if (done) throw new Error(`${command.join(" ")} ended before it was ready:\n${text}`);
    text += decoder.decode(value, { stream: true });
    url = /ready on (http:\/\/[^"\s]+)/.exec(text)?.[1];
  }
  const readyMs = performance.now() - started;
  // What it prints from here on has to go somewhere, or its pipe fills up.
  void (async () => {
    while (!(await lines.read()).done);
  })();
  return { url, pid: child.pid, readyMs, stop: () => end(child) };
}

/** Ends a program: it is asked to, and killed if it takes too long. */
export async function end(child: Child): Promise<void> {
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
  await child.exited;
  clearTimeout(late);
}

/** Has something of this process stopped with the rest; returns how to stop it now. */
export function stopWithTheRest(stop: () => Promise<void>): () => Promise<void> {
  embedded.add(stop);
  return async () => {
    await stop();
    embedded.delete(stop);
  };
}

/** A path for a data folder, which is removed when the bench ends, or earlier by `removeFolder`. */
export function newFolder(name: string): string {
  const folder = `${tmpdir()}/sluice-bench-${process.pid}-${++foldersMade}-${name}`;
  folders.add(folder);
  return folder;
}

export async function removeFolder(folder: string): Promise<void> {
  // A service that had to be killed leaves its Postgres behind.
  const [pid] = (await readFile(`${folder}/postgres/postmaster.pid`, "utf8").catch(() => "")).split("\n");
  if (pid) {
    try {
      process.kill(Number(pid), "SIGQUIT");
      await Bun.sleep(1_000);
    } catch {}
  }
  await rm(folder, { recursive: true, force: true });
  folders.delete(folder);
}

/** Ends every program. */
export async function endPrograms(): Promise<void> {
  await Promise.all([...children].map(end));
  await Promise.all([...embedded].map((stop) => stop()));
}

/** Ends every program and removes every data folder. Nothing can be started any more. */
export async function endEverything(): Promise<void> {
  ending = true;
  await endPrograms();
  for (const folder of folders) await removeFolder(folder);
}
