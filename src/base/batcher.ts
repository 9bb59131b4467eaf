// Collects concurrent calls into batches: an idle batcher flushes at once, a busy one collects while batches are in flight.

export type BatcherOptions<Item> = {
  /** Does the work of one batch; it settles each item by itself. A rejection is a defect and reaches `onDefect`. */
  flush: (items: Item[]) => Promise<void>;
  /** What an item counts towards the limits of a batch; one item alone may exceed them. */
  weigh: (item: Item) => { count: number; bytes: number };
  maxCount: number;
  maxBytes: number;
  /** Batches under way at the same time. */
  maxInFlight: number;
  onDefect: (error: unknown, items: Item[]) => void;
};

export type Batcher<Item> = {
  push: (item: Item) => void;
  /** Items that wait for a batch. */
  waiting: () => number;
  /** Resolves when nothing waits and nothing is in flight. */
  idle: () => Promise<void>;
};

export function createBatcher<Item>(options: BatcherOptions<Item>): Batcher<Item> {
  const { flush, weigh, maxCount, maxBytes, maxInFlight, onDefect } = options;
  let queue: Item[] = [];
  let inFlight = 0;
  let scheduled = false;
  let idleWaiters: (() => void)[] = [];

  function take(): Item[] {
    let taken = 0;
    let count = 0;
    let bytes = 0;
    for (; taken < queue.length; taken++) {
      const weight = weigh(queue[taken] as Item);
      count += weight.count;
      bytes += weight.bytes;
      if (taken > 0 && (count > maxCount || bytes > maxBytes)) break;
    }
    const batch = taken === queue.length ? queue : queue.slice(0, taken);
    queue = taken === queue.length ? [] : queue.slice(taken);
    return batch;
  }

  function dispatch(): void {
    scheduled = false;
    while (queue.length > 0 && inFlight < maxInFlight) {
      const batch = take();
      inFlight++;
      flush(batch)
        .catch((error: unknown) => onDefect(error, batch))
        .then(() => {
          inFlight--;
          dispatch();
        });
    }
    if (queue.length === 0 && inFlight === 0) {
      const waiters = idleWaiters;
      idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  }

  return {
    push(item) {
      queue.push(item);
      if (scheduled || inFlight >= maxInFlight) return;
      // Requests that arrived in the same turn of the event loop travel together; none waits for longer than the turn.
      scheduled = true;
      setImmediate(dispatch);
    },
    waiting: () => queue.length,
    idle: () =>
      new Promise((resolve) => {
        if (queue.length === 0 && inFlight === 0) resolve();
        else idleWaiters.push(resolve);
      }),
  };
}
