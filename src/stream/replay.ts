// Replays a range as lines of JSON, page by page as fast as the reader takes them, in bounded memory.
import type { Log } from "../base/log.ts";
import { isOutage } from "../storage/pg-errors.ts";
import { envelope } from "./event.ts";
import type { Page } from "./page.ts";
import type { LogReader, Range } from "./range.ts";
import { readRangePage } from "./read.ts";

const firstPage = 100;
const pageEvents = 1_000;
const pageBudgetMs = 1_000;
const maxOutageMs = 30_000;

/**
 * A body of one envelope a line. The next page is read only when the reader has taken the last, so a reader that stops
 * holds one page. A database that is away is waited for; longer than 30 s, and the body breaks off, which HTTP shows.
 */
export function replayLines(
  reader: LogReader,
  range: Range,
  limit: number | null,
  log: Log,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const abort = new AbortController();
  let cursor = range.start.position;
  let left = limit ?? Number.MAX_SAFE_INTEGER;
  let size = firstPage;

  async function nextPage(): Promise<Page> {
    const started = Date.now();
    for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 2_000)) {
      try {
        return await readRangePage(reader, range, cursor, Math.min(size, left), pageBudgetMs, abort.signal);
      } catch (error) {
        if (abort.signal.aborted || !isOutage(error) || Date.now() - started > maxOutageMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          while (!abort.signal.aborted) {
            const page = await nextPage();
            cursor = page.reached;
            left -= page.events.length;
            size = pageEvents;
            if (page.events.length > 0) {
              let lines = "";
              for (const event of page.events) lines += `${envelope(event)}\n`;
              controller.enqueue(encoder.encode(lines));
            }
            if (page.done || left <= 0) return controller.close();
            if (page.events.length > 0) return;
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
