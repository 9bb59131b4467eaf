// The metrics of projections: what this process did, and how far they are, read from the database when somebody scrapes.
import { Counter, Gauge, type Registry } from "prom-client";
import type { Log } from "../base/log.ts";

export type ProjectionFigures = {
  projection: string;
  lagEvents: number;
  lagSeconds: number;
  failed: boolean;
  paused: boolean;
  unattended: boolean;
};

export type ProjectionSources = {
  counters: () => ReadonlyMap<string, { events: number; failures: number }>;
  figures: () => Promise<ProjectionFigures[]>;
};

export type ProjectionGauges = { refresh: () => Promise<void> };

type Figure = Exclude<keyof ProjectionFigures, "projection">;

const gauges: Record<Figure, { name: string; help: string }> = {
  lagEvents: {
    name: "sluice_projection_lag_events",
    help: "Positions of the log that the projection has yet to look at.",
  },
  lagSeconds: { name: "sluice_projection_lag_seconds", help: "How long the first of them has been in the log." },
  failed: { name: "sluice_projection_failed", help: "1 when the projection has stopped at an event that fails." },
  paused: { name: "sluice_projection_paused", help: "1 when somebody has paused the projection." },
  unattended: { name: "sluice_projection_unattended", help: "1 when no process runs the projection." },
};

/** `refresh` sets the gauges anew; none has one when the database is slow. */
export function addProjectionMetrics(
  registry: Registry,
  sources: ProjectionSources,
  withinMs: number,
  log: Log,
): ProjectionGauges {
  const counter = (name: string, help: string, of: "events" | "failures") => {
    const last = new Map<string, number>();
    new Counter({
      name,
      help,
      labelNames: ["projection"],
      registers: [registry],
      collect() {
        for (const [projection, counts] of sources.counters()) {
          this.inc({ projection }, counts[of] - (last.get(projection) ?? 0));
          last.set(projection, counts[of]);
        }
      },
    });
  };
  counter("sluice_projection_events_total", "Events that projections have handled.", "events");
  counter("sluice_projection_failures_total", "Tries to handle an event that failed.", "failures");
  // Workers read the same tables: their figures differ by a moment only.
  const made = Object.entries(gauges).map(([figure, { name, help }]) => ({
    figure: figure as Figure,
    gauge: new Gauge({ name, help, labelNames: ["projection"], aggregator: "max", registers: [registry] }),
  }));
  let reading: Promise<ProjectionFigures[]> | null = null;

  /** One read at a time, however many scrape, and however long a dead connection keeps it. */
  function readOnce(): Promise<ProjectionFigures[]> {
    reading ??= sources
      .figures()
      .catch((error: unknown) => {
        log.debug({ err: error }, "the projections could not be measured");
        return [];
      })
      .finally(() => {
        reading = null;
      });
    return reading;
  }

  return {
    async refresh() {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<ProjectionFigures[]>((resolve) => {
        timer = setTimeout(() => resolve([]), withinMs);
      });
      const rows = await Promise.race([readOnce(), late]);
      clearTimeout(timer);
      for (const { figure, gauge } of made) {
        gauge.reset();
        for (const row of rows) gauge.set({ projection: row.projection }, Number(row[figure]));
      }
    },
  };
}
