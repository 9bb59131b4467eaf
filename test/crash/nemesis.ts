// Carries out a schedule of faults, and heals everything at its end.
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { beginFault, type PlannedFault } from "./faults.ts";
import type { History } from "./history.ts";

/** Resolves when the schedule is over and the last fault is healed. A service is the object of one fault at a time. */
export async function runNemesis(
  cluster: Cluster,
  plan: readonly PlannedFault[],
  history: History,
  durationMs: number,
): Promise<void> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), durationMs);
  const busy = new Map<string, Promise<void>>();
  const rest = (ms: number) => sleep(ms, undefined, { signal: over.signal }).catch(() => {});

  async function carryOut(fault: PlannedFault): Promise<void> {
    const what = `${fault.kind} ${fault.service} for ${fault.holdMs} ms${fault.hard ? ", hard" : ""}`;
    history.add({ kind: "fault", at: history.now(), what, phase: "begins" });
    const heal = await beginFault(cluster, fault, history);
    await rest(fault.holdMs);
    await heal();
    history.add({ kind: "fault", at: history.now(), what, phase: "ends" });
  }

  for (const fault of plan) {
    if (over.signal.aborted) break;
    const places = placesOf(fault, cluster.services.length);
    await Promise.all(places.map((place) => busy.get(place)));
    const done = carryOut(fault).finally(() => {
      for (const place of places) if (busy.get(place) === done) busy.delete(place);
    });
    for (const place of places) busy.set(place, done);
    // Without a rest the next one begins while this one holds.
    if (fault.restMs > 0 && fault.kind !== "old-transaction") await done;
    await rest(fault.restMs);
  }
  if (!over.signal.aborted) await rest(durationMs);
  await Promise.all(busy.values());
  clearTimeout(timer);
}

/** Two faults of one place would heal each other. */
function placesOf({ kind, service }: PlannedFault, services: number): string[] {
  if (kind === "old-transaction" || kind === "crash-postgres" || kind === "fill-disk") return [kind];
  // Which process publishes is seen when it begins.
  if (kind.includes("publisher")) return Array.from({ length: services }, (_, index) => `process ${index}`);
  if (kind.includes("service")) return [`process ${service}`];
  if (kind.includes("readers")) return [`readers ${service}`];
  if (kind.includes("connection")) return [`nats ${service}`];
  if (kind.includes("nats") || kind.includes("jetstream")) return ["nats"];
  return [kind === "lose-answers" ? `writers ${service}` : `database ${service}`];
}
