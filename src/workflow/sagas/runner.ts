// Carries sagas out: takes those that are due, a bounded number at once, and gives them up when they rest.
import type { Log } from "../../base/log.ts";
import { type Loop, startLoop } from "../../base/loop.ts";
import type { Leases } from "../../storage/lease.ts";
import type { Pool } from "../../storage/pool.ts";
import { callSagaClaim, callSagaFree } from "./calls.ts";
import type { Carried } from "./carrier.ts";
import type { Instance } from "./instance.ts";
import type { SagaDefinition } from "./saga.ts";
import type { Schedule } from "./schedule.ts";

export type RunnerOptions = {
  pool: Pool;
  leases: Pick<Leases, "owner" | "want">;
  definitions: ReadonlyMap<string, SagaDefinition>;
  schedule: Schedule;
  carry: (carried: Carried) => Promise<void>;
  /** Sagas that are carried out at once. */
  concurrency: number;
  log: Log;
};

export type Runner = {
  start: () => void;
  /** Keeps a place for a saga that is about to be started by this process; false when there is none. */
  reserve: (id: string) => boolean;
  /** It was not started, or nobody knows. */
  release: (id: string, isCertain: boolean) => void;
  /** Carries out what was started in a place that was kept. */
  run: (instance: Instance) => void;
  /** Something may be due. */
  wake: () => void;
  /** Something is due in so many milliseconds. */
  dueIn: (ms: number) => void;
  counts: () => { running: number; takenOver: number };
  /** Takes no more, and lets what is under way come to an end within so many milliseconds. */
  stop: (withinMs: number) => Promise<void>;
};

const pollMs = 1_000;
const maxClaim = 200;
/** So often it is made sure that nothing is this process's without its knowing. */
const certainMs = 15_000;

type Held = { isLost: boolean; abort: AbortController };

export function createRunner(options: RunnerOptions): Runner {
  const { pool, leases, definitions, schedule, log } = options;
  const { owner } = leases;
  const known = new Map([...definitions.values()].map(({ name, version }) => [name, version]));
  const running = new Map<string, Promise<void>>();
  const reserved = new Set<string>();
  let held: Held | null = null;
  let stopping = false;
  /** Sagas may be this process's without its knowing. */
  let isUncertain = true;
  let freeing = false;
  let isMoreDue = false;
  let freeAtMs = 0;
  let certainUntilMs = 0;
  let takenOver = 0;
  let alarm: { atMs: number; timer: ReturnType<typeof setTimeout> } | null = null;
  let loop: Loop | null = null;
  let giveUpLease: (() => Promise<void>) | null = null;

  const room = () => options.concurrency - running.size - reserved.size;

  function run(instance: Instance): void {
    reserved.delete(instance.id);
    const definition = definitions.get(instance.saga);
    const mine = held;
    // Whoever has lost the lease is freed of it when the lease is there again.
    if (definition === undefined || mine === null) return;
    const carried = {
      definition,
      instance,
      isStopping: () => stopping,
      signal: mine.abort.signal,
      isLost: () => mine.isLost,
    };
    const done = options.carry(carried).then(() => {
      if (running.get(instance.id) === done) running.delete(instance.id);
      // Not after each one, so that many are taken at once.
      if (isMoreDue && room() >= Math.min(options.concurrency / 4, maxClaim / 2)) loop?.wake();
    });
    running.set(instance.id, done);
  }

  async function free(): Promise<void> {
    freeAtMs = performance.now() + pollMs;
    if (!isUncertain) {
      takenOver += await pool.run((sql) => callSagaFree(sql, null));
      return;
    }
    freeing = true;
    try {
      // What is being started now is known before the answer says so.
      const inHand = [...running.keys(), ...reserved];
      await pool.run((sql) => callSagaFree(sql, { owner, inHand }));
      isUncertain = false;
      certainUntilMs = performance.now() + certainMs;
    } finally {
      freeing = false;
    }
  }

  async function claim(): Promise<void> {
    isMoreDue = true;
    while (isMoreDue && room() > 0 && held !== null && !stopping) {
      const limit = Math.min(room(), maxClaim);
      const claimed = await pool
        .run((sql) => callSagaClaim(sql, owner, known, limit))
        .catch((error: unknown) => {
          isUncertain = true;
          throw error;
        });
      for (const instance of claimed) run(instance);
      isMoreDue = claimed.length === limit;
    }
  }

  function silence(): void {
    if (alarm !== null) clearTimeout(alarm.timer);
    alarm = null;
  }

  function dueIn(ms: number): void {
    const atMs = performance.now() + ms;
    // What comes later than the next round is found by that.
    if (ms >= pollMs || stopping || (alarm !== null && alarm.atMs <= atMs)) return;
    silence();
    alarm = { atMs, timer: setTimeout(() => loop?.wake(), Math.ceil(ms)) };
  }

  async function round(): Promise<void> {
    silence();
    if (held === null || stopping) return;
    // Before the first one is taken, or timers are judged by the clock of this machine.
    await schedule.known();
    if (performance.now() >= certainUntilMs) isUncertain = true;
    if (isUncertain || performance.now() >= freeAtMs) await free();
    await claim();
    if (isMoreDue) return;
    const nextMs = await schedule.nextDueMs();
    // Everybody looks when the next one is due: who comes first has it.
    if (nextMs !== null) dueIn(nextMs);
  }

  const wantLease = () =>
    leases.want(`sagas:${owner}`, {
      onGained(_, signal) {
        const mine: Held = { isLost: false, abort: new AbortController() };
        held = mine;
        isUncertain = true;
        signal.addEventListener("abort", () => {
          if (held === mine) held = null;
          if (stopping) return;
          // Others may take them over now.
          mine.isLost = true;
          mine.abort.abort(new Error("the lease of the sagas was lost"));
          running.clear();
        });
        loop?.wake();
      },
    });
  return {
    start() {
      loop = startLoop("sagas", pollMs, round, log);
      giveUpLease = wantLease();
    },
    reserve(id) {
      if (held === null || stopping || freeing || isUncertain || room() <= 0) return false;
      reserved.add(id);
      return true;
    },
    release(id, isCertain) {
      reserved.delete(id);
      if (!isCertain) isUncertain = true;
    },
    run,
    wake: () => loop?.wake(),
    dueIn,
    counts: () => ({ running: running.size, takenOver }),
    async stop(withinMs) {
      stopping = true;
      await loop?.stop();
      silence();
      const abort = held?.abort;
      const late = setTimeout(() => abort?.abort(new Error("the service stops")), withinMs);
      await Promise.all(running.values());
      clearTimeout(late);
      await giveUpLease?.();
    },
  };
}
