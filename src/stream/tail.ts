// Follows the end of the log once for the whole process and keeps the newest events in a ring.
import { clearImmediate, setImmediate } from "node:timers";
import type { Log } from "../base/log.ts";
import { controlStream, removalsOf, type StoredEvent, sizeOf } from "./event.ts";

export type TailOptions = {
  /** The head of the log, -1 when it is empty; `atLeast` is a position known to be committed. */
  readHead: (atLeast: number) => Promise<number>;
  /** The events with positions in (after, upTo], in order, and how far that reached; trimmed ones may be missing. */
  readRange: (after: number, upTo: number, limit: number) => Promise<{ events: StoredEvent[]; reached: number }>;
  /** Bytes of events that the ring keeps, by their texts. */
  ringBytes: number;
  /** Time between looks at the head when nothing wakes the tail, in milliseconds. */
  pollMs: number;
  log: Log;
};

/** A piece of the log: everything with positions in (after, upTo], in order. */
export type TailBatch = { after: number; upTo: number; events: StoredEvent[] };

export type Tail = {
  /** Finds the head and preloads the ring. */
  start: () => Promise<void>;
  stop: () => Promise<void>;
  /** Events of a batch that this process committed: consecutive positions. */
  offer: (events: StoredEvent[]) => void;
  /** A hint that the log reaches at least to this position; Infinity asks for a look at the head. */
  wake: (position: number) => void;
  /** The last position that the tail has in its ring, -1 before the first. */
  head: () => number;
  /** Calls back with every batch, in order, without gap or repetition, in a turn of its own: the first may begin before the head. Returns the way to leave. */
  subscribe: (listener: (batch: TailBatch) => void) => () => void;
  /** The events after a cursor up to the head, at most about `maxBytes` of them; null when the ring begins later. */
  since: (after: number, maxBytes: number) => TailBatch | null;
  /** Positions known to be committed that the tail has yet to get. */
  lag: () => number;
};

const pageSize = 1_000;
const preloaded = 200;
const holeMs = 4;

