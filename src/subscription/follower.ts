// A follower of the log: what is asked of it, where it stands, and how it goes on through a piece of the log.
import type { Principal } from "../base/principal.ts";
import { removalOf, type StoredEvent } from "../stream/event.ts";
import type { Cursor } from "../stream/resolve.ts";
import type { Selection } from "../stream/selection.ts";
import type { TailBatch } from "../stream/tail.ts";
import type { FollowerState } from "./follower-state.ts";

export type EndReason = "to" | "limit" | "failed";

/** What a follower is told; the delivery turns it into frames. */
export type Outlet = {
  /** Followers with equal selections and equal keys share what `encode` returns. */
  encodingKey: string;
  encode: (events: readonly StoredEvent[]) => Uint8Array;
  /** False when the reader has to be waited for: the follower then leaves the live set. */
  write: (chunk: Uint8Array) => boolean;
  /** Resolves when there is room to write; rejects when the signal fires. */
  drained: (signal: AbortSignal) => Promise<void>;
  onCaughtUp: (cursor: Cursor) => void;
  /** Events that the cursor asked for have been removed: offsets, both inclusive. */
  onGap: (from: number, to: number) => void;
  /** The follower is done (`to` or `limit` reached), or failed for good. */
  onEnd: (reason: EndReason, cursor: Cursor, error?: unknown) => void;
};

/** The last offset or position that is wanted, inclusive. */
export type UpTo = { kind: keyof Cursor; value: number };

export type FollowRequest = {
  selection: Selection;
  /** Exactly one stream is followed: its offsets are the cursor that the reader sees. */
  single: boolean;
  principal: Principal;
  start: Cursor;
  /** The head when the follower came: streams that forbid replay are passed over up to here. */
  historyEnd: number;
  /** The head of the log when the follower came: up to there the database is asked, if the tail has yet to get as far. */
  logHead: number;
  /** Ends when everything up to here has been written. */
  upTo: UpTo | null;
  /** Ends after this many events. */
  limit: number | null;
  outlet: Outlet;
};

/** A follower, as the parts that move it see it. */
export type Member = {
  request: FollowRequest;
  /** Everything up to here has been written; a live one may stand further, with its group. */
  cursor: Cursor;
  sent: number;
  state: FollowerState;
  abort: AbortController;
  group: Group;
  /** Its reader has more to read than the buffer holds. */
  waiting: boolean;
  /** While the last pages before going live are being read: what has come for the group since. */
  held: { pieces: HeldPiece[]; bytes: number } | null;
};

/** What a batch had for a follower: offsets that are missing, then events. */
export type HeldPiece = { gap: Gap | null; events: readonly StoredEvent[]; reached: Cursor };

/** Followers that want the same events in the same form: what is live is matched and encoded once for all of them. */
export type Group = {
  key: string;
  selection: Selection;
  /** The stream whose offsets are counted; null where several are followed. */
  stream: string | null;
  matches: (event: StoredEvent) => boolean;
  encode: Outlet["encode"];
  encodingKey: string;
  /** Has one follower, which ends by itself. */
  bounded: boolean;
  upTo: UpTo | null;
  /** What has been passed on to the live members. The offset may be too low as long as every member knows better. */
  cursor: Cursor;
  members: Set<Member>;
  /** Followers of this group in any state. */
  users: number;
};

/** Where a follower stands: a live one with its group, unless it came with a head that the tail has yet to reach. */
export function standsAt(member: Member): Cursor {
  return member.state === "live" ? farther(member.group.cursor, member.cursor) : member.cursor;
}

/** The farther of two points that one reader has reached. */
export function farther(a: Cursor, b: Cursor): Cursor {
  if (a.position >= b.position && a.offset >= b.offset) return a;
  return { position: Math.max(a.position, b.position), offset: Math.max(a.offset, b.offset) };
}

export function isReached(upTo: UpTo | null, cursor: Cursor): boolean {
  return upTo !== null && cursor[upTo.kind] >= upTo.value;
}

/** The cursor, or the end that was asked for when that comes first. */
export function capped(upTo: UpTo | null, cursor: Cursor): Cursor {
  return upTo === null ? cursor : { ...cursor, [upTo.kind]: Math.min(cursor[upTo.kind], upTo.value) };
}

/** Offsets that are missing, both inclusive. */
export type Gap = { from: number; to: number };

/**
 * Where a reader stands after a piece of the log, at the end that it asked for at the farthest, and which offsets of its
 * stream are missing from the piece. They precede all its events there: a removal always takes a stream's oldest.
 */
export function walk(
  start: Cursor,
  piece: TailBatch,
  stream: string | null,
  upTo: UpTo | null,
): { reached: Cursor; gap: Gap | null } {
  let { offset } = start;
  let from: number | null = null;
  let to = -1;
  if (stream !== null) {
    for (const event of piece.events) {
      if (event.position <= start.position) continue;
      if (upTo?.kind === "position" && event.position > upTo.value) break;
      const removal = removalOf(event);
      const own = event.stream === stream;
      if (!own && removal?.stream !== stream) continue;
      const last = own ? event.offset : (removal?.to ?? -1);
      const missing = own ? last - 1 : last;
      if (missing > offset) {
        from ??= offset + 1;
        to = missing;
      }
      offset = Math.max(offset, last);
    }
  }
  const gap = from === null ? null : { from, to };
  return { reached: capped(upTo, { position: Math.max(piece.upTo, start.position), offset }), gap };
}
