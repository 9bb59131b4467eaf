// How far JetStream is ahead of what the publishing service has noted: what a process leaves behind that is killed between publish and cursor.
import { offsetHeader } from "../../src/delivery/bridge/outbound/message.ts";
import type { Cluster } from "./cluster.ts";

type Noted = { jetstream: string; offset: string };

/** Events over all streams; null where the database or NATS does not answer. */
export async function readAhead(cluster: Cluster): Promise<number | null> {
  const sql = cluster.connect();
  const client = await cluster.nats?.connect({ timeout: 1_000, maxReconnectAttempts: 1 }).catch(() => null);
  try {
    if (client == null) return null;
    const manager = await client.jetstreamManager({ timeout: 1_000 });
    const cursors = await sql<Noted[]>`
      select nats_stream as jetstream, "offset" from event_streaming.bridge_cursors`;
    const ahead = await Promise.all(
      cursors.map(async ({ jetstream, offset }) => {
        const { state } = await manager.streams.info(jetstream);
        // The last may be a stranger's.
        for (let seq = state.last_seq; seq >= Math.max(1, state.first_seq, state.last_seq - 20); seq--) {
          const message = await manager.streams.getMessage(jetstream, { seq });
          const published = message.header.get(offsetHeader);
          if (published !== "") return Math.max(0, Number(published) - Number(offset));
        }
        return 0;
      }),
    );
    return ahead.reduce((sum, events) => sum + events, 0);
  } catch {
    return null;
  } finally {
    await Promise.all([client?.close(), sql.end({ timeout: 0 })]).catch(() => {});
  }
}
