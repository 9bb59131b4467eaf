// Keeps one generation of a projection up to date: reads, handles, tries again, stops at what it cannot handle.
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import { type HeldLease, isLeaseLost } from "../../storage/lease.ts";
import { isTooSlow } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";
import { mayPass } from "../../storage/withstand.ts";
import { pauseAfter, type RetryPolicy } from "../handlers/retry-policy.ts";
import { type Apply, HandlerFailed, type Incoming } from "./applier.ts";
import { isElsewhere, noteFailure, passOver, type Step } from "./checkpoint.ts";
import { type Generation, readGeneration } from "./generation.ts";
import type { Piece, Source } from "./source.ts";

export type RunnerCounters = { events: number; failures: number };

export type Runner = {
  /** Looks at once: for events, or for what was decided about it. */
  wake: () => void;
  /** Everything up to here is in the tables. */
  position: () => number;
  /** Of its rows, not of the tables: events that were handled in all. */
  events: () => number;
  /** It has come to the end of the log since it began. */
  caughtUp: () => boolean;
  /** Nothing is written from when this resolves until it is released: it stands at the position that this gives. */
  hold: () => Promise<number>;
  release: () => void;
  /** Ends it; resolves when nothing is under way any more. */
  stop: () => Promise<void>;
};

export type RunnerOptions = {
  generation: Generation;
  batchSize: number;
  retry: RetryPolicy;
  lease: HeldLease;
  source: Source;
  apply: Apply;
  pool: Pool;
  counters: RunnerCounters;
  /** Each time that it has handled so many events, it has changed; 0 for never. */
  milestone: number;
  /** It has come to the end of the log, or to a milestone, or was given up. */
  onChanged: () => void;
  /** Its checkpoint has moved. */
  onMoved: () => void;
  log: Log;
};

/** From one batch at the end of the log to the next, in milliseconds. */
const paceMs = 8;
/** How long a checkpoint may lag behind what was looked at, when nothing of that was for the projection, in milliseconds. */
const passOverMs = 250;
/** Time between looks at what was decided about a generation that stands still, in milliseconds. */
const lookMs = 5_000;
/** Tries of what fails for a reason that passes: the largest number that the database takes. */
const endless = 2_147_483_647;
/** A tail that says nothing for so long is looked at, in milliseconds. */
const idleMs = 60_000;
const outageMs = 100;
const maxOutageMs = 5_000;

