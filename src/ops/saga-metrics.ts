// The metrics of sagas: what this process has done with them, and how those of all processes stand.
import { Gauge, type Registry } from "prom-client";
import { createFreshFigures } from "./fresh-figures.ts";
import { addLabelledCounter, type Reading } from "./labelled-counter.ts";

export type SagaSources = {
  counters: () => {
    started: number;
    completed: number;
    compensated: number;
    failed: number;
    stepsCompleted: number;
    stepFailures: number;
    compensationFailures: number;
    takenOver: number;
    running: number;
  };
  /** Rejects when the database is away. */
  figures: () => Promise<{ states: { state: string; count: number }[]; overdueSeconds: number }>;
};

export function addSagaMetrics(registry: Registry, { counters, figures }: SagaSources): void {
  const counter = (name: string, help: string, labels: string[], read: () => Reading[]) =>
    addLabelledCounter(registry, name, help, labels, read);
  const single = (name: string, help: string, read: () => number) =>
    counter(name, help, [], () => [{ labels: {}, value: read() }]);
  single("sluice_sagas_started_total", "Sagas that were started.", () => counters().started);
  counter("sluice_sagas_ended_total", "Sagas that ended, by their state.", ["state"], () => {
    const { completed, compensated, failed } = counters();
    return Object.entries({ Completed: completed, Compensated: compensated, Failed: failed }).map(([state, value]) => ({
      labels: { state },
      value,
    }));
  });
  single("sluice_saga_steps_completed_total", "Steps of sagas that were completed.", () => counters().stepsCompleted);
  single("sluice_saga_step_failures_total", "Attempts at steps of sagas that failed.", () => counters().stepFailures);
  single(
    "sluice_saga_compensation_failures_total",
    "Attempts at compensations that failed.",
    () => counters().compensationFailures,
  );
  single(
    "sluice_sagas_taken_over_total",
    "Sagas that this process freed because theirs had died.",
    () => counters().takenOver,
  );
  new Gauge({
    name: "sluice_sagas_in_hand",
    help: "Sagas that are carried out now, at most SAGA_CONCURRENCY a process.",
    registers: [registry],
    collect() {
      this.set(counters().running);
    },
  });

  const refresh = createFreshFigures(figures);
  new Gauge({
    name: "sluice_sagas",
    help: "Sagas of all processes that are under way or have failed, by state, each counted up to 10000.",
    labelNames: ["state"],
    // Each process reads the same table.
    aggregator: "max",
    registers: [registry],
    async collect() {
      const found = await refresh();
      this.reset();
      for (const { state, count } of found?.states ?? []) this.set({ state }, count);
    },
  });
  new Gauge({
    name: "sluice_sagas_overdue_seconds",
    help: "How long the saga that is due longest has waited for a process.",
    aggregator: "max",
    registers: [registry],
    async collect() {
      const found = await refresh();
      this.reset();
      if (found === null) this.remove();
      else this.set(found.overdueSeconds);
    },
  });
}
