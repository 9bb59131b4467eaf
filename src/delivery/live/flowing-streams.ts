// The streams that flow on a live connection, and how far the reader is in all of them.
import type { Principal } from "../../base/principal.ts";
import type { Cursor } from "../../stream/resolve.ts";
import type { Follower, Followers } from "../../subscription/following/follow.ts";
import type { Outlet } from "../../subscription/following/follower.ts";
import type { LiveNote, LiveStream } from "./membership.ts";

export type FlowingStreamsOptions = {
  principal: Principal;
  /** Everything up to here is known to the reader, of all streams that go by the connection's position. */
  position: number;
  followers: Followers;
  /** Where a stream stands at a position, and the head of the log. */
  locate: (stream: string, position: number) => Promise<{ cursor: Cursor; head: number }>;
  /** The last position that the tail has. */
  head: () => number;
  outlet: Pick<Outlet, "encoder" | "write" | "drained">;
  onCaughtUp: (stream: string, offset: number) => void;
  onGap: (stream: string, from: number, to: number) => void;
  onFailed: (stream: string, error: unknown) => void;
};

type FlowingStream = {
  row: LiveStream;
  from: number;
  /** Null until the stream has been located. */
  follower: Follower | null;
  isStarting: boolean;
  /** The connection's position does not pass it. Otherwise its history is sent without ids. */
  holds: boolean;
  /** Since when everything up to the connection's position has been written of it; null when that is not so yet. */
  joinedAt: number | null;
  /** Where it stood, by time, while it catches up. */
  passed: { at: number; position: number }[];
};

export type FlowingStreams = {
  /** Makes what flows equal to what is stored. Throws what kept a stream from beginning; it begins with a later call. */
  apply: (rows: readonly LiveStream[]) => Promise<void>;
  /** What the reader has been told: its last id. */
  told: () => number;
  /** Moves on what the reader is told. Returns whether it is more than before. */
  advance: () => boolean;
  catchUps: () => LiveNote["catchUps"];
  /** These have been stored. */
  noted: (catchUps: LiveNote["catchUps"]) => void;
  stop: () => void;
};

/** What was written so long ago has reached the reader, or the connection would have been noticed to be dead. */
const certainMs = 90_000;

export function createFlowingStreams(options: FlowingStreamsOptions): FlowingStreams {
  const streams = new Map<string, FlowingStream>();
  let told = options.position;
  let isKnown = false;

  const standsAt = ({ follower, from }: FlowingStream) => follower?.cursor().position ?? from;

  function prepare(row: LiveStream): void {
    const from = row.catchUpPosition ?? Math.max(told, row.startPosition);
    // The reader has no id beyond its place, and gets none before it has moved: it goes by the ids from the first moment on.
    const holds = from >= told;
    // Once that is stored, a reconnect begins at the id or at the start, which may be before where it stands.
    const isExact = row.catchUpPosition === null || from === row.startPosition;
    const joinedAt = holds ? (isExact ? Number.NEGATIVE_INFINITY : performance.now()) : null;
    streams.set(row.stream, { row, from, follower: null, isStarting: false, holds, joinedAt, passed: [] });
  }

  async function start(flowing: FlowingStream): Promise<void> {
    const { row, from } = flowing;
    const name = row.stream;
    const isCurrent = () => streams.get(name) === flowing;
    flowing.isStarting = true;
    let located: { cursor: Cursor; head: number };
    try {
      located = await options.locate(name, from);
    } catch (error) {
      if (isCurrent()) throw error;
      return;
    } finally {
      flowing.isStarting = false;
    }
    if (!isCurrent()) return;
    flowing.follower = options.followers.follow({
      selection: { streams: [name], types: row.types, correlation: null, key: row.key, where: row.where },
      target: row.target,
      single: true,
      principal: options.principal,
      start: located.cursor,
      historyEnd: -1,
      logHead: located.head,
      upTo: null,
      limit: null,
      outlet: {
        ...options.outlet,
        silent: true,
        onCaughtUp(at) {
          flowing.holds = true;
          options.onCaughtUp(name, at.offset);
        },
        onGap: (gapFrom, to) => options.onGap(name, gapFrom, to),
        onEnd(_reason, _cursor, error) {
          if (isCurrent()) streams.delete(name);
          options.onFailed(name, error);
        },
      },
    });
  }

  function stop(name: string): void {
    streams.get(name)?.follower?.stop();
    streams.delete(name);
  }

  /** Up to here everything has been written, of all streams that hold the position: of none, up to the head. */
  function reached(): number {
    if (!isKnown) return told;
    if (streams.size === 0) return Math.max(told, options.head());
    let lowest = Number.POSITIVE_INFINITY;
    for (const flowing of streams.values()) {
      if (!flowing.holds) continue;
      const at = standsAt(flowing);
      // What is told stands still until it has come as far.
      if (at >= told) flowing.joinedAt ??= performance.now();
      lowest = Math.min(lowest, at);
    }
    return Number.isFinite(lowest) ? Math.max(told, lowest) : told;
  }

  return {
    async apply(rows) {
      for (const [name, { row }] of streams) {
        const wanted = rows.find(({ stream }) => stream === name);
        if (wanted?.revision !== row.revision) stop(name);
      }
      for (const row of rows) if (!streams.has(row.stream)) prepare(row);
      // From here on the streams hold the position, whether they have been located or not.
      isKnown = true;
      const waiting = [...streams.values()].filter(({ follower, isStarting }) => follower === null && !isStarting);
      const started = await Promise.allSettled(waiting.map(start));
      for (const result of started) if (result.status === "rejected") throw result.reason;
    },
    told: () => told,
    advance() {
      const now = reached();
      const isMore = now > told;
      told = now;
      return isMore;
    },
    catchUps() {
      reached();
      const now = performance.now();
      const catchUps: LiveNote["catchUps"][number][] = [];
      for (const [stream, flowing] of streams) {
        const { row, joinedAt, passed } = flowing;
        if (row.catchUpPosition === null) continue;
        passed.push({ at: now, position: standsAt(flowing) });
        while (passed.length > 1 && (passed[1]?.at ?? now) < now - certainMs) passed.shift();
        const oldest = passed[0] as { at: number; position: number };
        const isCertain = joinedAt !== null && joinedAt < now - certainMs;
        const position = isCertain ? null : oldest.at < now - certainMs ? oldest.position : row.catchUpPosition;
        if (position !== row.catchUpPosition) catchUps.push({ stream, revision: row.revision, position });
      }
      return catchUps;
    },
    noted(catchUps) {
      for (const { stream, revision, position } of catchUps) {
        const flowing = streams.get(stream);
        if (flowing?.row.revision === revision) flowing.row = { ...flowing.row, catchUpPosition: position };
      }
    },
    stop() {
      for (const name of [...streams.keys()]) stop(name);
    },
  };
}
