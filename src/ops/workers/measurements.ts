// What all workers measured: counters of a worker that is late or gone stay in the sum, or it would seem to run backwards.
import { AggregatorRegistry } from "prom-client";
import type { ProcessMetrics } from "./messages.ts";

export type Measurements = {
  /** Notes what a worker measured; null when it did not answer in time. */
  note: (worker: object, own: ProcessMetrics | null) => void;
  /** The worker is gone: what it counted, as of its last answer, is kept. */
  retire: (worker: object) => Promise<void>;
  /** What there is to sum up. */
  all: () => ProcessMetrics[];
};

export function createMeasurements(): Measurements {
  const latest = new Map<object, ProcessMetrics>();
  let retired: ProcessMetrics = [];
  return {
    note(worker, own) {
      const before = latest.get(worker);
      if (own !== null) latest.set(worker, own);
      else if (before !== undefined) latest.set(worker, counted(before));
    },
    async retire(worker) {
      const last = latest.get(worker);
      latest.delete(worker);
      if (last === undefined) return;
      const both = AggregatorRegistry.aggregate([retired, counted(last)]);
      retired = await both.getMetricsAsJSON();
    },
    all: () => (retired.length === 0 ? [...latest.values()] : [...latest.values(), retired]),
  };
}

/** Without the gauges, which say how things are and not what has happened. */
function counted(metrics: ProcessMetrics): ProcessMetrics {
  return metrics.filter((metric) => String(metric.type) !== "gauge");
}
