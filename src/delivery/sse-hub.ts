// The event streams of this process: opens them, keeps them alive, and closes them when the service drains.
import type { Principal } from "../base/principal.ts";
import type { SchemaLinks } from "../stream/event.ts";
import type { Cursor } from "../stream/resolve.ts";
import type { Target } from "../stream/schema/target.ts";
import type { Selection } from "../stream/selection.ts";
import type { Followers } from "../subscription/following/follow.ts";
import type { UpTo } from "../subscription/following/follower.ts";
import { ByteSink } from "./byte-sink.ts";
import { createEncoders, heartbeatFrame, SseConnection } from "./sse-connection.ts";
import type { IdKind } from "./sse-frame.ts";

export type SseRequest = {
  selection: Selection;
  target: Target;
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
  schemas: SchemaLinks;
  heartbeatMs: number;
  retryMs: number;
  /** Bytes that may wait for one reader before it leaves the live set. */
  bufferBytes: number;
};

const goodbye = "shutting-down";

export function createSseHub(options: SseHubOptions): SseHub {
  const { followers, bufferBytes } = options;
  const connections = new Set<SseConnection>();
  const encoders = createEncoders(options.schemas);
  let opened = 0;
  let stopped = false;

  const heartbeat = setInterval(() => followers.heartbeat(heartbeatFrame), options.heartbeatMs);

  return {
    open(request) {
      const { selection, target, idKind, named, total, start, gap } = request;
      opened++;
      const sink = new ByteSink(bufferBytes, () => {
        connections.delete(connection);
        follower?.stop();
      });
      const connection = new SseConnection(sink, { idKind, named, total, where: selection.where }, encoders);
      connections.add(connection);
      // Jitter, so that the readers of a restarted service do not all come in the same moment.
      connection.begin(start, gap, request.ready, options.retryMs * (0.5 + Math.random()));
      const follower = followers.follow({
        selection,
        target,
        single: idKind === "offset",
        principal: request.principal,
        start,
        historyEnd: request.historyEnd,
        logHead: request.logHead,
        upTo: request.upTo,
        limit: request.limit,
        outlet: connection,
      });
      // Its start was being looked up while the hub stopped.
      if (stopped) connection.close(goodbye);
      if (request.signal.aborted) sink.end();
      else request.signal.addEventListener("abort", () => sink.end(), { once: true });
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
