// Watches the log for events that sagas wait for: one process for all looks at what is new, and makes those sagas due.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import { pause } from "../../base/pause.ts";
import { type HeldLease, isLeaseLost, type Leases } from "../../storage/lease.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Tail } from "../../stream/tail.ts";
import { callSagaWatch } from "./calls.ts";

export type WatchOptions = {
  pool: Pool;
  leases: Pick<Leases, "want">;
  tail: Pick<Tail, "head" | "subscribe">;
  /** Sagas have become due. */
  onDue: () => void;
  log: Log;
};

export type Watch = { stop: () => Promise<void> };

/** A look is due at the latest then, and so often the place is kept. */
const everyMs = 5_000;
/** Between two looks, so that a busy log is looked at in pieces that are worth it. */
const restMs = 5;

export function startWatch({ pool, leases, tail, onDue, log }: WatchOptions): Watch {
  let loop: Loop | null = null;
  let ended: Promise<void> = Promise.resolve();
  let stopped = false;

  function watch(lease: HeldLease, leaseSignal: AbortSignal): void {
    let place: number | null = null;
    let savedAt = performance.now();

    async function look(signal: AbortSignal): Promise<void> {
      place ??= await readPlace(pool);
      while (!signal.aborted && place < tail.head()) {
        const isLate = performance.now() - savedAt >= everyMs;
        const after: number = place;
        const { reached, woken } = await pool.run((sql) => callSagaWatch(sql, lease, after, tail.head(), isLate));
        place = reached;
        if (woken > 0) onDue();
        if (woken > 0 || isLate) savedAt = performance.now();
        await pause(restMs, signal);
      }
    }

    const mine = startLoop(
      "saga watch",
      everyMs,
      (signal) =>
        look(signal).catch((error: unknown) => {
          // The lease's own signal says so too.
          if (!isLeaseLost(error)) throw error;
        }),
      log,
    );
    loop = mine;
    leaseSignal.addEventListener("abort", () => {
      if (loop === mine) loop = null;
      ended = mine.stop();
    });
  }

  const leave = tail.subscribe(() => loop?.wake());
  const giveUp = leases.want("saga-watch", {
    onGained(lease, signal) {
      // What was under way when the lease was lost comes to its end first.
      void ended.then(() => {
        if (!signal.aborted && !stopped) watch(lease, signal);
      });
    },
  });

  return {
    async stop() {
      stopped = true;
      leave();
      const mine = loop;
      loop = null;
      await mine?.stop();
      await giveUp();
      await ended;
    },
  };
}

/** Up to where the log was looked through by whoever did it last. */
async function readPlace(pool: Pool): Promise<number> {
  const [row] = await pool.run((sql) => sql<{ position: string }[]>`select position from saga_watch`);
  return Number(row?.position ?? -1);
}
