// What a supervisor and its workers say to one another.
import type { MetricObjectWithValues, MetricValue } from "prom-client";

/** What one process measured, as it travels. */
export type ProcessMetrics = MetricObjectWithValues<MetricValue<string>>[];

/** What a worker needs to know that is not in its environment. */
export type Assignment<Connection> = {
  /** 1 for the first. */
  worker: number;
  /** Where the database is. */
  connection: Connection;
  /** The port that all workers share. */
  port: number;
};

export type ToWorker<Connection> =
  | { kind: "start"; assignment: Assignment<Connection> }
  | { kind: "stop" }
  /** Asks for the worker's own metrics. */
  | { kind: "measure"; request: number }
  /** Answers `collect`. */
  | { kind: "collected"; request: number; all: ProcessMetrics[] };

export type FromWorker =
  /** It listens for its assignment. */
  | { kind: "waiting" }
  | { kind: "started"; url: string; port: number }
  /** Answers `measure`. */
  | { kind: "measured"; request: number; own: ProcessMetrics }
  /** Asks for the metrics of all workers. */
  | { kind: "collect"; request: number };
