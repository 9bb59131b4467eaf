// The faults around NATS: of the server, of what JetStream holds, of one process's connection, and of the process that publishes.
import { setTimeout as sleep } from "node:timers/promises";
import type { ProxyMode, TcpProxy } from "../support/tcp-proxy.ts";
import { readAhead } from "./ahead.ts";
import { publishing } from "./bridged.ts";
import type { Cluster } from "./cluster.ts";
import type { PlannedFault } from "./faults.ts";
import type { History } from "./history.ts";

/** Of the server and its connections. */
export const natsFaultKinds = [
  "kill-nats",
  "pause-nats",
  "wipe-nats",
  "delete-jetstream",
  "cut-connection",
  "stall-connection",
  "stall-connection-to-server",
  "stall-connection-to-client",
  "half-open-connection",
  "refuse-connection",
  "slow-connection",
] as const;
/** Of the process that publishes, whichever that is. */
export const publisherFaultKinds = ["kill-publisher", "pause-publisher"] as const;

export type NatsFaultKind = (typeof natsFaultKinds)[number] | (typeof publisherFaultKinds)[number];

const kinds: ReadonlySet<string> = new Set([...natsFaultKinds, ...publisherFaultKinds]);
export const isNatsFault = (kind: string): kind is NatsFaultKind => kinds.has(kind);

const modes: Partial<Record<NatsFaultKind, ProxyMode>> = {
  "stall-connection": "stall",
  "stall-connection-to-server": "stall-to-server",
  "stall-connection-to-client": "stall-to-client",
  "half-open-connection": "half-open",
  "refuse-connection": "refuse",
  "slow-connection": "slow",
};

type Planned = Omit<PlannedFault, "kind"> & { kind: NatsFaultKind };
type Node = Cluster["services"][number];

/** Begins a fault; resolves with the way to heal it. */
export async function beginNatsFault(cluster: Cluster, fault: Planned, history: History): Promise<() => Promise<void>> {
  const { nats } = cluster;
  if (nats === null) throw new Error(`there is no NATS for ${fault.kind}`);
  const proxy = (cluster.services[fault.service] as Node).nats as TcpProxy;
  const mode = modes[fault.kind];
  if (mode !== undefined) {
    await proxy.set(mode);
    // Who has a connection does not notice that new ones are refused.
    if (mode === "refuse") proxy.cut();
    return () => proxy.set("pass");
  }
  const away = (isAway: boolean) => history.add({ kind: "nats-away", at: history.now(), isAway });
  const back = async () => {
    away(false);
    await nats.start();
  };
  switch (fault.kind) {
    case "kill-nats":
      await nats.kill();
      away(true);
      return back;
    case "wipe-nats":
      // Said before: whatever was published until then may be gone.
      history.add({ kind: "emptied", at: history.now(), jetstream: null });
      await nats.wipe();
      away(true);
      return back;
    case "pause-nats":
      nats.signal("SIGSTOP");
      away(true);
      return async () => {
        away(false);
        nats.signal("SIGCONT");
      };
    case "delete-jetstream":
      await deleteStream(cluster, fault, history);
      return async () => {};
    case "cut-connection":
      proxy.cut();
      return async () => {};
    case "kill-publisher": {
      const { node, underWay } = await publisherUnderLoad(cluster);
      await node.kill();
      history.add({ kind: "killed-publisher", at: history.now(), underWay, ahead: await readAhead(cluster) });
      return () => node.start();
    }
    case "pause-publisher": {
      const { node } = await publisherUnderLoad(cluster);
      node.pause();
      return async () => node.resume();
    }
    default:
      throw new Error(`${fault.kind} is no fault of NATS`);
  }
}

const lookingMs = 2_000;

/** The process that publishes, in a moment when messages of its are not confirmed, if there is one soon. */
async function publisherUnderLoad({ services }: Cluster): Promise<{ node: Node; underWay: number }> {
  // The mirroring service holds the lease too, and has nothing to publish.
  const candidates = services.filter(({ service }) => service === publishing);
  let found = candidates[0] as Node;
  for (const deadline = Date.now() + lookingMs; Date.now() < deadline; await sleep(5)) {
    for (const node of candidates) {
      const text = await metricsOf(node.port);
      if (!/^sluice_bridge_publishes 1$/m.test(text)) continue;
      found = node;
      const underWay = Number(/^sluice_bridge_pending (\d+)$/m.exec(text)?.[1] ?? 0);
      if (underWay > 0) return { node, underWay };
    }
  }
  return { node: found, underWay: 0 };
}

/** Empty where the process does not answer. */
async function metricsOf(port: number): Promise<string> {
  const signal = AbortSignal.timeout(300);
  return fetch(`http://127.0.0.1:${port}/metrics`, { signal }).then(
    (answer) => answer.text(),
    () => "",
  );
}

/** Deletes one of the JetStream streams while connections stand. */
async function deleteStream({ nats }: Cluster, { holdMs }: Planned, history: History): Promise<void> {
  const client = await nats?.connect({ timeout: 1_000, maxReconnectAttempts: 3 }).catch(() => null);
  if (client == null) return;
  try {
    const manager = await client.jetstreamManager({ timeout: 1_000 });
    const names = (await manager.streams.names().next()).sort();
    if (names.length === 0) return;
    const jetstream = names[holdMs % names.length] as string;
    history.add({ kind: "emptied", at: history.now(), jetstream });
    await manager.streams.delete(jetstream);
  } catch {
    // It may be gone, and may not: the history says so.
  } finally {
    await client.close().catch(() => {});
  }
}
