// Says whether the service can serve.
import type { Pool } from "../storage/pool.ts";

export type Check = { ok: boolean; detail?: string };

export type HealthOptions = {
  pool: Pool;
  isDraining: () => boolean;
  /** Positions that can be appended before the partitions of the log end. */
  partitionRoom: () => number;
  tail: () => { head: number; lag: number };
  /** Null without NATS_URL. */
  bridge: () => { connected: boolean; error: string | null } | null;
};

const checkMs = 2_000;

/** The parts that must work, by name; answers within two seconds, also when the database does not. */
export async function checkHealth({
  pool,
  isDraining,
  partitionRoom,
  tail,
  bridge,
}: HealthOptions): Promise<Record<string, Check>> {
  const signal = AbortSignal.timeout(checkMs);
  const late = new Promise<never>((_, reject) =>
    signal.addEventListener("abort", () => reject(new Error(`no answer within ${checkMs} ms`)), { once: true }),
  );
  const database = await Promise.race([pool.run((sql) => sql`select 1`, signal), late]).then(
    (): Check => ({ ok: true }),
    (): Check => ({ ok: false, detail: "the database does not answer" }),
  );
  const room = partitionRoom();
  const nats = bridge();
  return {
    serving: isDraining() ? { ok: false, detail: "the service is shutting down" } : { ok: true },
    database,
    partitions: room > 0 ? { ok: true } : { ok: false, detail: "the log has no partition for the next event" },
    tail: { ok: true, detail: `position ${tail().head}, lag ${tail().lag}` },
    // The service serves without NATS: what is to be published waits in the log.
    ...(nats !== null && {
      bridge: {
        ok: true,
        detail: nats.connected ? "connected to NATS" : `not connected to NATS: ${nats.error ?? "not yet"}`,
      },
    }),
  };
}
