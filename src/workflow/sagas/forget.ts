// Forgets sagas that came to a good end long ago: one process for all, now and then.
import type { Log } from "../../base/log.ts";
import { startLoop } from "../../base/loop.ts";
import type { Pool } from "../../storage/pool.ts";
import { beginDuty } from "../../stream/duty.ts";
import { callSagasForget } from "./calls.ts";

const everyMs = 60_000;
const atOnce = 1_000;

export function startForgettingSagas(pool: Pool, windowMs: number, log: Log): { stop: () => Promise<void> } {
  const loop = startLoop(
    "sagas forgotten",
    everyMs,
    async (signal) => {
      if (!(await beginDuty(pool, "sagas", everyMs))) return;
      while (!signal.aborted && (await pool.run((sql) => callSagasForget(sql, windowMs, atOnce))) === atOnce);
    },
    log,
  );
  return { stop: loop.stop };
}
