// Waits outages of the database out, for what goes on as soon as it is back.
import { pause } from "../base/pause.ts";
import { isOutage } from "./pg-errors.ts";

const retryMs = 100;
const maxRetryMs = 5_000;

/** Tries again until the task ends otherwise than by an outage. Throws the signal's reason when that fires. */
export async function withstand<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let delayMs = retryMs; ; delayMs = Math.min(delayMs * 2, maxRetryMs)) {
    signal.throwIfAborted();
    try {
      return await task();
    } catch (error) {
      if (signal.aborted || !isOutage(error)) throw error;
      await pause(delayMs, signal);
    }
  }
}
