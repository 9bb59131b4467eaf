// One live connection: the streams and subscriptions that flow on it, which come and go while it is open.
import { internalError, Problem, problemObject } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import { withstand } from "../../storage/withstand.ts";
import { envelope, type SchemaLinks, type StoredEvent } from "../../stream/event.ts";
import { type Feed, type FeedDependencies, openFeed } from "../../subscription/feed.ts";
import type { Encoder } from "../../subscription/following/follower.ts";
import { ByteSink } from "../byte-sink.ts";
import { encodeDeliveries } from "../delivery-frames.ts";
import { encodeFrame, type Frame } from "../sse-frame.ts";
import { createFlowingStreams, type FlowingStreamsOptions } from "./flowing-streams.ts";
import type { LiveMembership, LiveNote, LiveSubscription } from "./membership.ts";

export type LiveConnectionOptions = Pick<
  FlowingStreamsOptions,
  "principal" | "position" | "followers" | "locate" | "head"
> & {
  id: string;
  epoch: number;
  feeds: FeedDependencies;
  schemas: SchemaLinks;
  bufferBytes: number;
  /** `last`: how far it came. */
  onClose: (last: LiveNote) => void;
  log: Log;
};

type FlowingSubscription = { row: LiveSubscription; abort: AbortController };

export type LiveConnection = ReturnType<typeof createLiveConnection>;

const retryMs = 500;
const maxRetryMs = 10_000;

const keyOf = ({ subscription, consumer }: LiveSubscription) => `${subscription} ${consumer}`;

const textEncoder = new TextEncoder();
/** Frames without ids: the id of a live connection is where all of its streams stand. */
const encoderOf = (schemas: SchemaLinks): Encoder => ({
  key: "live",
  encode: (events: readonly StoredEvent[]) =>
    textEncoder.encode(events.map((event) => `data: ${envelope(event, schemas)}\n\n`).join("")),
});

