// Lets a bounded number of tasks run at once; the others wait in the order in which they came.

export type Semaphore = {
  /** Waits for a permit, runs the task, gives the permit back. Rejects with the signal's reason when it fires first. */
  run: <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T>;
  waiting: () => number;
};

export function createSemaphore(permits: number): Semaphore {
  let free = permits;
  const queue = new Set<() => void>();

  function acquire(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (free > 0) {
      free--;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const grant = () => {
        queue.delete(grant);
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        queue.delete(grant);
        reject(signal?.reason);
      };
      queue.add(grant);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  function release(): void {
    const [next] = queue;
    if (next) next();
    else free++;
  }

  return {
    async run(task, signal) {
      await acquire(signal);
      try {
        return await task();
      } finally {
        release();
      }
    },
    waiting: () => queue.size,
  };
}
