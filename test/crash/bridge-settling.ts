// Waits until everything is published and mirrored, once everything is healed and nobody appends any more.
import type { NatsServer } from "../support/nats-server.ts";
import { bridgedStreams, mirrorDatabase } from "./bridged.ts";
import type { Cluster } from "./cluster.ts";
import type { History } from "./history.ts";
import { connected } from "./scenario.ts";
import { quiet } from "./settling.ts";

type Standings = {
  outbound: { streams: { stream: string; state: string; lagEvents: string; error: string | null }[] };
};

/** Waits until everything is known to be published. */
export async function publisherCaughtUp(history: History, base: string): Promise<void> {
  let seen = "nothing was seen";
  await quiet(
    history,
    () => `the bridge has not caught up: ${seen}`,
    async () => {
      const answer = await fetch(`${base}/api/bridge`, { signal: AbortSignal.timeout(5_000) });
      const { outbound } = (await answer.json()) as Standings;
      const behind = outbound.streams.filter(({ lagEvents, state }) => lagEvents !== "0" || state !== "publishing");
      seen = JSON.stringify(behind);
      return outbound.streams.length === bridgedStreams.length && behind.length === 0;
    },
  );
}

type MirrorRow = { name: string; jetstream: string | null; created: string | null; sequence: string; retrying: number };

/** Waits until each mirror stands at the end of its JetStream stream, as that is now, and tries nothing again. */
export async function mirrorsCaughtUp(cluster: Cluster, history: History): Promise<void> {
  let seen = "nothing was seen";
  const client = await (cluster.nats as NatsServer).connect({ timeout: 5_000 });
  try {
    const manager = await client.jetstreamManager({ timeout: 5_000 });
    const hasArrived = async (rows: readonly MirrorRow[], { mirror, jetstream }: (typeof bridgedStreams)[number]) => {
      const { state, created } = await manager.streams.info(jetstream);
      const row = rows.find(({ name }) => name === mirror);
      return row?.created === created && Number(row.sequence) >= state.last_seq && row.retrying === 0;
    };
    await connected(
      cluster,
      (sql) =>
        quiet(
          history,
          () => `the mirrors have not caught up: ${seen}`,
          async () => {
            const rows = await sql<MirrorRow[]>`
              select r.name, r.jetstream, r.jetstream_created as created, r.sequence,
                (select count(*)::int from event_streaming.remote_dead_letters l
                 where l.remote_id = r.id and l.due_at is not null) as retrying
              from event_streaming.remote_streams r`;
            seen = JSON.stringify(rows);
            const arrived = await Promise.all(bridgedStreams.map((stream) => hasArrived(rows, stream)));
            return arrived.every((isThere) => isThere);
          },
        ),
      mirrorDatabase,
    );
  } finally {
    await client.close();
  }
}

/** Waits until what a burst has left in memory is given back, which the runtime does by and by. */
export function memoryComesDown(cluster: Cluster, history: History, maxBytes: number): Promise<void> {
  return quiet(
    history,
    () => "a process does not give its memory back",
    async () => {
      const resources = await Promise.all(cluster.services.map((service) => service.resources()));
      return resources.every(({ rss }) => rss <= maxBytes);
    },
  );
}
