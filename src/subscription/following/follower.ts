// A follower of the log: what is asked of it, where it stands, and how it goes on through a piece of the log.
import type { Principal } from "../../base/principal.ts";
import { removalsOf, type StoredEvent } from "../../stream/event.ts";
import type { Cursor } from "../../stream/resolve.ts";
import type { Target } from "../../stream/schema/target.ts";
import type { Selection } from "../../stream/selection.ts";
import type { TailBatch } from "../../stream/tail.ts";
import type { FollowerState } from "./follower-state.ts";

export type EndReason = "to" | "limit" | "failed";

/** Turns events into bytes. Followers with equal selections and encoders of equal keys share what it makes. */
export type Encoder = { key: string; encode: (events: readonly StoredEvent[]) => Uint8Array };

/** What a follower is told; the delivery turns it into frames. */
export type Outlet = {
  encoder: Encoder;
  /** It is kept alive by other means: it gets no heartbeats. */
  silent?: true;
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
  /** As which versions the events are wanted. */
  target: Target;
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
  /** Breaks its reading off; null while it does not read. */
  abort: AbortController | null;
  group: Group;
  /** Its reader has more to read than the buffer holds. */
  waiting: boolean;
  /** While the last pages before going live are being read: what has come for the group since. */
  held: { steps: Step[]; bytes: number } | null;
};

/** Offsets that are missing, both inclusive. */
export type Gap = { from: number; to: number };

/** One step of a reader: offsets that are missing, then events, and where it stands then. */
export type Step = { gap: Gap | null; events: readonly StoredEvent[]; reached: Cursor };

/** Followers that want the same events in the same form: what is live is matched and encoded once for all of them. */
export type Group = {
  key: string;
  selection: Selection;
  target: Target;
  /** The stream whose offsets are counted; null where several are followed. */
  stream: string | null;
  matches: (event: StoredEvent) => boolean;
  encoder: Encoder;
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

/**
 * The steps of a reader through a piece of the log, to the end that it asked for at the farthest. Where offsets of its
 * stream are missing, a new step begins: what was removed while the piece came together can leave a hole in its middle,
 * between events that this process had stored itself.
 */
export function walk(start: Cursor, piece: TailBatch, stream: string | null, upTo: UpTo | null): Step[] {
  const steps: Step[] = [];
  let { offset } = start;
  let gap: Gap | null = null;
  let events: StoredEvent[] = [];
  const close = (position: number) => {
    const reached = capped(upTo, { position: Math.max(position, start.position), offset });
    steps.push({ gap, events, reached });
  };
  for (const event of piece.events) {
    if (event.position <= start.position) continue;
    if (upTo?.kind === "position" && event.position > upTo.value) break;
    const own = event.stream === stream;
    const last = stream === null ? -1 : own ? event.offset : removedUpTo(event, stream);
    const missing = own ? last - 1 : last;
    if (missing > offset) {
      if (gap !== null || events.length > 0) close(event.position - 1);
      gap = { from: offset + 1, to: missing };
      events = [];
    }
    offset = Math.max(offset, last);
    events.push(event);
  }
  close(piece.upTo);
  return steps;
}

function removedUpTo(event: StoredEvent, stream: string): number {
  return removalsOf(event).get(stream) ?? -1;
}
