// What a run of consumers did, in one line: seed, duration, and how often everything happened.
import type { Entry } from "./history.ts";
import type { LedgerSnapshot } from "./ledger-snapshot.ts";

export type ConsumerRunFacts = {
  seed: number;
  services: number;
  durationMs: number;
  history: readonly Entry[];
  ledger: LedgerSnapshot;
  violations: readonly string[];
};

export function summariseConsumers({
  seed,
  services,
  durationMs,
  history,
  ledger,
  violations,
}: ConsumerRunFacts): string {
  const counts = new Map<string, number>();
  const count = (what: string, by = 1) => counts.set(what, (counts.get(what) ?? 0) + by);
  const faults = new Map<string, number>();
  const subscriptions: string[] = [];
  for (const entry of history) {
    if (entry.kind === "subscription") subscriptions.push(entry.subscription);
    else if (entry.kind === "claimed") {
      count("claims");
      count("deliveries", entry.deliveries.length);
      count("again", entry.deliveries.filter(({ attempt }) => attempt > 1).length);
      if (entry.status !== 200) count("unanswered");
    } else if (entry.kind === "feed-opened") count("event streams");
    else if (entry.kind === "fed") {
      count("deliveries", entry.deliveries.length);
      count("again", entry.deliveries.filter(({ attempt }) => attempt > 1).length);
    } else if (entry.kind === "settling-answered") {
      if (entry.status !== 200) count("unanswered");
      for (const result of entry.results) count(result);
    } else if (entry.kind === "reading-answered") count("read", entry.read);
    else if (entry.kind === "unread-listed") count("unread pages");
    else if (entry.kind === "marking-answered") {
      if (entry.status === 201) count("marked");
      else if (entry.status === 409) count("marks refused");
    } else if (entry.kind === "sampled") count("samples");
    else if (entry.kind === "fault" && entry.phase === "begins") {
      const kind = entry.what.split(" ")[0] as string;
      faults.set(kind, (faults.get(kind) ?? 0) + 1);
    }
  }
  const told = ["claims", "event streams", "deliveries", "again", "settled", "extended", "already-settled", "stale"];
  const faultList = [...faults].map(([kind, times]) => `${kind} ${times}`).join(", ");
  return (
    `seed ${seed}, ${services} services, ${durationMs / 1_000} s: ${subscriptions.join(", ")}: ${ledger.events.length} events; ` +
    `${[...told, "read", "unread pages", "marked", "marks refused", "unanswered"].map((what) => `${counts.get(what) ?? 0} ${what}`).join(", ")}; ` +
    `${ledger.deadLetters.length} dead letters, ${ledger.parked.length} parked, ${counts.get("samples") ?? 0} samples; ` +
    `faults: ${faultList || "none"}; ${violations.length} violations`
  );
}
