// The ledger of this process: one desk for each cursor at which somebody waits, and the way to settle what they got.
import { shuttingDown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { arrayLiteral } from "../../storage/lists.ts";
import type { Pool } from "../../storage/pool.ts";
import { removalsOf } from "../../stream/event.ts";
import type { Tail, TailBatch } from "../../stream/tail.ts";
import type { Subscription } from "../registry/subscription.ts";
import type { CandidateReader } from "./candidates.ts";
import type { Handout } from "./delivery.ts";
import { callDeliveryClaim } from "./delivery-claim.ts";
import { createDesk, type Desk } from "./desk.ts";
import type { Endings } from "./endings.ts";
import { createSettlements, type Settlements } from "./settlements.ts";
import type { Tokens } from "./token.ts";

export type ClaimOptions = {
  cursor: number;
  consumer: string;
  /** Events at most. */
  max: number;
  visibilityTimeoutMs: number;
  /** False: the events are given away for good, settled before they are sent. */
  leased: boolean;
  /** How long to wait for the first event; 0: not at all, Infinity: until the signal fires. */
  waitMs: number;
  signal: AbortSignal;
};

export type Ledger = Settlements & {
  /** Hands out events as soon as there are some; nothing when the wait is over or the signal fires. Throws `subscription-not-found`. */
  claim: (subscription: Subscription, options: ClaimOptions) => Promise<Handout>;
  /** Takes leases back that were never sent; no attempt is counted. */
  putBack: (cursor: number, leases: Handout["leases"]) => Promise<void>;
  /** Takes leases back of a consumer that has gone; they are handed out anew at once. */
  release: (cursor: number, leases: Handout["leases"], reason: string) => Promise<void>;
  /** The same of everything that a consumer holds. */
  releaseConsumer: (cursor: number, consumer: string, reason: string) => Promise<void>;
  /** Something of these cursors has changed, here or in another process; null: of any. */
  wake: (cursors: readonly number[] | null) => void;
  /** Ends all waiting: the service drains. */
  drain: () => void;
  counts: () => LedgerCounts;
};

export type LedgerCounts = {
  /** Cursors at which somebody asked lately. */
  desks: number;
  /** Claims that wait for events. */
  waiting: number;
  /** Events handed out. */
  claimed: number;
  /** Statements that handed out. */
  claims: number;
};

export type LedgerOptions = {
  pool: Pool;
  tail: Pick<Tail, "head" | "subscribe">;
  candidates: CandidateReader;
  tokens: Tokens;
  endings: Endings;
  /** Whether a subscription has terminal types, as far as this process knows. */
  mayEnd: (subscription: number) => boolean;
  findById: (id: number) => Promise<Subscription | null>;
  readHead: () => Promise<number>;
  /** Tells the other processes. */
  announce: (cursors: Iterable<number>) => void;
  log: Log;
};

const idleDeskMs = 10_000;
/** Bytes of events that all desks may have read ahead. */
const maxAheadBytes = 64_000_000;

export function createLedger(options: LedgerOptions): Ledger {
  const { pool, tail, tokens, log, announce } = options;
  const desks = new Map<number, Desk>();
  let aheadBytes = 0;
  let claimed = 0;
  let claims = 0;
  let draining = false;
  let stopped = false;
  const closing = new Set<Promise<void>>();

  const settlements = createSettlements({
    pool,
    tokens,
    mayEnd: options.mayEnd,
    review: options.endings.review,
    onSettled(cursors) {
      const elsewhere: number[] = [];
      for (const cursor of cursors) {
        const desk = desks.get(cursor);
        if (desk?.isWaiting()) desk.wakeWithCredit();
        else elsewhere.push(cursor);
      }
      if (elsewhere.length > 0) announce(elsewhere);
    },
    onReturned,
    log,
  });

  function onReturned(cursor: number): void {
    desks.get(cursor)?.wakeToLook();
    announce([cursor]);
  }

  function deskOf(subscription: Subscription, cursor: number): Desk {
    const found = desks.get(cursor);
    if (found !== undefined) return found;
    const desk = createDesk(
      {
        cursor,
        candidates: options.candidates,
        tokens,
        async call(call) {
          claims++;
          return pool.run((sql) => callDeliveryClaim(sql, call));
        },
        endings: options.endings,
        reload: () => options.findById(subscription.id),
        readHead: options.readHead,
        head: tail.head,
        settle: (gone) =>
          void background(settlements.acknowledge({ subscription: subscription.id, consumer: null, tokens: gone })),
        putBack: (leases) => background(putBack(cursor, leases)),
        announce: () => announce([cursor]),
        mayReadAhead: () => aheadBytes < maxAheadBytes,
        log,
      },
      subscription,
    );
    desks.set(cursor, desk);
    return desk;
  }

  /** What fails here is found again when the leases run out. */
  function background(work: Promise<unknown>): Promise<void> {
    const done = work.then(
      () => {},
      (error: unknown) => log.warn({ err: error }, "a lease could not be ended early"),
    );
    closing.add(done);
    return done.finally(() => closing.delete(done));
  }

  async function putBack(cursor: number, leases: Handout["leases"]): Promise<void> {
    if (leases.length === 0) return;
    const { steps, parts } = listsOf(leases);
    await pool.run((sql) => sql`select delivery_put_back(${cursor}, ${steps}::bigint[], ${parts}::smallint[])`);
    onReturned(cursor);
  }

  function onBatch(batch: TailBatch): void {
    if (desks.size === 0) return;
    for (const event of batch.events) {
      const removals = removalsOf(event);
      if (removals.size > 0) for (const desk of desks.values()) desk.remove(removals);
    }
    const streams = new Set(batch.events.map((event) => event.stream));
    const correlations = new Set(batch.events.map((event) => event.correlationId));
    for (const desk of desks.values()) {
      if (!desk.isWaiting()) continue;
      const wanted = desk.subscription();
      if (wanted.streams?.some((stream) => streams.has(stream)) ?? correlations.has(wanted.correlation)) desk.wake();
    }
  }
  const unsubscribe = tail.subscribe(onBatch);

  const sweeper = setInterval(() => {
    aheadBytes = 0;
    for (const [cursor, desk] of desks) {
      if (desk.idleMs() > idleDeskMs) {
        void desk.stop(shuttingDown());
        desks.delete(cursor);
      } else aheadBytes += desk.aheadBytes();
    }
  }, 1_000);

  return {
    ...settlements,
    claim(subscription, { cursor, consumer, max, visibilityTimeoutMs, leased, waitMs, signal }) {
      if (stopped) return Promise.reject(shuttingDown());
      if (signal.aborted) return Promise.resolve({ deliveries: [], leases: [] });
      const desk = deskOf(subscription, cursor);
      return new Promise((resolve, reject) => {
        let timer: ReturnType<typeof setTimeout> | null = null;
        const settle = () => {
          if (timer !== null) clearTimeout(timer);
          signal.removeEventListener("abort", leave);
        };
        const giveUp = desk.push({
          consumer,
          max,
          visibilityTimeoutMs,
          leased,
          impatient: waitMs === 0 || draining,
          resolve(handout) {
            settle();
            claimed += handout.deliveries.length;
            resolve(handout);
          },
          reject(error) {
            settle();
            // A desk that was gone is found anew.
            if (!desk.isWaiting()) desks.delete(cursor);
            reject(error);
          },
        });
        const leave = () => {
          settle();
          giveUp();
          resolve({ deliveries: [], leases: [] });
        };
        if (waitMs > 0 && Number.isFinite(waitMs)) timer = setTimeout(leave, waitMs);
        signal.addEventListener("abort", leave, { once: true });
      });
    },
    putBack,
    async release(cursor, leases, reason) {
      if (leases.length === 0) return;
      const { steps, parts } = listsOf(leases);
      await pool.run(
        (sql) =>
          sql`select delivery_expire(${cursor}, null, ${steps}::bigint[], ${parts}::smallint[], ${reason}, '-infinity')`,
      );
      onReturned(cursor);
    },
    async releaseConsumer(cursor, consumer, reason) {
      await pool.run((sql) => sql`select delivery_expire(${cursor}, ${consumer}, null, null, ${reason}, '-infinity')`);
      onReturned(cursor);
    },
    wake(cursors) {
      if (cursors === null) for (const desk of desks.values()) desk.wakeToLook();
      else for (const cursor of cursors) desks.get(cursor)?.wakeToLook();
    },
    drain() {
      draining = true;
      for (const desk of desks.values()) desk.dismiss();
    },
    counts() {
      let waiting = 0;
      for (const desk of desks.values()) waiting += desk.waiting();
      return { desks: desks.size, waiting, claimed, claims };
    },
    async stop() {
      stopped = true;
      unsubscribe();
      clearInterval(sweeper);
      await Promise.all([...desks.values()].map((desk) => desk.stop(shuttingDown())));
      await settlements.stop();
      await Promise.all(closing);
    },
  };
}

function listsOf(leases: Handout["leases"]): { steps: string; parts: string } {
  return {
    steps: arrayLiteral(leases.map((lease) => lease.step)),
    parts: arrayLiteral(leases.map((lease) => lease.part)),
  };
}
