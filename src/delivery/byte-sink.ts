// The writing end of a streamed response body, which says when its reader falls behind.

/**
 * A body whose buffer is bounded by `bufferBytes`: `write` never refuses bytes, but whoever writes on after a false
 * fills the memory for a reader that does not read. `onClose` is called once, when the reader leaves or the body ends.
 *
 * There are thousands of them, so that each byte counts: methods for closures, and the bound is counted here, because a
 * runtime may at once set aside what a stream's own bound in bytes would allow for.
 */
export class ByteSink {
  readonly body: ReadableStream<Uint8Array>;
  private readonly bufferBytes: number;
  private readonly onClose: () => void;
  private controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  private isOpen = true;
  private waiting: Uint8Array[] | null = null;
  private waitingBytes = 0;
  /** Handed to the stream; counted until all of it has been taken. */
  private handedBytes = 0;
  private waiters: Set<() => void> | null = null;

  constructor(bufferBytes: number, onClose: () => void) {
    this.bufferBytes = bufferBytes;
    this.onClose = onClose;
    this.body = new ReadableStream(this);
  }

  /** Hands bytes over; false when the reader has to be waited for. Nothing happens after the end. */
  write(chunk: Uint8Array): boolean {
    if (!this.isOpen) return false;
    try {
      if (this.waiting === null && this.isTaken()) {
        this.controller?.enqueue(chunk);
        this.handedBytes = this.isTaken() ? 0 : chunk.byteLength;
      } else {
        this.waiting ??= [];
        this.waiting.push(chunk);
        this.waitingBytes += chunk.byteLength;
      }
    } catch {
      this.close();
      return false;
    }
    return this.hasRoom();
  }

  /** Resolves when there is room; rejects with the signal's reason when it fires. */
  drained(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (!this.isOpen || this.hasRoom()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = () => {
        signal.removeEventListener("abort", aborted);
        resolve();
      };
      const aborted = () => {
        this.waiters?.delete(done);
        reject(signal.reason);
      };
      this.waiters ??= new Set();
      this.waiters.add(done);
      signal.addEventListener("abort", aborted, { once: true });
    });
  }

  /** Ends the body after what has been written. */
  end(): void {
    if (!this.isOpen) return;
    try {
      this.handOver();
      this.controller?.close();
    } catch {
      // The reader has gone in the same moment.
    }
    this.close();
  }

  /** The stream's, as are `pull` and `cancel` (WHATWG Streams, section 4.2.3). */
  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.controller = controller;
  }

  /** Called when everything has been taken from the stream, and never without need. */
  pull(): void {
    this.handOver();
    if (this.hasRoom()) this.release();
  }

  cancel(): void {
    this.close();
  }

  private close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.waiting = null;
    this.release();
    this.onClose();
  }

  private release(): void {
    const released = this.waiters;
    this.waiters = null;
    for (const resolve of released ?? []) resolve();
  }

  private handOver(): void {
    this.handedBytes = this.waitingBytes;
    this.waitingBytes = 0;
    for (const chunk of this.waiting ?? []) this.controller?.enqueue(chunk);
    this.waiting = null;
  }

  /** Nothing lies in the stream: its reader has taken all of it. */
  private isTaken(): boolean {
    return (this.controller?.desiredSize ?? 0) > 0;
  }

  private hasRoom(): boolean {
    return this.handedBytes + this.waitingBytes < this.bufferBytes;
  }
}
