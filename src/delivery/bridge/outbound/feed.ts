// The events of one stream behind a position, in order: from the tail as they come, from the database while it is behind.
import type { StoredEvent } from "../../../stream/event.ts";
import { sizeOf } from "../../../stream/event.ts";
import type { Selection } from "../../../stream/selection.ts";
import type { CandidateReader, Candidates } from "../../../subscription/ledger/candidates.ts";

export type Feed = {
  /** An event of the stream that the tail has passed on. */
  offer: (event: StoredEvent) => void;
  /** The next events, at least one; waits until there are some. Rejects with the signal's reason. */
  read: (signal: AbortSignal) => Promise<readonly StoredEvent[]>;
};

export type FeedOptions = {
  reader: Pick<CandidateReader, "read">;
  /** Everything up to here has been offered by the tail. */
  offered: () => number;
};

const pageEvents = 1_000;
/** Events that wait here because they cannot be published so fast are read again later. */
const maxWaitingBytes = 2_000_000;

export function createFeed(stream: string, after: number, { reader, offered }: FeedOptions): Feed {
  const selection: Selection = { streams: [stream], types: null, correlation: null, key: null, where: null };
  /** Everything up to here has been handed out. */
  let position = after;
  let waiting: StoredEvent[] = [];
  let waitingBytes = 0;
  /** Nothing lies between what was handed out or waits and what the tail offers. */
  let level = false;
  let ahead: Promise<Candidates> | null = null;
  let wake: (() => void) | null = null;

  function fetch(signal: AbortSignal): Promise<Candidates> {
    const mine = ahead ?? reader.read(selection, position, pageEvents, position, signal);
    ahead = null;
    return mine;
  }

  function takeWaiting(): readonly StoredEvent[] {
    const taken = waiting;
    waiting = [];
    waitingBytes = 0;
    position = (taken.at(-1) as StoredEvent).position;
    return taken;
  }

  return {
    offer(event) {
      if (!level || event.position <= position) return;
      waitingBytes += sizeOf(event);
      if (waitingBytes > maxWaitingBytes && waiting.length > 0) {
        // What comes from here on is read when it is asked for.
        level = false;
        return;
      }
      waiting.push(event);
      wake?.();
    },
    async read(signal) {
      for (;;) {
        signal.throwIfAborted();
        if (waiting.length > 0) return takeWaiting();
        if (level) {
          await woken(signal, (waker) => {
            wake = waker;
          });
          continue;
        }
        const piece = await fetch(signal);
        position = piece.upTo;
        level = position >= offered();
        if (piece.events.length === 0) continue;
        // Far from the head, the database reads the next events while these are published.
        if (!level) {
          ahead = reader.read(selection, position, pageEvents, position, signal);
          ahead.catch(() => {});
        }
        return piece.events;
      }
    },
  };
}

function woken(signal: AbortSignal, register: (wake: (() => void) | null) => void): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      register(null);
      signal.removeEventListener("abort", done);
      resolve();
    };
    register(done);
    signal.addEventListener("abort", done, { once: true });
  });
}
