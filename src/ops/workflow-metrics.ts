// The metrics of what modules do: commands, and the states that deciders decide on.
import { Gauge, type Registry } from "prom-client";
import { addLabelledCounter } from "./labelled-counter.ts";

export type WorkflowSources = {
  commands: () => { command: string; done: number; refused: number; failed: number }[];
  deciders: () => {
    commands: number;
    looks: number;
    conflicts: number;
    snapshots: number;
    failedSnapshots: number;
    kept: number;
    keptBytes: number;
  };
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
  const { deciders } = sources;
  const counter = (name: string, help: string, read: () => number) =>
    addLabelledCounter(registry, name, help, [], () => [{ labels: {}, value: read() }]);
  counter(
    "sluice_decider_commands_total",
    "Commands of deciders that were answered, also by a refusal.",
    () => deciders().commands,
  );
  counter(
    "sluice_decider_looks_total",
    "Looks at streams for the state of a decider: those that were not known, that others had appended to, and before a refusal.",
    () => deciders().looks,
  );
  counter(
    "sluice_decider_conflicts_total",
    "Decisions that others were faster than, and that were made anew.",
    () => deciders().conflicts,
  );
  addLabelledCounter(
    registry,
    "sluice_decider_snapshots_total",
    "Snapshots of the states of deciders, by how saving them ended: saved or failed.",
    ["result"],
    () => {
      const { snapshots, failedSnapshots } = deciders();
      return [
        { labels: { result: "saved" }, value: snapshots },
        { labels: { result: "failed" }, value: failedSnapshots },
      ];
    },
  );
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge("sluice_decider_states", "Streams whose state this process keeps in memory.", () => deciders().kept);
  gauge(
    "sluice_decider_state_bytes",
    "About the bytes of the states that this process keeps in memory.",
    () => deciders().keptBytes,
  );
}
