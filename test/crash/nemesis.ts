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
    const heal = await beginFault(cluster, fault);
    await rest(fault.holdMs);
    await heal();
    history.add({ kind: "fault", at: history.now(), what, phase: "ends" });
  }

  for (const fault of plan) {
    if (over.signal.aborted) break;
    const place = placeOf(fault);
    await busy.get(place);
    const done = carryOut(fault).finally(() => {
      if (busy.get(place) === done) busy.delete(place);
    });
    busy.set(place, done);
    // Without a rest the next one begins while this one holds.
    if (fault.restMs > 0 && fault.kind !== "old-transaction") await done;
    await rest(fault.restMs);
  }
  if (!over.signal.aborted) await rest(durationMs);
  await Promise.all(busy.values());
  clearTimeout(timer);
}

/** Two faults of one place would heal each other. */
function placeOf({ kind, service }: PlannedFault): string {
  if (kind === "old-transaction" || kind === "crash-postgres" || kind === "fill-disk") return kind;
  if (kind.includes("service")) return `process ${service}`;
  if (kind.includes("readers")) return `readers ${service}`;
  return kind === "lose-answers" ? `writers ${service}` : `database ${service}`;
}
