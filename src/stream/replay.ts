// Replays a range as lines of JSON, page by page as fast as the reader takes them, in bounded memory.
import type { Log } from "../base/log.ts";
import { isOutage } from "../storage/pg-errors.ts";
import { envelope } from "./event.ts";
import type { Page } from "./page.ts";
import type { LogReader, Range } from "./range.ts";
import { readRangePage } from "./read.ts";
import { isUnfiltered } from "./selection.ts";

const firstPage = 100;
const pageEvents = 1_000;
const pageBudgetMs = 1_000;
const maxOutageMs = 30_000;

/** A part of the range whose next page is being read. */
type Piece = { end: number; page: Promise<Page> };

/**
 * A body of one envelope a line. While a page is encoded and taken, the database reads the next, and nothing behind it
 * until the reader has taken that page: a reader that stops holds three. A database that is away is waited for; longer
 * than 30 s, and the body breaks off, which HTTP shows.
 */
export function replayLines(
  reader: LogReader,
  range: Range,
  limit: number | null,
  log: Log,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const abort = new AbortController();
  let left = limit ?? Number.MAX_SAFE_INTEGER;
  let size = firstPage;
  // Where a page begins is known when the one before it has been read. All of the log can be cut beforehand: so many
  // positions hold at most so many events. Two pieces at once keep the database and this process busy at the same time.
  const isCut = limit === null && range.streamIds === null && isUnfiltered(range.query.selection);
  const pieces: Piece[] = [];
  const piecesAtOnce = isCut ? 2 : 1;
  let uncut = range.start.position;

  function readPieces(): void {
    while (pieces.length < piecesAtOnce && uncut !== range.bound) {
      const end = isCut ? pieceEnd(range, uncut, size) : range.bound;
      pieces.push(readPiece(uncut, end));
      uncut = end;
    }
  }

  function readPiece(from: number, end: number): Piece {
    const page = readPatiently(from, end, Math.min(size, left));
    size = pageEvents;
    // Its failure is told when the page is wanted, which may be later.
    page.catch(() => {});
    return { end, page };
  }

  async function readPatiently(from: number, end: number, limit: number): Promise<Page> {
    const started = Date.now();
    for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 2_000)) {
      try {
        return await readRangePage(reader, { ...range, bound: end }, from, limit, pageBudgetMs, abort.signal);
      } catch (error) {
        if (abort.signal.aborted || !isOutage(error) || Date.now() - started > maxOutageMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }

  /** The next page, with the reading of those behind it begun; null behind the last. */
  async function nextPage(): Promise<Page | null> {
    readPieces();
    const piece = pieces[0];
    if (piece === undefined || left <= 0) return null;
    const page = await piece.page;
    left -= page.events.length;
    if (page.done) pieces.shift();
    else if (left > 0) pieces[0] = readPiece(page.reached, piece.end);
    readPieces();
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
            for (const event of page.events) lines += `${envelope(event)}\n`;
            return controller.enqueue(encoder.encode(lines));
          }
        } catch (error) {
          if (abort.signal.aborted) return;
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

/** The last position of a piece that begins behind `from` and holds at most so many events. */
function pieceEnd({ bound, query }: Range, from: number, positions: number): number {
  return query.direction === "forward" ? Math.min(bound, from + positions) : Math.max(bound, from - positions);
}
