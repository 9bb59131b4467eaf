// One live connection: the streams and subscriptions that flow on it, which come and go while it is open.
import { internalError, Problem, problemObject } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Principal } from "../../base/principal.ts";
import { envelope, type StoredEvent } from "../../stream/event.ts";
import type { Cursor } from "../../stream/resolve.ts";
import { type Feed, type FeedDependencies, openFeed } from "../../subscription/feed.ts";
import type { Follower, Followers } from "../../subscription/follow.ts";
import type { Encoder, Outlet } from "../../subscription/follower.ts";
import { ByteSink } from "../byte-sink.ts";
import { encodeDeliveries } from "../delivery-frames.ts";
import { encodeFrame, type Frame } from "../sse-frame.ts";
import type { LiveMembership, LiveNote, LiveStream, LiveSubscription } from "./membership.ts";

export type LiveConnectionOptions = {
  id: string;
  epoch: number;
  principal: Principal;
  /** Everything up to here is known to the reader, of all streams that had caught up. */
  position: number;
  followers: Followers;
  feeds: FeedDependencies;
  /** Where a stream stands at a position, and the head of the log. */
  locate: (stream: string, position: number) => Promise<{ cursor: Cursor; head: number }>;
  /** The last position that the tail has. */
  head: () => number;
  bufferBytes: number;
  onClose: () => void;
  log: Log;
};

type FlowingStream = {
  row: LiveStream;
  follower: Follower | null;
  caughtUpAt: number | null;
  /** Where it stood, by time, while it catches up. */
  passed: { at: number; position: number }[];
};
type FlowingSubscription = {
  row: LiveSubscription;
  abort: AbortController;
  feed: Promise<Feed> | null;
  done: Promise<void>;
};

export type LiveConnection = ReturnType<typeof createLiveConnection>;

/** What was written so long ago has reached the reader, or the connection would have been noticed to be dead. */
const certainMs = 90_000;

const textEncoder = new TextEncoder();
/** Frames without ids: the id of a live connection is where all of its streams stand. */
const encoder: Encoder = {
  key: "live",
  encode: (events: readonly StoredEvent[]) =>
    textEncoder.encode(events.map((event) => `data: ${envelope(event)}\n\n`).join("")),
};