export function createTail(options: TailOptions): Tail {
  const { log } = options;
  // The ring holds (start, head]; `events[0]` is the oldest. Dropped from the front in steps, so shifting stays cheap.
  let events: StoredEvent[] = [];
  let dropped = 0;
  let bytes = 0;
  let start = -1;
  let head = -1;
  /** Accepted, and about to be passed to the listeners: everything in (published, head]. */
  let unpublished: StoredEvent[] = [];
  let published = -1;
  let publishing: ReturnType<typeof setImmediate> | null = null;
  /** Offset of the last control record that came; null before the first. */
  let lastRecord: number | null = null;
  let known = -1;
  let checkHead = false;
  const waiting = new Map<number, StoredEvent[]>();
  let waitingBytes = 0;
  const listeners = new Set<(batch: TailBatch) => void>();
  let reading: Promise<void> | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let holeTimer: ReturnType<typeof setTimeout> | null = null;
  let stopped = false;

  function accept(batch: TailBatch): void {
    head = batch.upTo;
    if (known < head) known = head;
    for (const event of batch.events) {
      events.push(event);
      bytes += sizeOf(event);
      if (event.stream === controlStream) obey(event);
    }
    while (bytes > options.ringBytes && dropped < events.length) {
      const oldest = events[dropped] as StoredEvent;
      bytes -= sizeOf(oldest);
      start = oldest.position;
      dropped++;
    }
    if (dropped * 2 > events.length) {
      events = events.slice(dropped);
      dropped = 0;
    }
    for (const event of batch.events) unpublished.push(event);
    if (stopped) return;
    // Whoever appended is answered first, before many followers are written to; what else comes meanwhile goes with it.
    publishing ??= setImmediate(publish);
  }

  function publish(): void {
    publishing = null;
    const batch = { after: published, upTo: head, events: unpublished };
    published = head;
    unpublished = [];
    for (const listener of listeners) {
      try {
        listener(batch);
      } catch (error) {
        // A listener's defect must not keep the batch from the other listeners.
        log.error({ err: error }, "a listener of the tail failed");
      }
    }
  }

  /** A control record says what is gone; the ring must not serve it to a reader that comes later. */
  function obey(record: StoredEvent): void {
    // Who has slept so long that records are gone themselves cannot know what they said: nothing older is served.
    const isFollowing = lastRecord === null || record.offset === lastRecord + 1;
    lastRecord = record.offset;
    if (!isFollowing) start = record.position - 1;
    const removals = removalsOf(record);
    if (removals.size === 0 && isFollowing) return;
    const kept = events.slice(dropped).filter((e) => e.position > start && e.offset > (removals.get(e.stream) ?? -1));
    events = kept;
    dropped = 0;
    bytes = kept.reduce((sum, e) => sum + sizeOf(e), 0);
  }

  /** Keeps a batch until the hole before it is closed; what is too much to keep is read from the log again. */
  function keep(first: number, batch: StoredEvent[]): void {
    const size = batch.reduce((sum, event) => sum + sizeOf(event), 0);
    if (waitingBytes + size <= options.ringBytes) {
      waiting.set(first, batch);
      waitingBytes += size;
    } else fill();
  }

  function release(first: number, batch: StoredEvent[]): void {
    waiting.delete(first);
    waitingBytes -= batch.reduce((sum, event) => sum + sizeOf(event), 0);
  }

  /** Passes on what waits for this place in the log; of a batch that was read in part meanwhile, the rest. */
  function drainWaiting(): void {
    for (const [first, batch] of waiting) {
      if (first > head) continue;
      release(first, batch);
      const rest = batch.filter((event) => event.position > head);
      if (rest.length > 0) accept({ after: head, upTo: (rest.at(-1) as StoredEvent).position, events: rest });
    }
    for (let next = waiting.get(head + 1); next !== undefined; next = waiting.get(head + 1)) {
      release(head + 1, next);
      accept({ after: head, upTo: (next.at(-1) as StoredEvent).position, events: next });
    }
  }

  function fill(): void {
    if (reading !== null || stopped) return;
    const succeeded = readOn().then(
      () => true,
      (error: unknown) => {
        log.warn({ err: error }, "the tail cannot read the log");
        return false;
      },
    );
    reading = succeeded.then((well) => {
      reading = null;
      if (stopped) return;
      // It may have been woken in the very moment in which it had read everything.
      if (well && (checkHead || head < known)) fill();
      else timer = setTimeout(poll, options.pollMs);
    });
  }

  function lookIntoHole(): void {
    holeTimer = null;
    drainWaiting();
    if (waiting.size > 0) fill();
  }

  function poll(): void {
    checkHead = true;
    fill();
  }

  async function readOn(): Promise<void> {
    if (timer) clearTimeout(timer);
    while (!stopped) {
      if (checkHead) {
        checkHead = false;
        known = Math.max(known, await options.readHead(Math.max(head, 0)));
      }
      drainWaiting();
      if (head >= known && waiting.size === 0) return;
      // Only the hole before the next waiting batch is read: what this process appended it has already.
      const firstWaiting = Math.min(...waiting.keys());
      const upTo = Math.min(Number.isFinite(firstWaiting) ? firstWaiting - 1 : known, head + pageSize);
      if (upTo <= head) return;
      const after = head;
      const read = await options.readRange(after, upTo, pageSize);
      // Meanwhile a local batch may have moved the head.
      if (head === after) accept({ after, upTo: read.reached, events: read.events });
    }
  }

  return {
    async start() {
      head = await options.readHead(0);
      known = head;
      start = head;
      published = head;
      // The page is bounded by bytes: what of it does not reach the head is of no use.
      const page = await options.readRange(Math.max(-1, head - preloaded), head, preloaded);
      const preload = page.reached === head ? page.events : [];
      let size = 0;
      const newest: StoredEvent[] = [];
      for (let i = preload.length - 1; i >= 0; i--) {
        size += sizeOf(preload[i] as StoredEvent);
        if (size > options.ringBytes) break;
        newest.unshift(preload[i] as StoredEvent);
      }
      for (const event of newest) if (event.stream === controlStream) lastRecord = event.offset;
      if (newest.length > 0) {
        events = newest;
        bytes = size;
        start = (newest[0] as StoredEvent).position - 1;
      }
      timer = setTimeout(poll, options.pollMs);
    },
    async stop() {
      stopped = true;
      if (timer) clearTimeout(timer);
      if (holeTimer) clearTimeout(holeTimer);
      if (publishing) clearImmediate(publishing);
      publishing = null;
      await reading;
    },
    offer(batch) {
      const first = batch[0];
      if (first === undefined) return;
      if (first.position === head + 1) {
        accept({ after: head, upTo: (batch.at(-1) as StoredEvent).position, events: batch });
        if (waiting.size > 0) drainWaiting();
      } else if (first.position > head) {
        known = Math.max(known, (batch.at(-1) as StoredEvent).position);
        keep(first.position, batch);
      }
      // Batches of this process are answered in any order: most holes close by themselves in a moment.
      if (waiting.size > 0 && holeTimer === null) holeTimer = setTimeout(lookIntoHole, holeMs);
    },
    wake(position) {
      if (position === Number.POSITIVE_INFINITY) checkHead = true;
      else if (position <= known) return;
      else known = position;
      fill();
    },
    head: () => head,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    since(after, maxBytes) {
      if (after < start) return null;
      let low = dropped;
      let high = events.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((events[middle] as StoredEvent).position <= after) low = middle + 1;
        else high = middle;
      }
      let size = 0;
      let end = low;
      while (end < events.length && size <= maxBytes) size += sizeOf(events[end++] as StoredEvent);
      const upTo = end === events.length ? Math.max(head, after) : (events[end - 1] as StoredEvent).position;
      return { after, upTo, events: events.slice(low, end) };
    },
    lag: () => Math.max(0, known - head),
  };
}
