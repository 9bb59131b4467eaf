// The metrics of the outbox: what was relayed and set aside, and what waits.
import { Gauge, type Registry } from "prom-client";
import { counterIn } from "./counter.ts";
import { createFreshFigures } from "./fresh-figures.ts";

export type OutboxSources = {
  counters: () => { relayed: number; setAside: number; isRelay: boolean };
  /** How the outbox stands; rejects when the database is away. */
  standing: () => Promise<{ waiting: number; waitingSince: string | null; failed: number }>;
};

export function addOutboxMetrics(registry: Registry, { counters, standing }: OutboxSources): void {
  const counter = counterIn(registry);
  counter("sluice_outbox_relayed_total", "Rows of the outbox that became events.", () => counters().relayed);
  counter("sluice_outbox_set_aside_total", "Rows of the outbox that cannot become events.", () => counters().setAside);
  new Gauge({
    name: "sluice_outbox_relays",
    help: "Processes that relay the outbox: one, or none while it passes on.",
    registers: [registry],
    collect() {
      this.set(counters().isRelay ? 1 : 0);
    },
  });

  const refresh = createFreshFigures(async () => {
    const { waiting, waitingSince, failed } = await standing();
    const seconds = waitingSince === null ? 0 : Math.max(0, (Date.now() - Date.parse(waitingSince)) / 1_000);
    return { waiting, seconds, failed };
  });
  const gauge = (name: string, help: string, figure: "waiting" | "seconds" | "failed") => {
    new Gauge({
      name,
      help,
      // Each process reads the same table.
      aggregator: "max",
      registers: [registry],
      async collect() {
        const figures = await refresh();
        this.reset();
        if (figures !== null) this.set(figures[figure]);
        else this.remove();
      },
    });
  };
  gauge("sluice_outbox_waiting", "Rows of the outbox that are no events yet, counted up to 10000.", "waiting");
  gauge("sluice_outbox_waiting_seconds", "How long the oldest row of the outbox has waited.", "seconds");
  gauge("sluice_outbox_failed", "Rows of the outbox that cannot become events, counted up to 10000.", "failed");
}
