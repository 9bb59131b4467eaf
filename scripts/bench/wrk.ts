// Load over HTTP by wrk: requests a second, and how long they took.
import { outputOf, root, spawnProgram } from "./processes.ts";

export type Load = {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Requests that were answered, those of warming up among them. */
  requests: number;
};

export type LoadOptions = {
  connections: number;
  seconds: number;
  /** Events in one request; 0 for one that stands in no array. */
  array?: number;
  /** Streams that are appended to in turn. */
  streams?: number;
  /** The stream that all is appended to, if it is one. */
  stream?: string;
};

const script = `${root}scripts/bench/post.lua`;
const warmUpSeconds = 1;
const millisecondsIn: Record<string, number> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 };

/** Appends to the service, or what stands in for it. Answers other than 2xx are an error. */
export async function append(url: string, options: LoadOptions): Promise<Load> {
  const { array = 0, streams = 1, stream = "orders" } = options;
  const path = `/api/streams/${stream}/events`;
  const env = { BENCH_ARRAY: String(array), BENCH_STREAMS: String(streams), BENCH_PATH: path };
  return run(url, options, ["-s", script], env);
}

/** Runs a command, about so many ids in turn, which stand in the body for `{id}`. */
export async function command(
  url: string,
  { connections, seconds, name, body, ids = 0 }: LoadOptions & { name: string; body: string; ids?: number },
): Promise<Load> {
  const env = { BENCH_PATH: `/api/commands/${name}`, BENCH_EVENT: body, BENCH_IDS: String(ids) };
  return run(url, { connections, seconds }, ["-s", script], env);
}

export type RunningLoad = { stop: () => Promise<void> };

/** Appends until it is stopped: to a path, a body that stands for itself or for an event of an array. */
export function startAppends(
  url: string,
  { connections, array, path, event }: { connections: number; array: number; path: string; event?: string },
): RunningLoad {
  const env = { BENCH_ARRAY: String(array), BENCH_PATH: path, ...(event !== undefined && { BENCH_EVENT: event }) };
  const child = spawnProgram(["wrk", "-t1", `-c${connections}`, "-d1h", "--timeout", "60s", "-s", script, url], env);
  const report = new Response(child.stdout).text();
  return {
    async stop() {
      // On that signal it ends with its report.
      child.kill("SIGINT");
      requireSuccess(url, await report);
    },
  };
}

/** Gets one address. */
export async function get(url: string, options: LoadOptions): Promise<Load> {
  return run(url, options, [], {});
}

async function run(url: string, options: LoadOptions, args: string[], env: Record<string, string>): Promise<Load> {
  const measure = (seconds: number) =>
    outputOf(
      ["wrk", "-t1", `-c${options.connections}`, `-d${seconds}s`, "--timeout", "30s", "--latency", ...args, url],
      env,
    );
  const warmUp = await measure(warmUpSeconds);
  requireSuccess(url, warmUp);
  const report = await measure(options.seconds);
  requireSuccess(url, report);
  const latency = (share: number) => {
    const [, value, unit] = new RegExp(`^\\s+${share}%\\s+([\\d.]+)(us|ms|s|m)$`, "m").exec(report) ?? [];
    return Number(value) * (millisecondsIn[unit ?? ""] ?? Number.NaN);
  };
  return {
    perSecond: Number(/Requests\/sec:\s*([\d.]+)/.exec(report)?.[1]),
    p50Ms: latency(50),
    p99Ms: latency(99),
    requests: requestsOf(warmUp) + requestsOf(report),
  };
}

function requestsOf(report: string): number {
  return Number(/(\d+) requests in/.exec(report)?.[1]);
}

function requireSuccess(url: string, report: string): void {
  const failed = report.includes("Requests/sec") ? /Non-2xx.*|Socket errors.*/.exec(report)?.[0] : "wrk failed";
  if (failed !== undefined) throw new Error(`${url}: ${failed.trim()}`);
}
