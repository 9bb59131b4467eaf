// Calls code of modules with a time limit.

/** A handler did not finish in time. What it still does has no effect any more. */
export class TimeLimitExceeded extends Error {
  readonly limitMs: number;

  constructor(limitMs: number) {
    super(`it did not finish within ${limitMs} ms`);
    this.name = "TimeLimitExceeded";
    this.limitMs = limitMs;
  }
}

/**
 * What the task resolves to. Throws `TimeLimitExceeded` when it takes longer, and the signal's reason when that fires; the task's
 * own signal fires then. Nothing can end a task that never gives way to others.
 */
export function withTimeLimit<T>(
  limitMs: number,
  task: (signal: AbortSignal) => T | Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const abort = new AbortController();
  return new Promise<T>((resolve, reject) => {
    const end = (reason: unknown) => {
      // What never comes to its end must not stay with the signal, which may live as long as the process.
      settle();
      reject(reason);
      abort.abort(reason);
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const onAbort = () => end(signal?.reason);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    timer = setTimeout(() => end(new TimeLimitExceeded(limitMs)), limitMs);
    // A handler that throws at once is one that rejects.
    void (async () => task(abort.signal))().then(resolve, reject).finally(settle);
  });
}
