// What answers with an event stream have in common.
import { type Problem, problemObject } from "../base/errors.ts";
import { encodeFrame } from "../delivery/sse-frame.ts";
import type { Exchange } from "./context.ts";

export const eventStreamHeaders = {
  "content-type": "text/event-stream",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
};

/** 200, when to come back, and the end: overload or a restart must not end an EventSource for good. */
export function comeBack(problem: Problem, exchange: Exchange): Response {
  const data = problemObject(problem, `urn:request:${exchange.requestId()}`);
  return eventStream([{ retryMs: 1_000 + Math.random() * 4_000, event: "sluice.problem", data }]);
}

export function eventStream(frames: Parameters<typeof encodeFrame>[0][]): Response {
  return new Response(Buffer.concat(frames.map(encodeFrame)), { headers: eventStreamHeaders });
}
