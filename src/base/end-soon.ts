// Bounds how long what is under way may take once a signal has fired.

/**
 * What the work comes to; rejects with the signal's reason when it has not come to its end so many milliseconds after the signal
 * fired. The work itself goes on, and nobody hears how it ends.
 */
export function endSoon<T>(work: Promise<T>, withinMs: number, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const hurry = () => {
      timer = setTimeout(() => reject(signal.reason), withinMs);
    };
    if (signal.aborted) hurry();
    else signal.addEventListener("abort", hurry, { once: true });
    void work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", hurry);
    });
  });
}