export function startRunner(options: RunnerOptions): Runner {
  const { generation: first, batchSize, milestone, retry, lease, source, apply, pool, counters, log } = options;
  const { projection, generation } = first;
  const abort = new AbortController();
  const { signal } = abort;
  let state: Generation | null = first;
  /** Everything up to here has been looked at; the checkpoint follows. */
  let seen = first.position;
  let savedMs = performance.now();
  /** Up to here, events are handled one by one: one of them made a batch fail. */
  let singlyUpTo = -1;
  let outages = 0;
  let caughtUp = false;
  let startedMs = 0;
  let isWoken = false;
  let wakeUp: (() => void) | null = null;
  let holding: { held: () => void; released: Promise<void>; release: () => void } | null = null;

  function wake(): void {
    isWoken = true;
    wakeUp?.();
  }

  /** Until it is woken, but no longer than this. */
  function sleep(ms: number): Promise<void> {
    if (isWoken || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => wakeUp?.(), Math.max(0, ms));
      wakeUp = () => {
        clearTimeout(timer);
        wakeUp = null;
        resolve();
      };
    });
  }

  /** The row as it is now. */
  async function look(): Promise<void> {
    state = await pool.run((sql) => readGeneration(sql, projection, generation), signal);
    seen = state?.position ?? seen;
    caughtUp &&= seen >= source.head();
  }

  const step = (from: number, to: number, events: number): Step => ({
    projection,
    generation,
    from,
    to,
    events,
    lease,
  });

  function moved(to: number, events: number): void {
    if (state === null) return;
    state = { ...state, position: to, events: state.events + events, attempts: 0, failedPosition: null };
    seen = to;
    savedMs = performance.now();
    counters.events += events;
    options.onMoved();
    const passed = (handled: number) => (milestone === 0 ? 0 : Math.floor(handled / milestone));
    if (passed(state.events) !== passed(state.events - events)) options.onChanged();
  }

  /** Saves how far it has looked. */
  async function save(current: Generation): Promise<void> {
    if (seen <= current.position) return;
    const to = seen;
    await passOver(pool, step(current.position, to, 0));
    moved(to, 0);
  }

  async function handle(current: Generation, events: readonly Incoming[], to: number): Promise<void> {
    const done = await apply(events, step(current.position, to, events.length), signal);
    moved(done.to, done.events);
  }

  function triesOf({ tries }: HandlerFailed): number {
    return tries === "without-end" ? endless : tries === "once" ? 1 : retry.attempts;
  }

  async function failed(current: Generation, position: number, error: HandlerFailed): Promise<void> {
    counters.failures++;
    const limit = triesOf(error);
    const attempts = await noteFailure(pool, {
      projection,
      generation,
      from: current.position,
      failed: position,
      error: error.message,
      attempts: limit,
      lease,
    });
    if (attempts === null) return look();
    const isHalted = attempts >= limit;
    state = { ...current, attempts, failedPosition: position, halted: isHalted, lastError: error.message };
    log.warn(
      { err: error.cause ?? error, projection, generation, position, attempts },
      isHalted ? "the projection has stopped at an event" : "an event failed in a projection",
    );
    if (!isHalted) await sleep(pauseAfter(retry, attempts));
    // What it was woken by may be that somebody has decided something about the event.
    await look();
  }

  /** Handles a piece; of one in which something fails, what stands before that. */
  async function work(current: Generation, { events, upTo }: Piece): Promise<void> {
    try {
      return await handle(current, events, upTo);
    } catch (error) {
      if (signal.aborted || isElsewhere(error) || isLeaseLost(error)) throw error;
      const isTooMuch = isTooSlow(error) && events.length > 1;
      if (!(error instanceof HandlerFailed) && mayPass(error) && !isTooMuch) throw error;
      // What the database refuses of a whole batch, nobody can tell whose fault it is but by trying each.
      const failure = error instanceof HandlerFailed ? error : new HandlerFailed(0, error, { among: events.length });
      const { at, among } = failure;
      if (among > 1) singlyUpTo = (events[at + among - 1] as Incoming).position;
      if (at > 0)
        return work(current, {
          after: current.position,
          upTo: positionAt(events, at - 1),
          events: events.slice(0, at),
        });
      if (among === 1) await failed(current, positionAt(events, 0), failure);
    }
  }

  async function round(current: Generation): Promise<void> {
    // Each batch at the end of the log is a commit beside those of the appends: what comes within a moment goes together.
    const restMs = startedMs + paceMs - performance.now();
    if (caughtUp && restMs > 0) await pause(restMs, signal);
    startedMs = performance.now();
    const limit = current.attempts > 0 || seen < singlyUpTo ? 1 : batchSize;
    const piece = await source.read(seen, limit, signal);
    if (piece.events.length > 0) {
      if (holding === null) await work(current, piece);
      return;
    }
    seen = Math.max(seen, piece.upTo);
    if (seen < source.head()) {
      if (performance.now() - savedMs >= passOverMs) await save(current);
      return;
    }
    if (!caughtUp) {
      caughtUp = true;
      await save(current);
      options.onChanged();
    }
    const dueMs = savedMs + passOverMs - performance.now();
    if (seen > current.position && dueMs <= 0) return save(current);
    await sleep(seen > current.position ? dueMs : idleMs);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      isWoken = false;
      if (state === null || state.role === "retired" || state.role === "snapshot") return options.onChanged();
      try {
        const mine = holding;
        if (mine !== null) {
          await save(state);
          mine.held();
          await mine.released;
        } else if (state.paused || state.halted) {
          await sleep(lookMs);
          await look();
        } else await round(state);
        outages = 0;
      } catch (error) {
        if (signal.aborted) return;
        // The lease is lost: whoever gave it is about to say so.
        if (isLeaseLost(error)) await sleep(lookMs);
        else if (isElsewhere(error)) await look().catch(() => {});
        else await withstand(error);
      }
    }
  }

  async function withstand(error: unknown): Promise<void> {
    outages++;
    const level = mayPass(error) ? "debug" : "error";
    log[level]({ err: error, projection, generation }, "a projection cannot go on; it tries again");
    await sleep(Math.min(maxOutageMs, outageMs * 2 ** Math.min(outages, 10)));
  }

  function release(): void {
    const mine = holding;
    holding = null;
    mine?.release();
  }

  const running = run();
  return {
    wake,
    position: () => state?.position ?? -1,
    events: () => state?.events ?? 0,
    caughtUp: () => caughtUp,
    hold() {
      const held = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      holding = { held: held.resolve, released: released.promise, release: released.resolve };
      wake();
      return Promise.race([held.promise, running]).then(() => state?.position ?? -1);
    },
    release,
    async stop() {
      abort.abort(new Error("the projection is not run here any more"));
      release();
      wake();
      await running;
    },
  };
}

const positionAt = (events: readonly Incoming[], at: number) => (events[at] as Incoming).position;
