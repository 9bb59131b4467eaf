// Waits until a run that is over has come to rest, and looks at what is left then.
import { setTimeout as sleep } from "node:timers/promises";
import type { Remains } from "./check/rest.ts";
import type { Cluster } from "./cluster.ts";
import type { History, ReaderDeclared } from "./history.ts";
import type { LogRow } from "./log-snapshot.ts";
import type { Readers } from "./readers.ts";

export const quietMs = 45_000;

/** Waits for the condition; an alarm when it does not come. */
export async function quiet(history: History, alarm: () => string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + quietMs; !(await condition().catch(() => false)); ) {
    if (Date.now() > deadline) return history.alarm(alarm());
    await sleep(25);
  }
}

export function servicesReady(cluster: Cluster, history: History): Promise<void> {
  return quiet(
    history,
    () => "a service is not ready though everything is healed",
    async () => {
      const answers = await Promise.all(cluster.services.map(({ port }) => fetch(`http://127.0.0.1:${port}/readyz`)));
      return answers.every((answer) => answer.status === 200);
    },
  );
}

/** Waits until each follower's cursor is at the end of what it follows, and those whose end was reached have been told. */
export async function followersArrive(history: History, readers: Readers, rows: readonly LogRow[]): Promise<void> {
  const lastPosition = rows.at(-1)?.position ?? -1;
  const lastOffsets = new Map(rows.map((row) => [row.stream, row.offset]));
  const endOf = (reader: ReaderDeclared) =>
    reader.single ? (lastOffsets.get(reader.streams?.[0] as string) ?? -1) : lastPosition;
  const arrivals = readers.followers.map(({ reader, cursor }) => {
    const end = endOf(reader);
    const late = () => `${reader.reader} stands at ${cursor()} and does not reach ${end}, the end of what it follows`;
    return quiet(history, late, async () => (cursor() ?? -2) >= end);
  });
  const ends = readers.bounded.map((bounded) => {
    const { reader, cursor, isDone } = bounded.current();
    if (reader.to === null || reader.to > endOf(reader)) return Promise.resolve();
    const late = () => `${reader.reader} stands at ${cursor()} and is not told its end at ${reader.to}`;
    return quiet(history, late, async () => isDone());
  });
  await Promise.all([...arrivals, ...ends]);
}

/** What clients hold open, as the service counts it. */
const openGauges = {
  "event streams": "sluice_sse_connections",
  "event streams of subscriptions": "sluice_subscription_streams",
  "live connections": "sluice_live_connections",
  "waiting claims": "sluice_claims_waiting",
};

async function openAt(port: number): Promise<Remains["open"]> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  // A gauge that is not there is NaN, and a violation.
  const read = (gauge: string) => Number(new RegExp(`^${gauge} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
  return Object.fromEntries(Object.entries(openGauges).map(([what, gauge]) => [what, read(gauge)]));
}

export async function whatIsLeft(cluster: Cluster, history: History): Promise<Remains[]> {
  await quiet(
    history,
    () => "what clients held open stays open after they have left",
    async () => {
      const counts = await Promise.all(cluster.services.map(({ port }) => openAt(port)));
      return counts.every((open) => Object.values(open).every((count) => count === 0));
    },
  );
  return Promise.all(
    cluster.services.map(async (service) => {
      const { rss, sockets } = await service.resources();
      return {
        service: service.index,
        open: await openAt(service.port),
        rssBytes: rss,
        sockets,
        databaseConnections: service.database.connections(),
      };
    }),
  );
}
