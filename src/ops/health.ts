// Says whether the service can serve.
import type { Pool } from "../storage/pool.ts";

export type Check = { ok: boolean; detail?: string };

export type HealthOptions = {
  pool: Pool;
  isDraining: () => boolean;
  /** Positions that can be appended before the partitions of the log end. */
  partitionRoom: () => number;
  tail: () => { head: number; lag: number };
};

const checkMs = 2_000;

/** The parts that must work, by name; answers within two seconds, also when the database does not. */
export async function checkHealth({
  pool,
  isDraining,
  partitionRoom,
  tail,
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
  return {
    serving: isDraining() ? { ok: false, detail: "the service is shutting down" } : { ok: true },
    database,
    partitions: room > 0 ? { ok: true } : { ok: false, detail: "the log has no partition for the next event" },
    tail: { ok: true, detail: `position ${tail().head}, lag ${tail().lag}` },
  };
}
