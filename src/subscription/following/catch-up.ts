// Brings a follower from where it stands to the live set: through the database, then through the ring.
import { Problem } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import type { Semaphore } from "../../base/semaphore.ts";
import type { Pool } from "../../storage/pool.ts";
import { mayPass } from "../../storage/withstand.ts";
import { readPage } from "../../stream/page.ts";
import { isPathError } from "../../stream/path-filter.ts";
import { asStored } from "../../stream/schema/target.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import { isUnfiltered } from "../../stream/selection.ts";
import { readFirstOffset, readLastOffsetUpTo, type StreamStart } from "../../stream/stream-head.ts";
import type { Tail } from "../../stream/tail.ts";
import { capped, isReached, type Member, walk } from "./follower.ts";
import type { LiveGroups } from "./live-groups.ts";

export type CatchUpOptions = {
  tail: Pick<Tail, "since" | "head">;
  pool: Pool;
  upcasting: Pick<Upcasting, "show">;
  /** Bounds the pages that all followers together read from the database at once. */
  catchUps: Semaphore;
  streamStarts: (names: readonly string[]) => Promise<StreamStart[]>;
  live: LiveGroups;
  log: Log;
};

/** Bytes of events that are passed on between two looks at the reader. */
const pieceBytes = 256 * 1024;
const pageEvents = 1_000;
const pageBudgetMs = 1_000;
const retryMs = 250;
const maxRetryMs = 5_000;

/** Returns the way to catch up: it resolves when the follower is live or has ended, and never rejects. */
export function createCatchUp(options: CatchUpOptions): (member: Member) => Promise<void> {
  const { tail, pool, upcasting, catchUps, live, log } = options;
  const isReading = (member: Member) => member.state === "catching-up" || member.state === "behind";

  async function catchUp(member: Member): Promise<void> {
    const abort = new AbortController();
    member.abort = abort;
    await readOn(member, abort.signal);
    // It may have gone live, fallen behind, and begun to read anew by now.
    if (member.abort === abort) member.abort = null;
  }

  async function readOn(member: Member, signal: AbortSignal): Promise<void> {
    const { selection, target, upTo, historyEnd, logHead } = member.request;
    let delayMs = retryMs;
    while (isReading(member)) {
      try {
        await readerOf(member, signal);
        if (!isReading(member)) return;
        const { position } = member.cursor;
        if (isReached(upTo, member.cursor)) return live.end(member, "to", capped(upTo, member.cursor));
        // The ring cannot tell which events of streams without replay are history, nor what was deleted before the
        // follower came if the tail has yet to hear of it.
        const isAhead = tail.head() < logHead && position < logHead;
        if (position < historyEnd || isAhead || tail.since(position, 0) === null)
          await fromDatabase(member, Math.max(tail.head(), historyEnd, logHead), signal);
        // A live follower may fall behind again at once: that begins another round, so this one must not look at its state.
        else if (selection.where === null && target === asStored ? fromRing(member) : await holding(member, signal))
          return;
        delayMs = retryMs;
      } catch (error) {
        if (signal.aborted) return;
        if (!mayPass(error)) {
          const asked = error instanceof Problem || (selection.where !== null && isPathError(error));
          if (!asked) log.error({ err: error }, "a follower failed");
          return live.end(member, "failed", member.cursor, error);
        }
        // The database is away, or what evaluates upcasters: the connection stays and goes on when it is back.
        await pause(delayMs, signal);
        delayMs = Math.min(delayMs * 2, maxRetryMs);
      }
    }
  }

  /** Waits until the reader has taken what was written. */
  async function readerOf(member: Member, signal: AbortSignal): Promise<void> {
    member.waiting = true;
    try {
      await member.request.outlet.drained(signal);
    } finally {
      member.waiting = false;
    }
  }

  /** True when the member went live, false when its reader has to be waited for. Nothing here waits, so nothing slips in between. */
  function fromRing(member: Member): boolean {
    const { group, request } = member;
    for (;;) {
      const { position } = member.cursor;
      const piece = tail.since(position, pieceBytes);
      if (piece === null) return false;
      if (piece.upTo <= position && position >= tail.head()) {
        live.join(member);
        return true;
      }
      for (const { gap, events, reached } of walk(member.cursor, piece, group.stream, request.upTo)) {
        if (gap !== null) request.outlet.onGap(gap.from, gap.to);
        if (!live.emit(member, events.filter(group.matches), reached)) return false;
      }
    }
  }

  /**
   * With a payload predicate only the database can read on, and for other versions than the stored ones there may be waiting
   * to be done. Near the head the member enters its group at once and what comes for it is held back until the last page is
   * written: however busy the log is, it arrives. True when it is live.
   */
  async function holding(member: Member, signal: AbortSignal): Promise<boolean> {
    const seam = live.beginHolding(member);
    try {
      while (member.held !== null && member.cursor.position < seam) {
        await fromDatabase(member, seam, signal);
        if (isReading(member)) await readerOf(member, signal);
      }
    } catch (error) {
      live.drop(member);
      throw error;
    }
    return isReading(member) && member.held !== null && live.release(member);
  }

  /** Reads one page up to a position that is committed, and writes it. */
  async function fromDatabase(member: Member, committed: number, signal: AbortSignal): Promise<void> {
    const { request, cursor } = member;
    const { selection, target, principal, historyEnd, upTo, outlet } = request;
    const starts = selection.streams === null ? null : await options.streamStarts(selection.streams);
    const bound = Math.min(committed, upTo?.kind === "position" ? upTo.value : Number.MAX_SAFE_INTEGER);
    const page = await catchUps.run(
      () =>
        readPage(pool, {
          selection,
          streamIds: starts?.map((start) => start.id) ?? null,
          principal,
          direction: "forward",
          cursor: cursor.position,
          bound: Math.max(bound, cursor.position),
          limit: Math.min(pageEvents, (request.limit ?? Number.MAX_SAFE_INTEGER) - member.sent),
          maxBytes: pieceBytes,
          historyEnd,
          budgetMs: pageBudgetMs,
          signal,
        }),
      signal,
    );
    let { offset } = cursor;
    let gapTo = -1;
    const start = member.group.stream === null ? undefined : starts?.[0];
    if (start !== undefined) {
      const last = isUnfiltered(selection)
        ? (page.events.at(-1)?.offset ?? -1)
        : await pool.run((sql) => readLastOffsetUpTo(sql, start.id, page.reached), signal);
      const firstOffset = await pool.run((sql) => readFirstOffset(sql, start.id), signal);
      // Something was removed between the statements, and which of them saw it is not known: once more.
      if (firstOffset !== start.firstOffset) return;
      if (firstOffset > offset + 1) gapTo = firstOffset - 1;
      offset = Math.max(offset, gapTo, last);
    }
    const events = await upcasting.show(page.events, target);
    if (!isReading(member)) return;
    if (gapTo >= 0) outlet.onGap(cursor.offset + 1, gapTo);
    live.emit(member, events, { position: page.reached, offset });
  }

  return catchUp;
}
