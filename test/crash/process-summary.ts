// What a run of processes did, in one line: seed, duration, and how often everything happened.
import type { Entry } from "./history.ts";
import type { ProcessSnapshot } from "./process-snapshot.ts";

export type ProcessRunFacts = {
  seed: number;
  services: number;
  durationMs: number;
  history: readonly Entry[];
  snapshot: ProcessSnapshot;
  violations: readonly string[];
};

export function summariseProcesses(facts: ProcessRunFacts): string {
  const { seed, services, durationMs, history, snapshot, violations } = facts;
  const counts = tallied(
    history.flatMap((entry) => {
      if (entry.kind === "command-answered") return [`commands ${entry.outcome}`];
      if (entry.kind === "saga-started") return [`starts ${entry.outcome}`];
      if (entry.kind === "outbox-written") return [`transactions ${entry.outcome}`];
      if (entry.kind === "model-read") return ["reads"];
      return entry.kind === "saga-managed" ? [entry.what] : [];
    }),
  );
  const faults = tallied(
    history.flatMap((entry) =>
      entry.kind === "fault" && entry.phase === "begins" ? [entry.what.split(" ")[0] as string] : [],
    ),
  );
  const ends = tallied(snapshot.sagas.map(({ state }) => state));
  const told = (what: string) => `${counts.get(what) ?? 0} ${what.split(" ").at(-1)}`;
  const three = (what: string) =>
    ["acknowledged", "refused", "unknown"].map((one) => told(`${what} ${one}`)).join(", ");
  return (
    `seed ${seed}, ${services} services, ${durationMs / 1_000} s: ${snapshot.events.length} events; ` +
    `commands: ${three("commands")}; starts: ${three("starts")}; sagas: ${listed(ends)}; ` +
    `${told("pause")}, ${told("cancel")}; outbox: ${snapshot.written.length} rows committed, ` +
    `transactions ${["committed", "rolled-back", "unknown"].map((one) => told(`transactions ${one}`)).join(", ")}; ` +
    `${told("reads")} of projections; faults: ${listed(faults)}; ${violations.length} violations`
  );
}

function tallied(what: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of what) counts.set(one, (counts.get(one) ?? 0) + 1);
  return counts;
}

const listed = (counts: ReadonlyMap<string, number>) =>
  [...counts].map(([what, times]) => `${what} ${times}`).join(", ") || "none";
