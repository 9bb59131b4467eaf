// Those who read the projections while a run goes on, and somebody who has them built anew now and then.
import { setTimeout as sleep } from "node:timers/promises";
import type { History } from "./history.ts";
import { createHttpConnection } from "./http-connection.ts";
import type { ModelRead } from "./process-history.ts";
import type { Random } from "./random.ts";

export type ModelReadersOptions = { history: History; random: Random; ports: readonly number[]; stop: AbortSignal };

export const projections = ["stream-tally", "type-tally"] as const;

const silenceMs = 6_000;

export async function runModelReaders({ history, random, ports, stop }: ModelReadersOptions): Promise<void> {
  async function read(name: string, projection: string): Promise<void> {
    const own = random.fork(name);
    while (!stop.aborted) {
      const found = await readModel(history, own.pick(ports), projection);
      if (found !== null) history.add(found);
      await sleep(own.between(20, 200));
    }
  }

  async function rebuild(): Promise<void> {
    const own = random.fork("rebuilder");
    while (!stop.aborted) {
      await sleep(own.between(500, 3_000), undefined, { signal: stop }).catch(() => {});
      if (stop.aborted) break;
      const path = `/api/projections/${own.pick(projections)}/rebuild`;
      await send(own.pick(ports), "POST", path).catch(() => null);
    }
  }

  const readers = projections.flatMap((name) => [0, 1].map((i) => read(`${name}-reader-${i}`, name)));
  await Promise.all([...readers, rebuild()]);
}

/** Null when there is no answer, or none with the model. */
export async function readModel(history: History, port: number, projection: string): Promise<ModelRead | null> {
  const invokedAt = history.now();
  // The one answers by pages, the other by code of its own.
  const query = projection === "stream-tally" ? "?limit=1000" : "";
  const answer = await send(port, "GET", `/api/projections/${projection}${query}`).catch(() => null);
  if (answer === null || answer.status !== 200) return null;
  const { position, rows } = JSON.parse(answer.body) as { position: string; rows: Record<string, string | number>[] };
  return {
    ...{ kind: "model-read", invokedAt, at: history.now(), projection, position: Number(position) },
    rows: rows.map((row) => ({
      key: String(row.stream ?? row.type),
      events: Number(row.events),
      checksum: Number(row.checksum),
    })),
  };
}

async function send(port: number, method: "GET" | "POST", path: string) {
  const connection = createHttpConnection(port);
  try {
    return await connection.send({ method, path, silenceMs });
  } finally {
    connection.close();
  }
}