export function createLiveConnection(options: LiveConnectionOptions) {
  const { id, epoch, principal, followers, feeds, log } = options;
  const streams = new Map<string, FlowingStream>();
  const subscriptions = new Map<string, FlowingSubscription>();
  const ended = new Set<Promise<void>>();
  let told = options.position;
  let telling = false;
  let closed = false;
  let release = true;
  const sink = new ByteSink(options.bufferBytes, close);

  const frame = (of: Frame) => sink.write(encodeFrame(of));

  /** Everything up to here has been written, of all streams that have caught up. */
  function position(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { follower, caughtUpAt } of streams.values()) {
      if (caughtUpAt !== null && follower !== null) lowest = Math.min(lowest, follower.cursor().position);
    }
    return Math.max(told, Number.isFinite(lowest) ? lowest : streams.size === 0 ? options.head() : told);
  }

  /** Tells the reader how far it is, after what has been written in this turn. */
  function tell(): void {
    if (telling) return;
    telling = true;
    queueMicrotask(() => {
      telling = false;
      const now = position();
      if (closed || now <= told) return;
      told = now;
      frame({ id: now });
    });
  }

  async function startStream(row: LiveStream): Promise<void> {
    const flowing: FlowingStream = { row, follower: null, caughtUpAt: null, passed: [] };
    streams.set(row.stream, flowing);
    const catchesUp = row.catchUpPosition !== null;
    const from = row.catchUpPosition ?? Math.max(told, row.startPosition);
    // It goes by the connection's position from the first moment on.
    if (!catchesUp) flowing.caughtUpAt = performance.now() - certainMs;
    const { cursor, head } = await options.locate(row.stream, from);
    if (closed || streams.get(row.stream) !== flowing) return;
    const outlet: Outlet = {
      encoder,
      silent: true,
      write(chunk) {
        const room = sink.write(chunk);
        tell();
        return room;
      },
      drained: (signal) => sink.drained(signal),
      onCaughtUp(at) {
        flowing.caughtUpAt ??= performance.now();
        frame({ event: "sluice.caught-up", data: { stream: row.stream, at: String(at.offset) } });
        tell();
      },
      onGap: (gapFrom, to) =>
        void frame({ event: "sluice.gap", data: { stream: row.stream, from: String(gapFrom), to: String(to) } }),
      onEnd(_reason, _cursor, error) {
        streams.delete(row.stream);
        problem({ stream: row.stream }, error);
      },
    };
    flowing.follower = followers.follow({
      selection: { streams: [row.stream], types: row.types, correlation: null, key: row.key, where: row.where },
      single: true,
      principal,
      start: cursor,
      historyEnd: -1,
      logHead: head,
      upTo: null,
      limit: null,
      outlet,
    });
  }

  function problem(of: Record<string, string>, error: unknown): void {
    const known = error instanceof Problem ? error : internalError(error);
    if (known.status >= 500) log.error({ err: error, live: id, ...of }, "a part of a live connection failed");
    frame({ event: "sluice.problem", data: { ...problemObject(known, "about:blank"), ...of } });
  }

  function stopStream(name: string): void {
    streams.get(name)?.follower?.stop();
    streams.delete(name);
  }

  function startSubscription(row: LiveSubscription): void {
    const abort = new AbortController();
    const flowing: FlowingSubscription = { row, abort, feed: null, done: Promise.resolve() };
    subscriptions.set(row.subscription, flowing);
    flowing.done = flow(flowing);
    ended.add(flowing.done);
    void flowing.done.then(() => ended.delete(flowing.done));
  }

  async function flow(flowing: FlowingSubscription): Promise<void> {
    const { row, abort } = flowing;
    const of = { subscription: row.subscription };
    try {
      flowing.feed = openFeed(feeds, { ...row, signal: abort.signal });
      const feed = await flowing.feed;
      for (;;) {
        await sink.drained(abort.signal);
        const deliveries = await feed.next();
        if (deliveries === null) break;
        sink.write(encodeDeliveries(deliveries, { named: false, ids: false, subscription: row.subscription }));
      }
      frame({ event: "sluice.end", data: { ...of, reason: "completed" } });
    } catch (error) {
      if (!abort.signal.aborted) problem(of, error);
    }
    if (subscriptions.get(row.subscription) === flowing) subscriptions.delete(row.subscription);
    await (await flowing.feed?.catch(() => null))?.close(release);
  }

  function stopSubscription(name: string): void {
    subscriptions.get(name)?.abort.abort();
    subscriptions.delete(name);
  }

  function close(): void {
    if (closed) return;
    closed = true;
    for (const name of [...streams.keys()]) stopStream(name);
    for (const name of [...subscriptions.keys()]) stopSubscription(name);
    options.onClose();
  }

  return {
    id,
    epoch,
    body: sink.body,
    begin(retryMs: number, logId: string): void {
      frame({ retryMs, id: told, event: "sluice.ready", data: { live: id, head: String(options.head()), logId } });
    },
    /** Makes what flows equal to what is stored. */
    async apply(membership: LiveMembership): Promise<void> {
      if (closed) return;
      for (const [name, { row }] of streams) {
        const wanted = membership.streams.find(({ stream }) => stream === name);
        if (wanted?.revision !== row.revision) stopStream(name);
      }
      for (const [name, { row }] of subscriptions) {
        const wanted = membership.subscriptions.find(({ subscription }) => subscription === name);
        if (wanted?.consumer !== row.consumer || wanted.autoAcknowledge !== row.autoAcknowledge) stopSubscription(name);
      }
      for (const row of membership.subscriptions) if (!subscriptions.has(row.subscription)) startSubscription(row);
      await Promise.all(membership.streams.filter(({ stream }) => !streams.has(stream)).map(startStream));
    },
    heartbeat(): void {
      const now = position();
      told = Math.max(told, now);
      frame({ comment: "heartbeat", id: told });
    },
    /** How far it is, for a reconnect. */
    note(): LiveNote {
      const now = performance.now();
      const catchUps: { stream: string; revision: number; position: number | null }[] = [];
      for (const [stream, flowing] of streams) {
        const { row, follower, caughtUpAt, passed } = flowing;
        if (row.catchUpPosition === null || follower === null) continue;
        const isCertain = caughtUpAt !== null && caughtUpAt < now - certainMs;
        passed.push({ at: now, position: follower.cursor().position });
        while (passed.length > 1 && (passed[1]?.at ?? now) < now - certainMs) passed.shift();
        const oldest = passed[0] as { at: number; position: number };
        const reached = oldest.at < now - certainMs ? oldest.position : row.catchUpPosition;
        if (!isCertain && reached === row.catchUpPosition) continue;
        flowing.row = { ...row, catchUpPosition: isCertain ? null : reached };
        catchUps.push({ stream, revision: row.revision, position: flowing.row.catchUpPosition });
      }
      return { id, epoch, position: told, catchUps };
    },
    /** Ends it; `final`: the reader shall not come back. */
    end(reason: string, final: boolean): void {
      release = final;
      frame({ ...(final ? { id: `end:${told}` } : {}), event: "sluice.end", data: { reason } });
      sink.end();
    },
    leave: () => sink.end(),
    done: () => Promise.all(ended),
  };
}
