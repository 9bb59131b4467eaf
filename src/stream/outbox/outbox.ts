// The outbox of this process: whichever process holds the lease relays it, and is woken by those that insert.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Leases } from "../../storage/lease.ts";
import { createRelay, type RelayCounters, type RelayOptions } from "./relay.ts";

export type Outbox = {
  /** Rows were inserted and committed: they are relayed at once, by whichever process does that. Never throws. */
  wake: () => void;
  /** The same, said by another process. */
  wakeHere: () => void;
  counters: () => RelayCounters & { isRelay: boolean };
  /** Finishes what is being relayed, and leaves the rest to other processes. */
  stop: () => Promise<void>;
};

export type OutboxOptions = RelayOptions & {
  leases: Pick<Leases, "want">;
  /** How often the outbox is looked at, in milliseconds: whoever inserts need not say so. */
  intervalMs: number;
  /** Tells the other processes that there are rows. */
  announce: () => void;
  log: Log;
};

export function startOutbox({ leases, intervalMs, announce, log, ...options }: OutboxOptions): Outbox {
  const relay = createRelay({ ...options, log });
  let loop: Loop | null = null;
  let retry: ReturnType<typeof setTimeout> | null = null;
  let ended: Promise<void> = Promise.resolve();
  let stopped = false;

  async function look(signal: AbortSignal): Promise<void> {
    if (retry !== null) clearTimeout(retry);
    const retryMs = await relay.drain(signal);
    if (retryMs !== null && !signal.aborted) retry = setTimeout(() => loop?.wake(), retryMs);
  }

  function end(): void {
    if (retry !== null) clearTimeout(retry);
    const mine = loop;
    loop = null;
    if (mine !== null) ended = mine.stop();
  }

  const giveUp = leases.want("outbox", {
    onGained(lease, signal) {
      log.info({ epoch: lease.epoch }, "this process relays the outbox");
      signal.addEventListener("abort", end, { once: true });
      // What was under way when the lease was lost comes to its end first.
      void ended.then(() => {
        if (signal.aborted || stopped) return;
        relay.reset();
        loop = startLoop("outbox", intervalMs, look, log);
      });
    },
  });

  return {
    wake() {
      if (loop === null) announce();
      else loop.wake();
    },
    wakeHere: () => loop?.wake(),
    counters: () => ({ ...relay.counters(), isRelay: loop !== null }),
    async stop() {
      stopped = true;
      end();
      await ended;
      await giveUp();
    },
  };
}
