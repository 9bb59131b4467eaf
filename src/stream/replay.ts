// Replays a range as lines of JSON, page by page as fast as the reader takes them, in bounded memory.
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../base/log.ts";
import type { Semaphore } from "../base/semaphore.ts";
import { mayPass } from "../storage/withstand.ts";
import { envelope, type SchemaLinks } from "./event.ts";
import type { Page } from "./page.ts";
import type { LogReader, Range } from "./range.ts";
import { readRangePage } from "./read.ts";
import type { Target } from "./schema/target.ts";
import type { Upcasting } from "./schema/upcasting.ts";
import { isUnfiltered } from "./selection.ts";

const firstPage = 100;
const pageEvents = 1_000;
const maxPieceWidth = 50_000_000;
const pageBudgetMs = 1_000;
const maxOutageMs = 30_000;

/** A part of the range, up to a last position, whose next page is being read from a position on. */
type Piece = { from: number; end: number; limit: number; page: Promise<Page> };

export type ReplayDependencies = { reader: LogReader; upcasting: Pick<Upcasting, "show">; schemas: SchemaLinks };

/**
 * A body of one envelope a line. While a page is encoded and taken, the database reads the next one, of the whole log the
 * next two, and nothing behind them until the reader has taken the page: one that stops holds three at most. A database
 * that is away is waited for; longer than 30 s, and the body breaks off, which HTTP shows.
 */
export function replayLines(
  { reader, upcasting, schemas }: ReplayDependencies,
  range: Range,
  target: Target,
  limit: number | null,
  /** Bounds the pages that all replays together read at once: other readers need connections too. */
  replays: Semaphore,
  log: Log,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const abort = new AbortController();
  let left = limit ?? Number.MAX_SAFE_INTEGER;
  let size = firstPage;
  // Where a page begins is known when the one before it has been read. All of the log can be cut beforehand: positions
  // have no gaps but where something was removed. Two pieces at once keep the database and this process busy together.
  const isCut = limit === null && range.streamIds === null && isUnfiltered(range.query.selection);
  const pieces: Piece[] = [];
  const piecesAtOnce = isCut ? 2 : 1;
  let uncut = range.start.position;
  let width = firstPage;
  let window: number | null = null;

  function cut(): void {
    while (pieces.length < piecesAtOnce && uncut !== range.bound) {
      const end = isCut ? pieceEnd(range, uncut, width) : range.bound;
      pieces.push(readPiece(uncut, end));
      uncut = end;
      width = Math.max(width, pageEvents);
    }
  }

  function readPiece(from: number, end: number): Piece {
    const wanted = Math.min(size, left);
    size = pageEvents;
    return { from, end, limit: wanted, page: read(from, end, wanted) };
  }

  function read(from: number, end: number, wanted: number): Promise<Page> {
    const { signal } = abort;
    const page = replays.run(
      () => readRangePage(reader, { ...range, bound: end }, from, wanted, pageBudgetMs, { window, signal }),
      signal,
    );
    // Its failure is told when the page is wanted, which may be later.
    page.catch(() => {});
    return page;
  }

  /** Waits outages out. One counts from the first failure met here: one that the reader slept through does not. */
  async function withstanding<T>(task: () => T | Promise<T>, again: () => void = () => {}): Promise<T> {
    let failedAt: number | null = null;
    for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 2_000)) {
      try {
        return await task();
      } catch (error) {
        failedAt ??= Date.now();
        if (abort.signal.aborted || !mayPass(error) || Date.now() - failedAt > maxOutageMs) throw error;
      }
      await sleep(delayMs, undefined, { signal: abort.signal });
      again();
    }
  }

  /** The page of a piece. */
  function pageOf(piece: Piece): Promise<Page> {
    const again = () => {
      piece.page = read(piece.from, piece.end, piece.limit);
    };
    return withstanding(() => piece.page, again);
  }

  /** The next page, with the reading of those behind it begun; null behind the last. */
  async function nextPage(): Promise<Page | null> {
    cut();
    const piece = pieces[0];
    if (piece === undefined || left <= 0) return null;
    const page = await pageOf(piece);
    left -= page.events.length;
    window = page.window ?? window;
    // What was removed can be most of the log: ever wider pieces pass over it.
    width = page.events.length > 0 ? pageEvents : Math.min(width * 4, maxPieceWidth);
    if (page.done) pieces.shift();
    else if (isCut && page.events.length > 0 && Math.abs(piece.end - page.reached) > pageEvents) {
      // The hole has ended within a wide piece: what is behind is cut anew, or it would be read one page at a time.
      pieces.length = 0;
      uncut = page.reached;
    } else if (left > 0) pieces[0] = readPiece(page.reached, piece.end);
    cut();
    return page;
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          for (let page = await nextPage(); !abort.signal.aborted; page = await nextPage()) {
            if (page === null) return controller.close();
            if (page.events.length === 0) continue;
            let lines = "";
            const shown = await withstanding(() => upcasting.show(page.events, target));
            for (const event of shown) lines += `${envelope(event, schemas)}\n`;
            return controller.enqueue(encoder.encode(lines));
          }
        } catch (error) {
          if (abort.signal.aborted) return;
          abort.abort();
          log.error({ err: error }, "a replay broke off");
          controller.error(error);
        }
      },
      cancel() {
        abort.abort();
      },
    },
    { highWaterMark: 1 },
  );
}

/** The last position of a piece of so many positions behind `from`. */
function pieceEnd({ bound, query }: Range, from: number, positions: number): number {
  return query.direction === "forward" ? Math.min(bound, from + positions) : Math.max(bound, from - positions);
}
