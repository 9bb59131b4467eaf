// The metrics of schemas: what was validated and upcast, and how the processes that evaluate it fare.
import type { Registry } from "prom-client";
import { addLabelledCounter, type Reading } from "./labelled-counter.ts";

export type SchemaSources = {
  /** Events that were checked, by stream and by what was found. */
  validated: () => { stream: string; valid: number; warned: number; refused: number }[];
  upcasts: () => { upcast: number; failed: number };
  sandboxes: () => Record<string, { lines: number; failed: number; killed: number }>;
};

export function addSchemaMetrics(registry: Registry, sources: SchemaSources): void {
  const counter = (name: string, help: string, labelNames: string[], read: () => Reading[]) =>
    addLabelledCounter(registry, name, help, labelNames, read);
  counter(
    "sluice_events_validated_total",
    "Events checked against their schemas on streams that validate, by what was found: valid, warned or refused; beyond 200 streams without a name.",
    ["stream", "result"],
    () =>
      sources
        .validated()
        .flatMap(({ stream, ...found }) =>
          Object.entries(found).map(([result, value]) => ({ labels: { stream, result }, value })),
        ),
  );
  counter(
    "sluice_events_upcast_total",
    "Events brought to another version of their type, by how that went: upcast or failed. Readers share what is made once.",
    ["result"],
    () => Object.entries(sources.upcasts()).map(([result, value]) => ({ labels: { result }, value })),
  );
  const ofSandboxes = (of: "lines" | "failed" | "killed") => () =>
    Object.entries(sources.sandboxes()).map(([sandbox, counts]) => ({ labels: { sandbox }, value: counts[of] }));
  counter(
    "sluice_sandbox_evaluations_total",
    "Data, schemas and expressions given to the sandbox processes to be evaluated.",
    ["sandbox"],
    ofSandboxes("lines"),
  );
  counter("sluice_sandbox_failures_total", "Evaluations that failed.", ["sandbox"], ofSandboxes("failed"));
  counter(
    "sluice_sandbox_kills_total",
    "Sandbox processes that were ended because one evaluation took too much time or memory.",
    ["sandbox"],
    ofSandboxes("killed"),
  );
}