export function createLiveConnection(options: LiveConnectionOptions) {
  const { id, epoch, feeds, schemas, log } = options;
  const subscriptions = new Map<string, FlowingSubscription>();
  const ended = new Set<Promise<void>>();
  /** What the reader was told last of a subscription and a consumer that do not flow: once is enough. */
  const told = new Map<string, string>();
  let telling = false;
  let closed = false;
  let release = true;
  const sink = new ByteSink(options.bufferBytes, close);

  const frame = (of: Frame) => sink.write(encodeFrame(of));

  const streams = createFlowingStreams({
    ...options,
    outlet: {
      encoder: encoderOf(schemas),
      write(chunk) {
        const room = sink.write(chunk);
        tell();
        return room;
      },
      drained: (signal) => sink.drained(signal),
    },
    onCaughtUp(stream, offset) {
      frame({ event: "sluice.caught-up", data: { stream, at: String(offset) } });
      tell();
    },
    onGap: (stream, from, to) =>
      void frame({ event: "sluice.gap", data: { stream, from: String(from), to: String(to) } }),
    onFailed: (stream, error) => void tellProblem({ stream }, toProblem({ stream }, error)),
  });

  /** Tells the reader how far it is, after what has been written in this turn. */
  function tell(): void {
    if (telling) return;
    telling = true;
    queueMicrotask(() => {
      telling = false;
      if (!closed && streams.advance()) frame({ id: streams.told() });
    });
  }

  function toProblem(of: Record<string, string>, error: unknown): Problem {
    const known = error instanceof Problem ? error : internalError(error);
    if (known.status >= 500) log.error({ err: error, live: id, ...of }, "a part of a live connection failed");
    return known;
  }

  const tellProblem = (of: Record<string, string>, problem: Problem) =>
    frame({ event: "sluice.problem", data: { ...problemObject(problem, "about:blank"), ...of } });

  function startSubscription(row: LiveSubscription): void {
    const flowing: FlowingSubscription = { row, abort: new AbortController() };
    subscriptions.set(row.subscription, flowing);
    const done = flow(flowing);
    ended.add(done);
    void done.then(() => ended.delete(done));
  }

  function tellOnce(row: LiveSubscription, what: string, tell: () => void): void {
    if (told.get(keyOf(row)) === what) return;
    told.set(keyOf(row), what);
    tell();
  }

  /** Until it is over, or its problem is one that does not pass; what is refused for the moment is tried again. */
  async function flow(flowing: FlowingSubscription): Promise<void> {
    const { row, abort } = flowing;
    const name = row.subscription;
    const of = { subscription: name };
    let feed: Feed | null = null;
    const closeFeed = async () => {
      const open = feed;
      feed = null;
      await open?.close(release);
    };
    for (let delayMs = retryMs; ; delayMs = Math.min(delayMs * 2, maxRetryMs)) {
      try {
        feed = await withstand(() => openFeed(feeds, { ...row, signal: abort.signal }), abort.signal);
        if (told.get(keyOf(row)) !== "completed") told.delete(keyOf(row));
        delayMs = retryMs;
        await write(feed, row, abort.signal);
        tellOnce(row, "completed", () => frame({ event: "sluice.end", data: { ...of, reason: "completed" } }));
        break;
      } catch (error) {
        if (abort.signal.aborted) break;
        const problem = toProblem(of, error);
        tellOnce(row, problem.code, () => tellProblem(of, problem));
        if (!problem.retryable) break;
      }
      await closeFeed();
      await pause(delayMs * (0.5 + Math.random() / 2), abort.signal);
      if (abort.signal.aborted) break;
    }
    if (subscriptions.get(name) === flowing) subscriptions.delete(name);
    await closeFeed();
  }

  /** Writes what the consumer is handed until its subscription is completed. */
  async function write(feed: Feed, row: LiveSubscription, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sink.drained(signal);
      const deliveries = await feed.next();
      if (deliveries === null) return;
      told.delete(keyOf(row));
      sink.write(encodeDeliveries(deliveries, { named: false, ids: false, subscription: row.subscription }, schemas));
    }
  }

  function stopSubscription(name: string): void {
    subscriptions.get(name)?.abort.abort();
    subscriptions.delete(name);
  }

  /** How far it is, for a reconnect. */
  const note = (): LiveNote => ({ id, epoch, position: streams.told(), catchUps: streams.catchUps() });

  function close(): void {
    if (closed) return;
    closed = true;
    const last = note();
    streams.stop();
    for (const name of [...subscriptions.keys()]) stopSubscription(name);
    options.onClose(last);
  }

  return {
    id,
    epoch,
    body: sink.body,
    begin(retryMs: number, logId: string): void {
      frame({
        retryMs,
        id: streams.told(),
        event: "sluice.ready",
        data: { live: id, head: String(options.head()), logId },
      });
    },
    /** Makes what flows equal to what is stored. Throws what kept a stream from beginning; it begins with a later call. */
    async apply(membership: LiveMembership): Promise<void> {
      if (closed) return;
      const wantedOf = (name: string) => membership.subscriptions.find(({ subscription }) => subscription === name);
      for (const [name, { row }] of subscriptions) {
        const wanted = wantedOf(name);
        if (wanted?.consumer !== row.consumer || wanted.autoAcknowledge !== row.autoAcknowledge) stopSubscription(name);
      }
      const wanted = new Set(membership.subscriptions.map(keyOf));
      for (const key of told.keys()) if (!wanted.has(key)) told.delete(key);
      for (const row of membership.subscriptions) if (!subscriptions.has(row.subscription)) startSubscription(row);
      await streams.apply(membership.streams);
    },
    heartbeat(): void {
      streams.advance();
      frame({ comment: "heartbeat", id: streams.told() });
    },
    note,
    /** A note of it has been stored. */
    noted: ({ catchUps }: LiveNote) => streams.noted(catchUps),
    /** Ends it; `final`: the reader shall not come back. */
    end(reason: string, final: boolean): void {
      release = final;
      frame({ ...(final ? { id: `end:${streams.told()}` } : {}), event: "sluice.end", data: { reason } });
      sink.end();
    },
    leave: () => sink.end(),
    done: () => Promise.all(ended),
  };
}
