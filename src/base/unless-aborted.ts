// Waits for a promise, unless a signal fires first: what nobody waits for any more may still come, or fail, unheard.

/** Rejects with the signal's reason as soon as it fires, else settles as the promise does. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
    if (signal.aborted) leave();
  });
}
