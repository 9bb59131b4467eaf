// Event streams of subscriptions: each writes what its consumer is handed, at the pace at which that is read.
import { internalError, Problem, problemObject } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { SchemaLinks } from "../stream/event.ts";
import { type Feed, type FeedDependencies, openFeed } from "../subscription/feed.ts";
import { pushes } from "../subscription/push.ts";
import { ByteSink } from "./byte-sink.ts";
import { encodeDeliveries } from "./delivery-frames.ts";
import { encodeFrame } from "./sse-frame.ts";

export type SubscriptionStreamRequest = {
  subscription: string;
  consumer: string;
  autoAcknowledge: boolean;
  /** Frames bear their event's type. */
  named: boolean;
  /** The client is gone. On some runtimes it also fires after a success: cleaning up twice must do no harm. */
  signal: AbortSignal;
};

export type SubscriptionStreams = {
  /** Makes the consumer a member and begins its event stream. Throws `subscription-not-found`, `too-many-consumers`. */
  open: (request: SubscriptionStreamRequest) => Promise<ReadableStream<Uint8Array>>;
  counts: () => { connections: number; opened: number };
  /** Says goodbye to every reader; what they hold stays theirs, to be settled elsewhere. Resolves when all have ended. */
  stop: () => Promise<void>;
};

export type SubscriptionStreamsOptions = {
  feeds: FeedDependencies;
  schemas: SchemaLinks;
  heartbeatMs: number;
  retryMs: number;
  /** Bytes that may wait for one reader before it is handed no more. */
  bufferBytes: number;
  log: Log;
};

type Connection = { sink: ByteSink; end: (reason: string) => void; done: Promise<void> };

const heartbeatFrame = encodeFrame({ comment: "heartbeat" });

export function createSubscriptionStreams(options: SubscriptionStreamsOptions): SubscriptionStreams {
  const { feeds, schemas, bufferBytes, log } = options;
  const connections = new Set<Connection>();
  let opened = 0;
  const heartbeat = setInterval(() => {
    for (const { sink } of connections) sink.write(heartbeatFrame);
  }, options.heartbeatMs);

  async function write(
    feed: Feed,
    sink: ByteSink,
    { named, subscription, consumer }: SubscriptionStreamRequest,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      for await (const push of pushes(feed, signal)) {
        if ("deliveries" in push)
          sink.write(encodeDeliveries(push.deliveries, { named, ids: true, subscription: null }, schemas));
        else sink.write(encodeFrame({ event: "sluice.caught-up", data: { at: String(push.caughtUpAt) } }));
        await sink.drained(signal);
      }
      finish(sink, "completed");
    } catch (error) {
      if (signal.aborted) return;
      const problem = error instanceof Problem ? error : internalError(error);
      if (problem.status >= 500)
        log.error({ err: error, subscription, consumer }, "an event stream of a subscription failed");
      sink.write(encodeFrame({ event: "sluice.problem", data: problemObject(problem, "about:blank") }));
      if (problem.retryable) end(sink, "failed");
      else finish(sink, problem.code === "subscription-not-found" ? "deleted" : "failed");
    }
  }

  /** The end of this connection: its reader comes back. */
  function end(sink: ByteSink, reason: string): void {
    sink.write(encodeFrame({ event: "sluice.end", data: { reason } }));
    sink.end();
  }

  /** The end for good: a reconnect with its id is answered 204. */
  function finish(sink: ByteSink, reason: string): void {
    sink.write(encodeFrame({ id: `end:${reason}`, event: "sluice.end", data: { reason } }));
    sink.end();
  }

  return {
    async open(request) {
      const abort = new AbortController();
      const feed = await openFeed(feeds, { ...request, signal: abort.signal });
      opened++;
      let release = true;
      const sink = new ByteSink(bufferBytes, () => abort.abort());
      const connection: Connection = {
        sink,
        end(reason) {
          release = false;
          end(sink, reason);
        },
        done: Promise.resolve(),
      };
      connections.add(connection);
      const { subscription, consumer } = request;
      sink.write(
        encodeFrame({
          // Jitter, so that the consumers of a restarted service do not all come in the same moment.
          retryMs: options.retryMs * (0.5 + Math.random()),
          event: "sluice.ready",
          data: { subscription, consumer, from: String(feed.from), head: String(feed.head) },
        }),
      );
      if (request.signal.aborted) sink.end();
      else request.signal.addEventListener("abort", () => sink.end(), { once: true });
      connection.done = write(feed, sink, request, abort.signal)
        .then(() => feed.close(release))
        .then(() => void connections.delete(connection));
      return sink.body;
    },
    counts: () => ({ connections: connections.size, opened }),
    async stop() {
      clearInterval(heartbeat);
      const open = [...connections];
      for (const connection of open) connection.end("shutting-down");
      await Promise.all(open.map((connection) => connection.done));
    },
  };
}
