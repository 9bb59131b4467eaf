// What lies behind a cursor and can be handed out: from the tail's ring, or page by page from the database.
import { everyone } from "../../base/principal.ts";
import type { Semaphore } from "../../base/semaphore.ts";
import type { Pool } from "../../storage/pool.ts";
import type { StoredEvent } from "../../stream/event.ts";
import { type ReadWithin, readPage } from "../../stream/page.ts";
import { createMatcher, type Selection } from "../../stream/selection.ts";
import { readStreamStarts } from "../../stream/stream-head.ts";
import type { Tail } from "../../stream/tail.ts";

/** Everything that matches in (after, upTo], in order. */
export type Candidates = { after: number; upTo: number; events: StoredEvent[] };

/** What was read, and of what is there but was too much, the keys. */
export type ReadAt = { events: Map<number, StoredEvent>; unread: Map<number, string | null> };

export type CandidateReader = {
  /** The candidates behind a position, up to the head, which lies at `atLeast` or beyond, or to a bound of the reader's own. */
  read: (
    selection: Selection,
    after: number,
    limit: number,
    atLeast: number,
    signal: AbortSignal,
  ) => Promise<Candidates>;
  /** Events that are there still, by their positions: the first of the list, and as many more as fit into one answer. */
  readAt: (positions: readonly number[]) => Promise<ReadAt>;
};

export type CandidateReaderOptions = {
  tail: Pick<Tail, "since" | "head">;
  pool: Pool;
  /** Bounds the pages that all cursors together read at once. */
  reads: Semaphore;
  readEvents: (positions: readonly number[], maxBytes: number) => Promise<ReadWithin>;
};

const pieceBytes = 1_000_000;
const pageBudgetMs = 1_000;
/** Bytes that one call reads of what comes back, or has waited for its member. */
const readAtBytes = 4_000_000;

export function createCandidateReader({ tail, pool, reads, readEvents }: CandidateReaderOptions): CandidateReader {
  // Whoever consumes a subscription has been let in by name: what it selects is its owner's decision.
  const principal = everyone;

  function fromRing(selection: Selection, after: number, limit: number): Candidates | null {
    const piece = selection.where === null ? tail.since(after, pieceBytes) : null;
    if (piece === null) return null;
    const matches = createMatcher(selection, principal);
    const events: StoredEvent[] = [];
    for (const event of piece.events) {
      if (!matches(event)) continue;
      events.push(event);
      if (events.length === limit) return { after, upTo: event.position, events };
    }
    return { after, upTo: piece.upTo, events };
  }

  return {
    async read(selection, after, limit, atLeast, signal) {
      const piece = tail.head() < atLeast ? null : fromRing(selection, after, limit);
      if (piece !== null) return piece;
      const { streams } = selection;
      const bound = Math.max(tail.head(), atLeast);
      const page = await reads.run(async () => {
        const starts = streams === null ? null : await pool.run((sql) => readStreamStarts(sql, streams), signal);
        return readPage(pool, {
          selection,
          streamIds: starts?.map((start) => start.id) ?? null,
          principal,
          direction: "forward",
          cursor: after,
          bound: Math.max(bound, after),
          limit,
          maxBytes: pieceBytes,
          // A subscription is no replay: it gets what came since it began.
          historyEnd: -1,
          budgetMs: pageBudgetMs,
          signal,
        });
      }, signal);
      return { after, upTo: page.reached, events: page.events };
    },
    async readAt(positions) {
      const { events, unread } = await readEvents(positions, readAtBytes);
      return {
        events: new Map(events.map((event) => [event.position, event])),
        unread: new Map(unread.map(({ position, partitionKey }) => [position, partitionKey])),
      };
    },
  };
}

/** A reader that finds nothing behind a position. */
export function boundedReader(reader: CandidateReader, last: number): CandidateReader {
  return {
    async read(selection, after, limit, atLeast, signal) {
      if (after >= last) return { after, upTo: after, events: [] };
      const { upTo, events } = await reader.read(selection, after, limit, atLeast, signal);
      return { after, upTo: Math.min(upTo, last), events: events.filter((event) => event.position <= last) };
    },
    readAt: reader.readAt,
  };
}
