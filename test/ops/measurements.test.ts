import { expect, test } from "bun:test";
import { renderMetrics } from "../../src/ops/metrics.ts";
import { createMeasurements } from "../../src/ops/workers/measurements.ts";
import type { ProcessMetrics } from "../../src/ops/workers/messages.ts";

const measured = (count: number, open: number) =>
  [
    { name: "c_total", help: "c", type: "counter", aggregator: "sum", values: [{ value: count, labels: {} }] },
    { name: "open", help: "o", type: "gauge", aggregator: "sum", values: [{ value: open, labels: {} }] },
  ] as unknown as ProcessMetrics;

async function figures(all: ProcessMetrics[]): Promise<Record<string, number>> {
  const { text } = await renderMetrics(all);
  return Object.fromEntries([...text.matchAll(/^(\w+) (\d+)$/gm)].map((match) => [match[1], Number(match[2])]));
}

test("a counter never runs backwards: not when a worker is late, nor when one ends and another takes its place", async () => {
  const measurements = createMeasurements();
  const [a, b, c] = [{}, {}, {}];
  measurements.note(a, measured(100, 3));
  measurements.note(b, measured(50, 2));
  expect(await figures(measurements.all())).toEqual({ c_total: 150, open: 5 });
  measurements.note(a, measured(110, 3));
  measurements.note(b, null);
  expect(await figures(measurements.all())).toEqual({ c_total: 160, open: 3 });
  await measurements.retire(a);
  measurements.note(b, measured(51, 2));
  measurements.note(c, measured(1, 1));
  expect(await figures(measurements.all())).toEqual({ c_total: 162, open: 3 });
  await measurements.retire(b);
  expect(await figures(measurements.all())).toEqual({ c_total: 162, open: 1 });
});
