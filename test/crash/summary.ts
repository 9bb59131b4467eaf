// What a run did, in one line: seed, duration, and how often everything happened.
import type { Entry } from "./history.ts";

export type RunFacts = {
  seed: number;
  services: number;
  durationMs: number;
  history: readonly Entry[];
  checkpoint: number;
  violations: readonly string[];
};

export function summarise({ seed, services, durationMs, history, checkpoint, violations }: RunFacts): string {
  const outcomes = new Map<string, number>();
  const deletions = new Map<string, number>();
  const faults = new Map<string, number>();
  const count = (counts: Map<string, number>, what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
  let events = 0;
  let frames = 0;
  let pages = 0;
  let connections = 0;
  let ends = 0;
  let gaps = 0;
  const followers = new Set<string>();
  for (const entry of history) {
    if (entry.kind === "answered") {
      count(outcomes, entry.outcome);
      events += entry.stored.filter((event) => !event.duplicate).length;
    } else if (entry.kind === "deleted") count(deletions, entry.outcome);
    else if (entry.kind === "frame") {
      frames++;
      if (entry.name === "sluice.gap") gaps++;
      if (entry.id?.startsWith("end:")) ends++;
    } else if (entry.kind === "page") pages++;
    else if (entry.kind === "connected") {
      connections++;
      followers.add(entry.reader);
    } else if (entry.kind === "fault" && entry.phase === "begins") count(faults, entry.what.split(" ")[0] as string);
  }
  const told = (counts: Map<string, number>) =>
    ["acknowledged", "refused", "unknown"].map((name) => `${counts.get(name) ?? 0} ${name}`).join(", ");
  const faultList = [...faults].map(([kind, times]) => `${kind} ${times}`).join(", ");
  return (
    `seed ${seed}, ${services} services, ${durationMs / 1_000} s: appends ${told(outcomes)}; ` +
    `deletions ${told(deletions)}; ${events} events, ${frames} frames, ${gaps} gaps, ${ends} ends, ${pages} pages, ` +
    `${connections - followers.size} reconnects; checkpoint ${checkpoint}; faults: ${faultList || "none"}; ` +
    `${violations.length} violations`
  );
}
