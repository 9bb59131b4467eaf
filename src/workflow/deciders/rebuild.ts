// Finds the state that a stream has now: from a snapshot or a point that is known, and the events since.
import { internalError, stateNotRebuilt, storageUnavailable } from "../../base/errors.ts";
import { isOutage } from "../../storage/pg-errors.ts";
import type { Pool } from "../../storage/pool.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import { readStreamPage, type StreamPage } from "../../stream/stream-page.ts";
import { deepFreeze } from "../handlers/deep-freeze.ts";
import { type Fold, foldStored, type Point } from "./fold.ts";

export type RebuildDependencies = { pool: Pool; upcasting: Pick<Upcasting, "attempt"> };

export type Rebuilt = {
  point: Point;
  /** Offset of the snapshot that it was rebuilt from; null when it was not. */
  snapshotOffset: number | null;
  /** Nothing of the point that was known could be used: the stream was deleted meanwhile, or the log is another one. */
  isAnew: boolean;
};

const pageEvents = 500;
const pageBytes = 4_000_000;
const maxRestarts = 5;

/**
 * The point that the stream has come to, as of a moment after the call. Throws `state-not-rebuilt`, `schemas-unavailable`,
 * `storage-unavailable`.
 */
export async function rebuild(
  { pool, upcasting }: RebuildDependencies,
  fold: Fold,
  stream: string,
  known: Point | null,
): Promise<Rebuilt> {
  if (known !== null) {
    // Its own event is read again: it tells whether the log is still the one that it was read from.
    const reached = await follow(known, known.offset >= known.bornOffset);
    if (reached !== null) return { point: reached, snapshotOffset: null, isAnew: false };
  }
  let useSnapshot = true;
  for (let restarts = 0; restarts < maxRestarts; restarts++) {
    const snapshot = useSnapshot ? { owner: fold.owner, tag: fold.tag } : null;
    const page = await read(0, 0, snapshot);
    if (page === null) return { point: startOf(0, ""), snapshotOffset: null, isAnew: true };
    const start = page.snapshot === null ? startOf(page.bornOffset, page.logId) : behind(page, page.snapshot);
    // What an earlier program has saved under this very tag need not fit.
    if (start === null) useSnapshot = false;
    else {
      if (page.firstOffset > start.offset + 1)
        throw stateNotRebuilt(
          fold.name,
          stream,
          start.offset + 1,
          `the events before offset ${page.firstOffset} have been removed, and no snapshot stands for them`,
        );
      const point = await foldStored(fold, start, page.events, upcasting);
      const reached = point.offset === page.lastOffset ? point : await follow(point, false);
      if (reached !== null) return { point: reached, snapshotOffset: page.snapshot?.offset ?? null, isAnew: true };
    }
  }
  throw internalError(new Error(`stream ${stream} changed each time that it was read`));

  function read(from: number, fromPosition: number, snapshot: { owner: string; tag: string } | null) {
    return readStreamPage(pool, {
      stream,
      from,
      // An offset never exceeds its event's position.
      fromPosition: Math.max(from, fromPosition),
      snapshot,
      limit: pageEvents,
      maxBytes: pageBytes,
    }).catch((error: unknown) => {
      if (isOutage(error)) throw storageUnavailable("The database cannot be read now; nothing was stored", error);
      throw error;
    });
  }

  /** Reads on from a point to the end of the stream; null where the stream has not gone on from there. */
  async function follow(from: Point, withItsEvent: boolean): Promise<Point | null> {
    let point = from;
    for (let again = withItsEvent; ; again = false) {
      const page = await read(point.offset + (again ? 0 : 1), point.position, null);
      if (page === null) return point.offset === -1 ? point : null;
      const { events } = page;
      if (page.bornOffset !== point.bornOffset || page.lastOffset < point.offset) return null;
      if (point.logId !== "" && page.logId !== point.logId) return null;
      if (again && events[0]?.offset === point.offset) {
        if (point.eventId !== null && events[0].id !== point.eventId) return null;
        events.shift();
      }
      if (point.offset < page.lastOffset && events[0]?.offset !== point.offset + 1) {
        // Removed before they were read; or nothing but the known event did fit.
        if (!again || page.firstOffset > point.offset + 1) return null;
      }
      point = await foldStored(fold, { ...point, logId: page.logId }, events, upcasting);
      if (point.offset >= page.lastOffset) return point;
    }
  }

  function startOf(bornOffset: number, logId: string): Point {
    const state = fold.initialState;
    const bytes = JSON.stringify(state).length;
    return {
      state,
      offset: bornOffset - 1,
      eventId: null,
      position: 0,
      bornOffset,
      logId,
      isStored: true,
      settled: null,
      bytes,
    };
  }

  function behind(page: StreamPage, { offset, position, state: text }: NonNullable<StreamPage["snapshot"]>) {
    const state: unknown = JSON.parse(text);
    if (fold.checkState(state) !== null) return null;
    const { bornOffset, logId } = page;
    const bytes = text.length;
    return {
      state: deepFreeze(state),
      offset,
      eventId: null,
      position,
      bornOffset,
      logId,
      isStored: true,
      settled: null,
      bytes,
    };
  }
}
