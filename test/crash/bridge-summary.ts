// What a run of the bridge did, in one line: seed, duration, and how often everything happened.
import type { KilledPublisher } from "./bridge-history.ts";
import type { BridgeCounts } from "./bridge-meter.ts";
import type { BridgeSnapshot } from "./bridge-snapshot.ts";
import { attemptsOf } from "./check/attempts.ts";
import { acknowledgedWhileAway } from "./check/bridge.ts";
import { strangersOf } from "./check/bridge-strangers.ts";
import type { Entry } from "./history.ts";

export type BridgeRunFacts = {
  seed: number;
  services: number;
  durationMs: number;
  history: readonly Entry[];
  snapshot: BridgeSnapshot;
  counts: BridgeCounts;
  violations: readonly string[];
};

export function summariseBridge(facts: BridgeRunFacts): string {
  const { seed, services, durationMs, history, snapshot, counts, violations } = facts;
  const appends = attemptsOf(history);
  const told = (outcome: string) => `${appends.filter((append) => append.outcome === outcome).length} ${outcome}`;
  const sum = (of: (stream: BridgeSnapshot["streams"][number]) => number) =>
    snapshot.streams.reduce((total, stream) => total + of(stream), 0);
  const faults = new Map<string, number>();
  for (const entry of history) {
    if (entry.kind !== "fault" || entry.phase !== "begins") continue;
    const kind = entry.what.split(" ")[0] as string;
    faults.set(kind, (faults.get(kind) ?? 0) + 1);
  }
  const killed = history.filter((entry): entry is KilledPublisher => entry.kind === "killed-publisher");
  const ahead = killed.filter((kill) => (kill.ahead ?? 0) > 0);
  const emptied = history.filter(({ kind }) => kind === "emptied").length;
  const putBack = history.filter(({ kind }) => kind === "put-back").length;
  const strangers = strangersOf(history);
  // What a process counted in its last moments is not known.
  const passedOver = Math.max(0, counts.received - counts.appended - counts.setAside);
  return (
    `seed ${seed}, ${services} processes of 2 services, ${durationMs / 1_000} s: ${sum(({ log }) => log.length)} events; ` +
    `appends: ${["acknowledged", "refused", "unknown"].map(told).join(", ")}, ` +
    `${acknowledgedWhileAway(history)} acknowledged while NATS was away; ` +
    `JetStream holds ${sum(({ held }) => held.length)} messages, emptied ${emptied} times; ` +
    `${sum(({ withheld }) => withheld.length)} withheld; realigned ${counts.realigned} times; ` +
    `killed between publish and cursor ${ahead.length} of ${killed.length} times, by ${ahead.reduce((total, kill) => total + (kill.ahead ?? 0), 0)} events; ` +
    `mirrored: ${sum(({ mirrored }) => mirrored.length)} events, ${sum(({ letters }) => letters.length)} dead letters, put back ${putBack} times, ` +
    `${counts.sessions} sessions, ${passedOver} messages passed over; ${strangers.length} messages of strangers; ` +
    `faults: ${[...faults].map(([what, times]) => `${what} ${times}`).join(", ") || "none"}; ${violations.length} violations`
  );
}
