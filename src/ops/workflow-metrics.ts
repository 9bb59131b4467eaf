// The metrics of what modules do: commands.
import type { Registry } from "prom-client";
import { addLabelledCounter } from "./labelled-counter.ts";

export type WorkflowSources = {
  commands: () => { command: string; done: number; refused: number; failed: number }[];
};

export function addWorkflowMetrics(registry: Registry, sources: WorkflowSources): void {
  addLabelledCounter(
    registry,
    "sluice_commands_total",
    "Commands that were run, by how they ended: done, refused (for what was asked) or failed (for how the service or the module fared).",
    ["command", "result"],
    () =>
      sources
        .commands()
        .flatMap(({ command, ...ends }) =>
          Object.entries(ends).map(([result, value]) => ({ labels: { command, result }, value })),
        ),
  );
}
