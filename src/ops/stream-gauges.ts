// Gauges with one figure of each stream, all from one read of the database.
import { Gauge, type Registry } from "prom-client";
import { createFreshFigures } from "./fresh-figures.ts";

/** A figure that is null is left out. */
type Row<Figures> = { stream: string } & Readonly<Figures>;
type Named<Figures> = Exclude<keyof Figures, "stream">;

export type AddStreamGauge<Figures> = (name: string, help: string, figure: Named<Figures>) => void;

/** `read` rejects when the database is away: there are no figures then. */
export function streamGaugesIn<Figures extends Record<Named<Figures>, number | null>>(
  registry: Registry,
  read: () => Promise<readonly Row<Figures>[]>,
): AddStreamGauge<Figures> {
  const refresh = createFreshFigures(read);
  return (name, help, figure) => {
    new Gauge({
      name,
      help,
      labelNames: ["stream"],
      // Each process reads the same tables.
      aggregator: "max",
      registers: [registry],
      async collect() {
        const rows = await refresh();
        this.reset();
        for (const row of rows ?? []) {
          const value = row[figure];
          if (value !== null) this.set({ stream: row.stream }, value);
        }
      },
    });
  };
}
