// A worker's side of the channel to its supervisor.
import { overloaded } from "../../base/errors.ts";
import type { Assignment, FromWorker, ProcessMetrics, ToWorker } from "./messages.ts";

// Above the time that the supervisor gives the other workers.
const collectWithinMs = 2_500;

export type WorkerChannel<Connection> = {
  /** Resolves with what this worker is to do. */
  assignment: Promise<Assignment<Connection>>;
  /** Says where this worker serves. */
  started: (url: string, port: number) => void;
  /** The metrics of all workers, this one's included. Throws `overloaded` when the supervisor does not answer. */
  collect: () => Promise<ProcessMetrics[]>;
  /** Says how to measure this worker. */
  onMeasure: (measure: () => Promise<ProcessMetrics>) => void;
  /** Called when the supervisor says so, and when it is no more. */
  onStop: (stop: () => void) => void;
};

/** Opens the channel of a process that a supervisor has started. Throws in any other process. */
export function openWorkerChannel<Connection>(): WorkerChannel<Connection> {
  if (process.send === undefined) throw new Error("a worker is started by a service with WORKERS, not by hand");
  // A supervisor that has just died is noticed by `disconnect`; what could not be said then does not matter.
  const say = (message: FromWorker) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  let assign: (assignment: Assignment<Connection>) => void;
  const assignment = new Promise<Assignment<Connection>>((resolve) => {
    assign = resolve;
  });
  let measure: () => Promise<ProcessMetrics> = async () => [];
  let stop = () => process.exit(0);
  let requests = 0;
  const collecting = new Map<number, (all: ProcessMetrics[]) => void>();

  process.on("message", (message: ToWorker<Connection>) => {
    switch (message.kind) {
      case "start":
        return assign(message.assignment);
      case "stop":
        return stop();
      case "measure":
        return void measure().then((own) => say({ kind: "measured", request: message.request, own }));
      case "collected":
        collecting.get(message.request)?.(message.all);
        return void collecting.delete(message.request);
    }
  });
  process.on("disconnect", () => stop());
  say({ kind: "waiting" });

  return {
    assignment,
    started: (url, port) => say({ kind: "started", url, port }),
    collect: () =>
      new Promise((resolve, reject) => {
        const request = ++requests;
        const late = setTimeout(() => {
          collecting.delete(request);
          reject(overloaded("The supervisor of the workers does not answer"));
        }, collectWithinMs);
        collecting.set(request, (all) => {
          clearTimeout(late);
          resolve(all);
        });
        say({ kind: "collect", request });
      }),
    onMeasure(next) {
      measure = next;
    },
    onStop(next) {
      stop = next as () => never;
    },
  };
}
