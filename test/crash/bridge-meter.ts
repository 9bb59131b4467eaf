// Reads what the processes count, now and then, so that what a process had counted before it was killed is not forgotten: lower bounds.
import { setTimeout as sleep } from "node:timers/promises";

export const counted = {
  realigned: "sluice_bridge_realigned_total",
  received: "sluice_remote_received_total",
  appended: "sluice_remote_appended_total",
  setAside: "sluice_remote_set_aside_total",
  sessions: "sluice_remote_sessions_total",
} as const;

export type BridgeCounts = Record<keyof typeof counted, number>;

export type Meter = { stop: () => Promise<BridgeCounts> };

const everyMs = 300;
const names = Object.keys(counted) as (keyof BridgeCounts)[];
const nothing = (): BridgeCounts => ({ realigned: 0, received: 0, appended: 0, setAside: 0, sessions: 0 });

export function createMeter(ports: readonly number[]): Meter {
  const over = new AbortController();
  const totals = nothing();
  const running = Promise.all(ports.map((port) => follow(port)));

  async function follow(port: number): Promise<void> {
    let before = nothing();
    for (let isLast = false; !isLast; ) {
      isLast = over.signal.aborted;
      const now = await read(port);
      if (now !== null) {
        for (const name of names) totals[name] += now[name] >= before[name] ? now[name] - before[name] : now[name];
        before = now;
      }
      if (!isLast) await sleep(everyMs, undefined, { signal: over.signal }).catch(() => {});
    }
  }

  return {
    async stop() {
      over.abort();
      await running;
      return totals;
    },
  };
}

/** Null where the process does not answer. */
async function read(port: number): Promise<BridgeCounts | null> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(1_000) });
    const text = await answer.text();
    const counts = nothing();
    for (const name of names)
      counts[name] = Number(new RegExp(`^${counted[name]} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
    return counts;
  } catch {
    return null;
  }
}
