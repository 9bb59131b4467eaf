// Runs several workers on one port: each a process with everything of its own but the database. One that ends is replaced.
import { type ChildProcess, fork } from "node:child_process";
import { createServer } from "node:net";
import type { Log } from "../../base/log.ts";
import { createMeasurements } from "./measurements.ts";
import type { FromWorker, ProcessMetrics, ToWorker } from "./messages.ts";

export type SuperviseOptions<Connection> = {
  workers: number;
  /** The file to run, and the arguments that make it a worker. */
  program: { file: string; args: string[] };
  connection: Connection;
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Time that a worker has to drain, in milliseconds; then it is killed. */
  stopWithinMs: number;
  log: Log;
};

export type Workers = { url: string; stop: () => Promise<void> };

type Served = { url: string; port: number };
type Worker = { number: number; child: ChildProcess; startedAt: number };

const measureWithinMs = 1_000;
const restartMs = 100;
const maxRestartMs = 5_000;

/** Resolves when all workers serve. Throws when the port is taken or a worker does not start. */
export async function superviseWorkers<Connection>(options: SuperviseOptions<Connection>): Promise<Workers> {
  const { log } = options;
  const workers = new Map<number, Worker>();
  let port = await requireFreePort(options.host, options.port);
  let stopping = false;
  let requests = 0;
  const measurements = createMeasurements();
  const measuring = new Map<number, (own: ProcessMetrics) => void>();

  const say = (child: ChildProcess, message: ToWorker<Connection>) => {
    if (child.connected) child.send(message, () => {});
  };

  /** Starts a worker; resolves with where it serves. */
  function start(number: number): Promise<Served> {
    const child = fork(options.program.file, options.program.args);
    const worker: Worker = { number, child, startedAt: Date.now() };
    workers.set(number, worker);
    return new Promise((resolve, reject) => {
      let serves = false;
      child.on("message", (message: FromWorker) => {
        switch (message.kind) {
          case "waiting": {
            const assignment = { worker: number, connection: options.connection, port };
            return say(child, { kind: "start", assignment });
          }
          case "started":
            serves = true;
            return resolve(message);
          case "measured":
            measuring.get(message.request)?.(message.own);
            return void measuring.delete(message.request);
          case "collect":
            return void measureAll().then((all) => say(child, { kind: "collected", request: message.request, all }));
        }
      });
      child.on("error", (error) => {
        log.error({ err: error, worker: number }, "a worker cannot be started or reached");
        if (child.pid !== undefined) return;
        workers.delete(number);
        reject(error);
      });
      child.on("exit", (code, signal) => {
        workers.delete(number);
        void measurements.retire(worker);
        reject(new Error(`worker ${number} ended before it was ready`));
        if (!serves || stopping) return;
        log.warn({ worker: number, code, signal }, "a worker has ended; another takes its place");
        void replace(number, Date.now() - worker.startedAt < maxRestartMs ? restartMs : 0);
      });
    });
  }

  async function replace(number: number, delayMs: number): Promise<void> {
    for (let wait = delayMs; !stopping; wait = Math.min(Math.max(wait, restartMs) * 2, maxRestartMs)) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (stopping) return;
      try {
        await start(number);
        log.info({ worker: number }, "a worker has taken the place of another");
        return;
      } catch (error) {
        log.error({ err: error, worker: number }, "a worker did not start");
      }
    }
  }

  /** What the workers measured; of one that does not answer in time what it had counted before. */
  async function measureAll(): Promise<ProcessMetrics[]> {
    const asked = [...workers.values()].map(async (worker) => measurements.note(worker, await measure(worker)));
    await Promise.all(asked);
    return measurements.all();
  }

  function measure({ child }: Worker): Promise<ProcessMetrics | null> {
    return new Promise((resolve) => {
      const request = ++requests;
      const late = setTimeout(() => {
        measuring.delete(request);
        resolve(null);
      }, measureWithinMs);
      measuring.set(request, (measured) => {
        clearTimeout(late);
        resolve(measured);
      });
      say(child, { kind: "measure", request });
    });
  }

  async function stop(): Promise<void> {
    stopping = true;
    const ended = [...workers.values()].map(
      ({ child }) =>
        new Promise<void>((resolve) => {
          const late = setTimeout(() => child.kill("SIGKILL"), options.stopWithinMs);
          child.on("exit", () => {
            clearTimeout(late);
            resolve();
          });
          say(child, { kind: "stop" });
        }),
    );
    await Promise.all(ended);
  }

  try {
    // The first tells which port it got; only then can the others share it.
    const first = await start(1);
    port = first.port;
    const others = Array.from({ length: options.workers - 1 }, (_, i) => start(i + 2));
    await Promise.all(others);
    return { url: first.url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Ports can be shared, so a second service would take half of the first one's connections without a word. */
function requireFreePort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(port)));
  });
}
