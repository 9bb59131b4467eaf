// Which streams of the outbox cannot be relayed now, and when to try each of them again.

/**
 * A stream that fails is left out for a while, so that the rows of others are not held up behind its own, and for twice as long each
 * time that it fails again. Order within it holds, since all of its rows are left out.
 */
export type BlockedStreams = {
  /** Those to leave out now; the others, if any were blocked, are tried again. */
  at: (nowMs: number) => string[];
  /** It failed. */
  block: (stream: string, nowMs: number) => void;
  /** In how many milliseconds the first of them is to be tried again; null when there is none. */
  nextMs: (nowMs: number) => number | null;
  reset: () => void;
};

type Block = { untilMs: number; delayMs: number };

export function createBlockedStreams(options: { retryMs: number; maxRetryMs: number }): BlockedStreams {
  const blocks = new Map<string, Block>();
  /** How long those that are being tried again had been left out. */
  let tried = new Map<string, number>();

  return {
    at(nowMs) {
      tried = new Map();
      for (const [stream, { untilMs, delayMs }] of blocks) {
        if (untilMs > nowMs) continue;
        tried.set(stream, delayMs);
        blocks.delete(stream);
      }
      return [...blocks.keys()];
    },
    block(stream, nowMs) {
      const before = tried.get(stream);
      const delayMs = before === undefined ? options.retryMs : Math.min(before * 2, options.maxRetryMs);
      blocks.set(stream, { untilMs: nowMs + delayMs, delayMs });
    },
    nextMs(nowMs) {
      let firstMs = Number.POSITIVE_INFINITY;
      for (const { untilMs } of blocks.values()) firstMs = Math.min(firstMs, untilMs);
      return blocks.size === 0 ? null : Math.max(0, firstMs - nowMs);
    },
    reset() {
      blocks.clear();
      tried = new Map();
    },
  };
}
