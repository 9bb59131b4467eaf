// The faults that a run knows: each begins, holds for a while, and is healed.
import type { Cluster } from "./cluster.ts";
import type { History } from "./history.ts";
import { beginNatsFault, isNatsFault, type NatsFaultKind } from "./nats-faults.ts";
import type { Random } from "./random.ts";

export const faultKinds = [
  "kill-service",
  "pause-service",
  "terminate-service",
  "kill-sandboxes",
  "crash-postgres",
  "cut-database",
  "stall-database",
  "stall-to-server",
  "stall-to-client",
  "half-open-database",
  "refuse-database",
  "lose-answers",
  "cut-readers",
  "stall-readers",
  "old-transaction",
] as const;

/** Those that need a disk of their own, or NATS, are not among the usual ones. */
export type FaultKind = (typeof faultKinds)[number] | "fill-disk" | NatsFaultKind;

/** One planned fault: which, where, how long it holds, and how long the nemesis then rests, in milliseconds. */
export type PlannedFault = { kind: FaultKind; service: number; holdMs: number; restMs: number; hard: boolean };

const longestMs: Record<FaultKind, number> = {
  "kill-service": 800,
  "pause-service": 3_000,
  "terminate-service": 500,
  "kill-sandboxes": 10,
  "crash-postgres": 100,
  "cut-database": 10,
  "stall-database": 6_000,
  "stall-to-server": 4_000,
  "stall-to-client": 4_000,
  "half-open-database": 1_500,
  "refuse-database": 1_500,
  "lose-answers": 600,
  "cut-readers": 10,
  "stall-readers": 4_000,
  "old-transaction": 12_000,
  "fill-disk": 4_000,
  "kill-nats": 2_500,
  "pause-nats": 4_000,
  "wipe-nats": 1_500,
  "delete-jetstream": 10,
  "kill-publisher": 800,
  "pause-publisher": 6_000,
  "cut-connection": 10,
  "stall-connection": 7_000,
  "stall-connection-to-server": 4_000,
  "stall-connection-to-client": 4_000,
  "half-open-connection": 4_000,
  "refuse-connection": 1_500,
  "slow-connection": 3_000,
};

/** The schedule of a run: it follows from the random source alone. The first faults are those that must occur. */
export function planFaults(
  random: Random,
  options: { kinds: readonly FaultKind[]; services: number; durationMs: number },
): PlannedFault[] {
  const plan: PlannedFault[] = [];
  let queue: FaultKind[] = [];
  for (let at = 0; at < options.durationMs; ) {
    // Each kind comes once before any comes again.
    if (queue.length === 0) queue = shuffled(random, options.kinds);
    const kind = queue.pop() as FaultKind;
    const holdMs = random.between(1, Math.min(longestMs[kind], Math.max(200, options.durationMs / 3)));
    // A rest of nothing lets two faults overlap.
    const restMs = random.chance(0.25) ? 0 : random.between(100, 1_500);
    plan.push({ kind, service: random.between(0, options.services - 1), holdMs, restMs, hard: random.chance(0.5) });
    at += (kind === "old-transaction" ? 0 : holdMs) + restMs;
  }
  return plan;
}

function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const left = [...list];
  const result: T[] = [];
  while (left.length > 0) result.push(...left.splice(random.between(0, left.length - 1), 1));
  return result;
}

/** Begins a fault; resolves with the way to heal it. */
export async function beginFault(
  cluster: Cluster,
  fault: PlannedFault,
  history: History,
): Promise<() => Promise<void>> {
  const { kind } = fault;
  if (isNatsFault(kind)) return beginNatsFault(cluster, { ...fault, kind }, history);
  const service = cluster.services[fault.service] as Cluster["services"][number];
  const { database, writes, reads } = service;
  const switched = async (proxy: typeof database, mode: Parameters<typeof database.set>[0]) => {
    await proxy.set(mode);
    return () => proxy.set("pass");
  };
  switch (kind) {
    case "kill-service":
      await service.kill();
      return () => service.start();
    case "terminate-service":
      await service.terminate();
      return () => service.start();
    case "kill-sandboxes":
      service.killSandboxes();
      return async () => {};
    case "pause-service":
      service.pause();
      return async () => service.resume();
    case "crash-postgres": {
      const { pid } = cluster.postgres;
      if (pid !== undefined) process.kill(pid, fault.hard ? "SIGKILL" : "SIGQUIT");
      // The embedded Postgres is started again by its own guard.
      return async () => {};
    }
    case "cut-database":
      database.cut();
      return async () => {};
    case "cut-readers":
      reads.cut();
      return async () => {};
    case "stall-database":
      return switched(database, "stall");
    case "stall-to-server":
      return switched(database, "stall-to-server");
    case "stall-to-client":
      return switched(database, "stall-to-client");
    case "half-open-database":
      return switched(database, "half-open");
    case "refuse-database":
      await database.set("refuse");
      database.cut();
      return () => database.set("pass");
    case "lose-answers":
      return switched(writes, "lose-answers");
    case "stall-readers":
      return switched(reads, "stall-to-client");
    case "old-transaction":
      return holdTransaction(cluster);
    case "fill-disk":
      return fillDisk(cluster, fault.hard);
    default:
      return kind satisfies never;
  }
}

/** A transaction that has an id and a snapshot and is not ended: nothing that dies meanwhile can be pruned. */
async function holdTransaction(cluster: Cluster): Promise<() => Promise<void>> {
  const sql = cluster.connect();
  const held = sql
    .unsafe("set idle_in_transaction_session_timeout = 0; begin isolation level repeatable read; select txid_current()")
    .catch(() => {});
  await Promise.race([held, new Promise((resolve) => setTimeout(resolve, 2_000))]);
  return async () => {
    await sql.end({ timeout: 0 }).catch(() => {});
  };
}

/** No byte is left. When it is hard, not even for the next transaction: Postgres needs a new file of its log, and ends. */
async function fillDisk({ disk, connect }: Cluster, hard: boolean): Promise<() => Promise<void>> {
  await disk?.fill();
  if (hard) {
    const sql = connect();
    await Promise.race([
      sql`select pg_switch_wal()`.catch(() => {}),
      new Promise((resolve) => setTimeout(resolve, 500)),
    ]);
    await sql.end({ timeout: 0 }).catch(() => {});
  }
  return async () => disk?.free();
}
