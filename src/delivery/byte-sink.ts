// The writing end of a streamed response body, which says when its reader falls behind.

export type ByteSink = {
  body: ReadableStream<Uint8Array>;
  /** Hands bytes over; false when the reader has to be waited for. Nothing happens after the end. */
  write: (chunk: Uint8Array) => boolean;
  /** Resolves when there is room; rejects with the signal's reason when it fires. */
  drained: (signal: AbortSignal) => Promise<void>;
  /** Ends the body after what has been written. */
  end: () => void;
  isOpen: () => boolean;
};

/**
 * A body whose buffer is bounded by `bufferBytes`: `write` never refuses bytes, but whoever writes on after a false
 * fills the memory for a reader that does not read. `onClose` is called once, when the reader leaves or the body ends.
 */
export function createByteSink(bufferBytes: number, onClose: () => void): ByteSink {
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  let open = true;
  const waiters = new Set<() => void>();

  function close(): void {
    if (!open) return;
    open = false;
    release();
    onClose();
  }

  function release(): void {
    for (const resolve of [...waiters]) resolve();
  }

  const body = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given;
      },
      // Called when there is room again, and never without need.
      pull() {
        if (waiters.size > 0) release();
      },
      cancel() {
        close();
      },
    },
    { highWaterMark: bufferBytes, size: (chunk) => chunk?.byteLength ?? 0 },
  );

  const room = () => (controller?.desiredSize ?? 0) > 0;

  return {
    body,
    write(chunk) {
      if (!open) return false;
      try {
        controller?.enqueue(chunk);
      } catch {
        close();
        return false;
      }
      return room();
    },
    drained(signal) {
      if (signal.aborted) return Promise.reject(signal.reason);
      if (!open || room()) return Promise.resolve();
      return new Promise((resolve, reject) => {
        const done = () => {
          waiters.delete(done);
          signal.removeEventListener("abort", aborted);
          resolve();
        };
        const aborted = () => {
          waiters.delete(done);
          reject(signal.reason);
        };
        waiters.add(done);
        signal.addEventListener("abort", aborted, { once: true });
      });
    },
    end() {
      if (!open) return;
      try {
        controller?.close();
      } catch {
        // The reader has gone in the same moment.
      }
      close();
    },
    isOpen: () => open,
  };
}
