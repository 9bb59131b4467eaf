// The event streams of this process: opens them, keeps them alive, and closes them when the service drains.
import { internalError, invalidFilter, Problem, problemObject } from "../base/errors.ts";
import type { Principal } from "../base/principal.ts";
import { classify } from "../storage/pg-errors.ts";
import { isPathError } from "../stream/path-filter.ts";
import type { Cursor } from "../stream/resolve.ts";
import type { Selection } from "../stream/selection.ts";
import type { Followers } from "../subscription/follow.ts";
import type { UpTo } from "../subscription/follower.ts";
import { createByteSink } from "./byte-sink.ts";
import { encodeEvents, encodeFrame, type IdKind } from "./sse-frame.ts";

export type SseRequest = {
  selection: Selection;
  idKind: IdKind;
  named: boolean;
  principal: Principal;
  start: Cursor;
  historyEnd: number;
  logHead: number;
  upTo: UpTo | null;
  limit: number | null;
  /** How many events a bounded replay has; progress frames are sent when it is given. */
  total: number | null;
  /** Told at once: offsets that the cursor asked for and that are not replayed. */
  gap: { from: number; to: number } | null;
  ready: { stream: string | null; head: string; logId: string };
  /** The client is gone. On some runtimes it also fires after a success: cleaning up twice must do no harm. */
  signal: AbortSignal;
};

export type SseHub = {
  /** Opens an event stream; its body is returned at once and begins with `sluice.ready`. */
  open: (request: SseRequest) => ReadableStream<Uint8Array>;
  counts: () => { connections: number; live: number; catchingUp: number; opened: number };
  /** Says goodbye to every reader, so that each reconnects elsewhere, and ends the streams. */
  stop: () => void;
};

export type SseHubOptions = {
  followers: Followers;
  heartbeatMs: number;
  retryMs: number;
  /** Bytes that may wait for one reader before it leaves the live set. */
  bufferBytes: number;
};

/** How many events pass between two progress frames. */
const progressEvery = 1_000;
const goodbye = "shutting-down";

export function createSseHub(options: SseHubOptions): SseHub {
  const { followers, bufferBytes } = options;
  const connections = new Set<{ close: (reason: string) => void }>();
  let opened = 0;
  let stopped = false;

  const heartbeat = setInterval(() => {
    followers.heartbeat((encodingKey, cursor) =>
      encodeFrame({ comment: "heartbeat", id: encodingKey.startsWith("offset") ? cursor.offset : cursor.position }),
    );
  }, options.heartbeatMs);

  return {
    open(request) {
      const { idKind, named, start } = request;
      opened++;
      const idOf = (cursor: Cursor) => (idKind === "offset" ? cursor.offset : cursor.position);
      const sink = createByteSink(bufferBytes, () => {
        connections.delete(connection);
        follower?.stop();
      });
      const connection = {
        close(reason: string) {
          // No `end:` id here: the reader shall come back.
          sink.write(encodeFrame({ event: "sluice.end", data: { reason } }));
          sink.end();
        },
      };
      connections.add(connection);
      // Jitter, so that the readers of a restarted service do not all come in the same moment.
      sink.write(
        encodeFrame({
          retryMs: options.retryMs * (0.5 + Math.random()),
          // Who leaves before it reads of the gap is told of it when it comes back.
          id: request.gap === null ? idOf(start) : request.gap.from - 1,
          event: "sluice.ready",
          data: {
            stream: request.ready.stream,
            from: String(idOf(start) + 1),
            head: request.ready.head,
            logId: request.ready.logId,
          },
        }),
      );
      if (request.gap !== null) sink.write(gapFrame(request.gap.from, request.gap.to));
      let sent = 0;
      let progressAt = progressEvery;
      const { total } = request;
      const follower = followers.follow({
        selection: request.selection,
        single: idKind === "offset",
        principal: request.principal,
        start,
        historyEnd: request.historyEnd,
        logHead: request.logHead,
        upTo: request.upTo,
        limit: request.limit,
        outlet: {
          encodingKey: `${idKind}${named ? " named" : ""}${total === null ? "" : " counted"}`,
          encode(events) {
            const chunk = encodeEvents(events, idKind, named);
            if (total === null) return chunk;
            sent += events.length;
            if (sent < progressAt) return chunk;
            progressAt = sent + progressEvery;
            return concat(
              chunk,
              encodeFrame({ event: "sluice.progress", data: { sent: String(sent), total: String(total) } }),
            );
          },
          write: sink.write,
          drained: sink.drained,
          onCaughtUp(cursor) {
            sink.write(
              encodeFrame({ id: idOf(cursor), event: "sluice.caught-up", data: { at: String(idOf(cursor)) } }),
            );
          },
          onGap(from, to) {
            sink.write(gapFrame(from, to));
          },
          onEnd(reason, cursor, error) {
            if (total !== null && reason !== "failed") {
              sink.write(encodeFrame({ event: "sluice.progress", data: { sent: String(sent), total: String(total) } }));
            }
            if (reason === "failed")
              sink.write(encodeFrame({ event: "sluice.problem", data: describe(error, request.selection.where) }));
            sink.write(encodeFrame({ id: `end:${idOf(cursor)}`, event: "sluice.end", data: { reason } }));
            sink.end();
          },
        },
      });
      // Its start was being looked up while the hub stopped.
      if (stopped) connection.close(goodbye);
      if (request.signal.aborted) sink.end();
      else request.signal.addEventListener("abort", sink.end, { once: true });
      return sink.body;
    },
    counts() {
      const { live, catchingUp } = followers.counts();
      return { connections: connections.size, live, catchingUp, opened };
    },
    stop() {
      stopped = true;
      clearInterval(heartbeat);
      for (const connection of [...connections]) connection.close(goodbye);
    },
  };
}

function gapFrame(from: number, to: number): Uint8Array {
  return encodeFrame({ id: to, event: "sluice.gap", data: { from: String(from), to: String(to) } });
}

/** What a follower's reader is told of its failure, as any other problem. */
function describe(error: unknown, where: string | null): Record<string, unknown> {
  const problem =
    error instanceof Problem
      ? error
      : where !== null && isPathError(error)
        ? invalidFilter(where, classify(error).message)
        : internalError(error);
  return problemObject(problem, "about:blank");
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.byteLength + b.byteLength);
  joined.set(a);
  joined.set(b, a.byteLength);
  return joined;
}
