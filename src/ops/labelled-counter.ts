// A counter with labels whose values something else counts: read when the metrics are.
import { Counter, type Registry } from "prom-client";

export type Reading = { labels: Record<string, string>; value: number };

export function addLabelledCounter(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  read: () => Reading[],
): void {
  const last = new Map<string, number>();
  new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      for (const { labels, value } of read()) {
        const key = JSON.stringify(labels);
        this.inc(labels, value - (last.get(key) ?? 0));
        last.set(key, value);
      }
    },
  });
}
