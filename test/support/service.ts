// Services for tests: in this process, or as a process of its own that can be killed.
import { pino } from "pino";
import { type App, startApp } from "../../src/app.ts";
import { createLog, type Log } from "../../src/base/log.ts";
import { readConfig } from "../../src/config.ts";
import { createTestDatabase } from "./postgres.ts";

const root = new URL("../../", import.meta.url).pathname;

export type Service = App & { databaseUrl: string };

/** A service in this process on a database of its own (or the given one) and a free port. The caller stops it. */
export async function startService(env: Record<string, string> = {}, log?: Log): Promise<Service> {
  const databaseUrl = env.DATABASE_URL ?? (await createTestDatabase());
  const config = readConfig({
    PORT: "0",
    LOG_LEVEL: "silent",
    SHUTDOWN_TIMEOUT: "2s",
    MODULES: "none",
    ...env,
    DATABASE_URL: databaseUrl,
  });
  const app = await startApp(config, log ?? createLog(config.logLevel, config.serviceName));
  return { ...app, databaseUrl };
}

export type LogLine = { msg: string; err?: unknown } & Record<string, unknown>;

/** The same, and the warnings and errors that it logs. */
export async function startLoggedService(
  env: Record<string, string> = {},
): Promise<Service & { lines: () => LogLine[] }> {
  const written: string[] = [];
  const service = await startService(env, pino({ level: "warn" }, { write: (line: string) => written.push(line) }));
  return { ...service, lines: () => written.map((line) => JSON.parse(line) as LogLine) };
}

export type ServiceProcess = {
  url: string;
  pid: number;
  kill: (signal: NodeJS.Signals) => void;
  exited: Promise<number>;
};

/** How to run a program of this project on Deno, from the package of that name. */
export function denoCommand(): string[] {
  const found = [...new Bun.Glob("node_modules/@deno/*/deno").scanSync(root)];
  return [`${root}${found[0]}`, "run", "--allow-all", "--unstable-net", "--node-modules-dir=manual"];
}

/** A service as a process of its own, on this runtime or the given one; resolves when it is ready. */
export async function spawnService(
  env: Record<string, string>,
  command: readonly string[] = [process.execPath],
): Promise<ServiceProcess> {
  const child = Bun.spawn([...command, `${root}src/main.ts`, "start"], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: "0", MODULES: "none", ...env },
    stdout: "pipe",
    stderr: "inherit",
  });
  const url = await readyUrl(child.stdout, child.exited);
  return { url, pid: child.pid, kill: (signal) => child.kill(signal), exited: child.exited };
}

async function readyUrl(output: ReadableStream<Uint8Array>, exited: Promise<number>): Promise<string> {
  const decoder = new TextDecoder();
  const reader = output.getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the service ended with ${await exited} before it was ready:\n${text}`);
    text += decoder.decode(value, { stream: true });
    const url = /Sluice ready on (http:\/\/[^"\s]+)/.exec(text)?.[1];
    if (url === undefined) continue;
    // What it logs from here on has to go somewhere, or its pipe fills up.
    void (async () => {
      while (!(await reader.read()).done);
    })();
    return url;
  }
}
