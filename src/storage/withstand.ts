// Waits outages out, of the database and of what evaluates schemas, for what goes on as soon as they are over.
import { Problem } from "../base/errors.ts";
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
      if (signal.aborted || !mayPass(error)) throw error;
      await pause(delayMs, signal);
    }
  }
}

/** Whether it comes from something being away, and not from what was asked. */
export function mayPass(error: unknown): boolean {
  if (error instanceof Problem) return error.code === "schemas-unavailable" || error.code === "overloaded";
  return isOutage(error);
}
