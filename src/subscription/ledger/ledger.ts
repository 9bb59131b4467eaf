// The ledger of this process: one desk for each cursor at which somebody waits, and the way to settle what they got.
import { shuttingDown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";

import { StalledConnection } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";
import { runAgain } from "../../storage/retry.ts";
import { removalsOf } from "../../stream/event.ts";
import type { Tail, TailBatch } from "../../stream/tail.ts";
import type { Subscription } from "../registry/subscription.ts";
import { boundedReader, type CandidateReader } from "./candidates.ts";
import type { Handout } from "./delivery.ts";
import { callDeliveryClaim, callGroupSetAside } from "./delivery-claim.ts";
import { createDesk, type Desk } from "./desk.ts";
import type { Endings } from "./endings.ts";
import { createPutBacks, type PutBacks } from "./put-backs.ts";
import { createSettlements, type Settlements } from "./settlements.ts";
import { createStirs } from "./stirs.ts";
import type { Tokens } from "./token.ts";

export type ClaimOptions = {
  cursor: number;
  consumer: string;
  /** Events at most. */
  max: number;
  visibilityTimeoutMs: number;
  /** Settled before they are sent, as far as the subscription allows. */
  autoAcknowledge: boolean;
  /** How long to wait for the first event; 0: not at all, Infinity: until the signal fires. */
  waitMs: number;
  /** Nothing new behind this position, which is committed; undefined: whatever there is. */
  upTo?: number | undefined;
  signal: AbortSignal;
};

export type Ledger = Settlements &
  Pick<PutBacks, "putBack" | "release"> & {
    /** Hands out events as soon as there are some; nothing when the wait is over or the signal fires. Throws `subscription-not-found`. */
    claim: (subscription: Subscription, options: ClaimOptions) => Promise<Handout>;
    /** Takes everything back that a consumer holds, to hand it out anew; no attempt is counted. */
    putBackHeld: (cursor: number, consumer: string) => Promise<void>;
    /** The leases that a consumer holds. */
    heldBy: (cursor: number, consumer: string) => Promise<Handout["leases"]>;
    /** Where a cursor stands, and the last position that is committed. */
    standing: (cursor: number) => Promise<{ place: number; head: number }>;
    /** Whether something waits for this member of a consumer group that it may be handed now, if it has credit. */
    isOwed: (cursor: number, consumer: string) => Promise<boolean>;
    /** Resolves when there may be something new to claim, and now and then; or when the signal fires. */
    stir: (subscription: Subscription, cursor: number, signal: AbortSignal) => Promise<void>;
    /** The last position that this process has. */
    head: () => number;
    /** Something of these cursors has changed, here or in another process; negative: their consumers have credit again; null: of any. */
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
  /** How often a full share of a group's window stopped a cursor, and members that lost their keys for it. */
  windowsExhausted: number;
  setAside: number;
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
  /** Events that may wait for the members of a group. */
  groupWindow: number;
  /** Tells the other processes. */
  announce: (cursors: Iterable<number>) => void;
  /** What was never sent, or held by a connection that has closed, is put back. */
  onPutBack: (cursor: number) => void;
  log: Log;
};

const idleDeskMs = 10_000;
/** How late a claim may be answered whose time is over while the database is asked for it, in milliseconds. */
const lateMs = 1_000;
/** Bytes of events that all desks may have read ahead. */
const maxAheadBytes = 64_000_000;
/** Bytes that the desk of a group keeps of what its cursor has passed, and that all of them keep for longer than a moment. */
const keptBytes = 8_000_000;
const maxKeptBytes = 32_000_000;

export function createLedger(options: LedgerOptions): Ledger {
  const { pool, tail, tokens, log, announce } = options;
  const desks = new Map<number, Desk>();
  /** Desks of who wants nothing behind a position, by cursor and position: like another process, they share the cursor. */
  const bounded = new Map<number, Map<number, Desk>>();
  const stirs = createStirs();
  let aheadBytes = 0;
  let claimed = 0;
  let claims = 0;
  /** Of desks that are gone. */
  let windowsExhausted = 0;
  let setAside = 0;
  let draining = false;
  let stopped = false;
  const closing = new Set<Promise<void>>();

  const settlements = createSettlements({
    pool,
    tokens,
    mayEnd: options.mayEnd,
    review: options.endings.review,
    onSettled(cursors) {
      const freed: number[] = [];
      for (const cursor of cursors) {
        stirs.onCursor(cursor);
        wakeWithCredit(cursor);
        // The consumer may be connected elsewhere, whoever waits here. Credit is told from a look by its sign.
        freed.push(-cursor);
      }
      announce(freed);
    },
    onReturned,
    log,
  });

  const putBacks = createPutBacks({
    pool,
    onPutBack(cursor) {
      onReturned(cursor);
      options.onPutBack(cursor);
    },
    log,
  });

  function* desksOf(cursor: number): Iterable<Desk> {
    const desk = desks.get(cursor);
    if (desk !== undefined) yield desk;
    yield* bounded.get(cursor)?.values() ?? [];
  }

  function* allDesks(): Iterable<Desk> {
    yield* desks.values();
    for (const some of bounded.values()) yield* some.values();
  }

  function remove(desk: Desk, upTo: number | undefined): void {
    const of = upTo === undefined ? desks : bounded.get(desk.cursor);
    const key = upTo ?? desk.cursor;
    if (of?.get(key) === desk) {
      of.delete(key);
      windowsExhausted += desk.exhausted();
    }
    if (bounded.get(desk.cursor)?.size === 0) bounded.delete(desk.cursor);
  }

  function wakeToLook(cursor: number): void {
    stirs.onCursor(cursor);
    for (const desk of desksOf(cursor)) desk.wakeToLook();
  }

  function wakeWithCredit(cursor: number): void {
    for (const desk of desksOf(cursor)) if (desk.isWaiting()) desk.wakeWithCredit();
  }

  function onReturned(cursor: number): void {
    wakeToLook(cursor);
    announce([cursor]);
  }

  function deskOf(subscription: Subscription, cursor: number, upTo: number | undefined): Desk {
    const found = upTo === undefined ? desks.get(cursor) : bounded.get(cursor)?.get(upTo);
    if (found !== undefined) return found;
    const desk = createDesk(
      {
        cursor,
        candidates: upTo === undefined ? options.candidates : boundedReader(options.candidates, upTo),
        tokens,
        async call(call) {
          await putBacks.catchUp(cursor);
          claims++;
          return runAgain(pool, (sql) => callDeliveryClaim(sql, call));
        },
        endings: options.endings,
        reload: () => options.findById(subscription.id),
        readHead: upTo === undefined ? options.readHead : () => Promise.resolve(upTo),
        head: upTo === undefined ? tail.head : () => Math.min(tail.head(), upTo),
        settle: (gone) =>
          void background(settlements.acknowledge({ subscription: subscription.id, consumer: null, tokens: gone })),
        putBack: (leases) => background(putBacks.putBack(cursor, leases)),
        putBackRest: (step, rest) => background(putBacks.putBackRest(cursor, step, rest)),
        async setAside(member, at) {
          const done = await runAgain(pool, (sql) => callGroupSetAside(sql, cursor, member, at));
          if (done) {
            setAside++;
            onReturned(cursor);
          }
          return done;
        },
        groupWindow: options.groupWindow,
        announce: () => announce([cursor]),
        mayReadAhead: () => aheadBytes < maxAheadBytes,
        keptBytes: upTo === undefined ? keptBytes : 0,
        log,
      },
      subscription,
    );
    if (upTo === undefined) desks.set(cursor, desk);
    else bounded.set(cursor, (bounded.get(cursor) ?? new Map<number, Desk>()).set(upTo, desk));
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

  function onBatch(batch: TailBatch): void {
    stirs.onBatch(batch);
    if (desks.size === 0 && bounded.size === 0) return;
    for (const event of batch.events) {
      const removals = removalsOf(event);
      if (removals.size > 0) for (const desk of allDesks()) desk.remove(removals);
    }
    const streams = new Set(batch.events.map((event) => event.stream));
    const correlations = new Set(batch.events.map((event) => event.correlationId));
    const types = new Set(batch.events.map((event) => event.type));
    /** Whether the batch may have something for it: each set is asked, not each event. */
    const concerns = (wanted: Subscription) => {
      if (wanted.streams !== null) return wanted.streams.some((stream) => streams.has(stream));
      if (wanted.correlation !== null) return correlations.has(wanted.correlation);
      return wanted.types === null || wanted.types.some((type) => types.has(type));
    };
    for (const desk of allDesks()) if (desk.isWaiting() && concerns(desk.subscription())) desk.wake();
  }
  const unsubscribe = tail.subscribe(onBatch);

  const sweeper = setInterval(() => {
    aheadBytes = 0;
    let passedBytes = 0;
    const sweep = (desk: Desk, upTo: number | undefined) => {
      if (desk.idleMs() > idleDeskMs) {
        void desk.stop(shuttingDown());
        remove(desk, upTo);
        return;
      }
      aheadBytes += desk.aheadBytes();
      passedBytes += desk.passedBytes();
      if (passedBytes > maxKeptBytes) desk.forgetPassed();
    };
    for (const desk of desks.values()) sweep(desk, undefined);
    for (const some of bounded.values()) for (const [upTo, desk] of some) sweep(desk, upTo);
  }, 1_000);

  return {
    ...settlements,
    claim(subscription, { cursor, consumer, max, visibilityTimeoutMs, autoAcknowledge, waitMs, upTo, signal }) {
      if (stopped) return Promise.reject(shuttingDown());
      if (signal.aborted) return Promise.resolve({ deliveries: [], leases: [] });
      const desk = deskOf(subscription, cursor, upTo);
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
          autoAcknowledge,
          impatient: waitMs === 0 || draining,
          resolve(handout) {
            settle();
            claimed += handout.deliveries.length;
            resolve(handout);
          },
          reject(error) {
            settle();
            // A desk that was gone is found anew.
            if (!desk.isWaiting()) remove(desk, upTo);
            reject(error);
          },
        });
        const leave = () => {
          giveUp(true);
          settle();
          resolve({ deliveries: [], leases: [] });
        };
        /** Behind a call that takes too long nobody knows whether there is something. */
        const tooLate = () => {
          giveUp(true);
          settle();
          reject(new StalledConnection("the database has not answered in time"));
        };
        const end = () => {
          if (giveUp(false)) leave();
          else timer = setTimeout(tooLate, lateMs);
        };
        if (waitMs > 0 && Number.isFinite(waitMs)) timer = setTimeout(end, waitMs);
        signal.addEventListener("abort", leave, { once: true });
      });
    },
    putBack: putBacks.putBack,
    release: putBacks.release,
    async putBackHeld(cursor, consumer) {
      await pool.run((sql) => sql`select delivery_put_back_held(${cursor}, ${consumer})`);
      onReturned(cursor);
    },
    async heldBy(cursor, consumer) {
      const rows = await pool.run(
        (sql) => sql<{ step: string; part: number }[]>`
          select distinct step, part from deliveries
          where cursor_id = ${cursor} and consumer = ${consumer} and consumer > ''`,
      );
      return rows.map((row) => ({ step: Number(row.step), part: row.part }));
    },
    async standing(cursor) {
      const rows = await pool.run(
        (sql) => sql<{ place: string }[]>`select place from cursor_states where id = ${cursor}`,
      );
      return { place: Number(rows[0]?.place ?? -1), head: Math.max(tail.head(), await options.readHead()) };
    },
    async isOwed(cursor, consumer) {
      const [row] = await pool.run(
        (sql) => sql<{ is_owed: boolean }[]>`select group_owes(${cursor}, ${consumer}) as is_owed`,
      );
      return row?.is_owed === true;
    },
    stir: stirs.next,
    head: tail.head,
    wake(cursors) {
      if (cursors === null) for (const desk of allDesks()) desk.wakeToLook();
      else
        for (const cursor of cursors) {
          if (cursor > 0) wakeToLook(cursor);
          else wakeWithCredit(-cursor);
        }
    },
    drain() {
      draining = true;
      for (const desk of allDesks()) desk.dismiss();
    },
    counts() {
      let waiting = 0;
      let open = 0;
      let exhausted = windowsExhausted;
      for (const desk of allDesks()) {
        waiting += desk.waiting();
        exhausted += desk.exhausted();
        open++;
      }
      return { desks: open, waiting, claimed, claims, windowsExhausted: exhausted, setAside };
    },
    async stop() {
      stopped = true;
      unsubscribe();
      clearInterval(sweeper);
      await Promise.all([...allDesks()].map((desk) => desk.stop(shuttingDown())));
      await settlements.stop();
      await Promise.all(closing);
      await putBacks.stop();
    },
  };
}
