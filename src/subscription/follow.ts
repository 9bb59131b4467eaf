// Followers of the log: each catches up from where it stands, joins the live set, and leaves it when its reader falls behind.
import type { Log } from "../base/log.ts";
import type { Principal } from "../base/principal.ts";
import type { Semaphore } from "../base/semaphore.ts";
import { isOutage } from "../storage/pg-errors.ts";
import type { Pool } from "../storage/pool.ts";
import type { StoredEvent } from "../stream/event.ts";
import { type Page, readPage } from "../stream/page.ts";
import { isPathError, matchPositions } from "../stream/path-filter.ts";
import type { Cursor } from "../stream/resolve.ts";
import { createMatcher, isUnfiltered, type Selection, selectionKey } from "../stream/selection.ts";
import { readFirstOffset } from "../stream/stream-head.ts";
import type { Tail, TailBatch } from "../stream/tail.ts";
import { type FollowerState, next } from "./follower-state.ts";

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
  onEnd: (reason: "to" | "limit" | "failed", cursor: Cursor, error?: unknown) => void;
};

export type FollowRequest = {
  selection: Selection;
  /** Exactly one stream is followed: its offsets are the cursor that the reader sees. */
  single: boolean;
  principal: Principal;
  start: Cursor;
  /** The head when the follower came: streams that forbid replay are passed over up to here. */
  historyEnd: number;
  /** Ends when everything up to here, inclusive, has been written. */
  upTo: { kind: keyof Cursor; value: number } | null;
  /** Ends after this many events. */
  limit: number | null;
  outlet: Outlet;
};

export type Follower = {
  /** The point up to which everything has been written. */
  cursor: () => Cursor;
  state: () => FollowerState;
  /** Leaves; nothing is written afterwards. */
  stop: () => void;
};

export type FollowersOptions = {
  tail: Tail;
  pool: Pool;
  /** Bounds the pages that all followers together read from the database at once. */
  catchUps: Semaphore;
  streamIds: (names: readonly string[]) => Promise<number[]>;
  log: Log;
};

export type Followers = {
  follow: (request: FollowRequest) => Follower;
  /** Calls back for each live group with its shared cursor, and for each follower that is catching up. */
  heartbeat: (group: (encodingKey: string, cursor: Cursor, write: (chunk: Uint8Array) => void) => void) => void;
  counts: () => { live: number; catchingUp: number; groups: number };
  stop: () => void;
};

type Member = {
  request: FollowRequest;
  cursor: Cursor;
  sent: number;
  state: FollowerState;
  abort: AbortController;
  group: Group;
  /** While the last page before going live is being read: what has come for the group since. */
  held: StoredEvent[] | null;
};

type Group = {
  key: string;
  selection: Selection;
  single: boolean;
  matches: (event: StoredEvent) => boolean;
  encode: Outlet["encode"];
  encodingKey: string;
  /** Has one member, which ends by itself. */
  bounded: boolean;
  /** Where the live members stand. */
  cursor: Cursor;
  members: Set<Member>;
  /** Followers of this group in any state. */
  users: number;
};

/** Bytes of the ring that are passed on between two looks at the reader. */
const ringBytes = 256 * 1024;
const pageEvents = 1_000;
const pageBudgetMs = 1_000;
const retryMs = 250;
const maxRetryMs = 5_000;

export function createFollowers(options: FollowersOptions): Followers {
  const { tail, pool, catchUps, log } = options;
  const groups = new Map<string, Group>();
  const members = new Set<Member>();
  const evaluators = new Map<string, Evaluator>();
  let boundedGroups = 0;
  const unsubscribe = tail.subscribe(onBatch);

  function groupOf(request: FollowRequest): Group {
    const { selection, outlet, principal } = request;
    // A bounded follower counts its own events: it shares with nobody.
    const bounded = request.limit !== null || request.upTo !== null;
    const own = bounded ? String(++boundedGroups) : "";
    const key = `${selectionKey(selection)} ${outlet.encodingKey} ${principal.name} ${own}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = {
        key,
        selection,
        single: request.single,
        matches: createMatcher(selection, principal),
        encode: outlet.encode,
        encodingKey: outlet.encodingKey,
        bounded,
        cursor: request.start,
        members: new Set(),
        users: 0,
      };
      groups.set(key, group);
    }
    group.users++;
    return group;
  }

  function onBatch(batch: TailBatch): void {
    for (const group of groups.values()) {
      if (group.members.size === 0) continue;
      if (group.selection.where === null) pass(group, batch, null);
      else evaluatorOf(group.selection.where).push(batch);
    }
  }

  /** Passes a piece of the log on to the live members of a group. */
  function pass(group: Group, batch: TailBatch, satisfying: Set<number> | null): void {
    if (batch.upTo <= group.cursor.position) return;
    const matching: StoredEvent[] = [];
    let { offset } = group.cursor;
    for (const event of batch.events) {
      if (event.position <= group.cursor.position) continue;
      if (group.single && event.stream === group.selection.streams?.[0]) offset = event.offset;
      if (group.matches(event) && (satisfying === null || satisfying.has(event.position))) matching.push(event);
    }
    group.cursor = { position: batch.upTo, offset };
    if (matching.length === 0 && !group.bounded) return;
    let shared: Uint8Array | null = null;
    for (const member of group.members) {
      if (member.held !== null) {
        member.held.push(...matching);
        continue;
      }
      // Who joined ahead of the group has read further already.
      const ahead = member.cursor.position > batch.after;
      if (ahead || group.bounded) {
        const rest = ahead ? matching.filter((event) => event.position > member.cursor.position) : matching;
        if (!emit(member, rest, group.cursor)) leave(member);
        continue;
      }
      shared ??= group.encode(matching);
      member.sent += matching.length;
      if (!member.request.outlet.write(shared)) leave(member);
    }
  }

  /** Writes events to one member, as far as its bounds allow. False when its reader must be waited for or it has ended. */
  function emit(member: Member, events: readonly StoredEvent[], reached: Cursor): boolean {
    const { limit, upTo, outlet } = member.request;
    let wanted = events;
    if (upTo !== null) wanted = wanted.filter((event) => event[upTo.kind] <= upTo.value);
    if (limit !== null) wanted = wanted.slice(0, limit - member.sent);
    member.sent += wanted.length;
    const full = wanted.length > 0 && !outlet.write(outlet.encode(wanted));
    const ended =
      limit !== null && member.sent >= limit
        ? "limit"
        : upTo !== null && reached[upTo.kind] >= upTo.value
          ? "to"
          : null;
    if (ended !== null) {
      const last = wanted.at(-1);
      const at = ended === "limit" && last !== undefined ? { position: last.position, offset: last.offset } : reached;
      end(member, ended, at);
      return false;
    }
    return !full;
  }

  /** The reader fell behind: the follower catches up from the ring or the database, as one that starts late does. */
  function leave(member: Member): void {
    if (member.state === "ended") return;
    member.group.members.delete(member);
    if (member.cursor.position < member.group.cursor.position) member.cursor = member.group.cursor;
    member.state = next(member.state, "fell-behind");
    void catchUp(member);
  }

  function join(member: Member): void {
    const { group } = member;
    if (group.members.size === 0) group.cursor = member.cursor;
    const first = member.state === "catching-up";
    member.state = next(member.state, "caught-up");
    group.members.add(member);
    if (first) member.request.outlet.onCaughtUp(member.cursor);
  }

  function end(member: Member, reason: "to" | "limit" | "failed", cursor: Cursor, error?: unknown): void {
    if (member.state === "ended") return;
    member.cursor = cursor;
    remove(member);
    member.request.outlet.onEnd(reason, cursor, error);
  }

  function remove(member: Member): void {
    if (member.state === "ended") return;
    member.state = next(member.state, "stopped");
    member.abort.abort();
    members.delete(member);
    const { group } = member;
    group.members.delete(member);
    group.users--;
    if (group.users === 0) groups.delete(group.key);
  }

  /** Reads on from the member's cursor until it stands where its group stands, then joins it. */
  async function catchUp(member: Member): Promise<void> {
    const { outlet, selection } = member.request;
    const { signal } = member.abort;
    let delayMs = retryMs;
    while (member.state !== "ended") {
      try {
        await outlet.drained(signal);
        if (selection.where === null ? catchUpFromRing(member) : await catchUpHolding(member)) return;
        await catchUpFromDatabase(member, tail.head());
        delayMs = retryMs;
      } catch (error) {
        if (signal.aborted) return;
        if (!isOutage(error)) {
          if (!isPathError(error)) log.error({ err: error }, "a follower failed");
          return end(member, "failed", member.cursor, error);
        }
        // The database is away: the connection stays and goes on when it is back.
        await pause(delayMs, signal);
        delayMs = Math.min(delayMs * 2, maxRetryMs);
      }
    }
  }

  /** True when the member has joined its group, or ended. Nothing here waits, so nothing can slip in between. */
  function catchUpFromRing(member: Member): boolean {
    for (;;) {
      const batch = tail.since(member.cursor.position, ringBytes);
      if (batch === null) return false;
      if (batch.upTo <= member.cursor.position && member.cursor.position >= tail.head()) {
        join(member);
        return true;
      }
      const reached = advance(member, batch);
      const wanted = batch.events.filter((event) => member.group.matches(event));
      const room = emit(member, wanted, reached);
      if (member.state === "ended") return true;
      member.cursor = reached;
      if (!room) return false;
    }
  }

  /**
   * With a payload predicate only the database can read on. Near the head the member enters its group at once and what
   * comes for it is held back until the last page is written: however busy the log is, it arrives.
   */
  async function catchUpHolding(member: Member): Promise<boolean> {
    if (tail.since(member.cursor.position, 0) === null) return false;
    const { group } = member;
    if (group.members.size === 0)
      group.cursor = { position: Math.max(tail.head(), member.cursor.position), offset: member.cursor.offset };
    const seam = group.cursor.position;
    member.held = [];
    group.members.add(member);
    try {
      while (member.cursor.position < seam) {
        await catchUpFromDatabase(member, seam);
        if (member.state === "ended") return true;
        await member.request.outlet.drained(member.abort.signal);
      }
    } catch (error) {
      group.members.delete(member);
      member.held = null;
      throw error;
    }
    const held = member.held.filter((event) => event.position > member.cursor.position);
    member.held = null;
    group.members.delete(member);
    if (held.length > 0 || group.bounded) {
      const room = emit(member, held, group.cursor);
      if ((member.state as FollowerState) === "ended") return true;
      if (member.cursor.position < group.cursor.position) member.cursor = group.cursor;
      if (!room) return false;
    }
    join(member);
    return true;
  }

  /** Where the member stands after a piece of the ring; tells it of offsets that are missing there. */
  function advance(member: Member, batch: TailBatch): Cursor {
    let { offset } = member.cursor;
    if (member.request.single) {
      for (const event of batch.events) {
        if (event.stream !== member.request.selection.streams?.[0] || event.offset <= offset) continue;
        if (event.offset > offset + 1) member.request.outlet.onGap(offset + 1, event.offset - 1);
        offset = event.offset;
      }
    }
    return { position: batch.upTo, offset };
  }

  async function catchUpFromDatabase(member: Member, head: number): Promise<void> {
    const { request, abort } = member;
    const { selection, principal, historyEnd } = request;
    const streamIds = selection.streams === null ? null : await options.streamIds(selection.streams);
    const bound = Math.min(
      Math.max(head, member.cursor.position),
      request.upTo?.kind === "position" ? request.upTo.value : Number.MAX_SAFE_INTEGER,
    );
    const page: Page = await catchUps.run(
      () =>
        readPage(pool, {
          selection,
          streamIds,
          principal,
          direction: "forward",
          cursor: member.cursor.position,
          bound,
          limit: Math.min(pageEvents, (request.limit ?? Number.MAX_SAFE_INTEGER) - member.sent),
          historyEnd,
          budgetMs: pageBudgetMs,
          signal: abort.signal,
        }),
      abort.signal,
    );
    let { offset } = member.cursor;
    if (request.single && streamIds?.[0] !== undefined) {
      const firstOffset = await pool.run((sql) => readFirstOffset(sql, streamIds[0] as number), abort.signal);
      const firstRead = page.events[0]?.offset;
      if (firstOffset > offset + 1 && (firstRead === undefined || firstRead >= firstOffset)) {
        request.outlet.onGap(offset + 1, firstOffset - 1);
        offset = firstOffset - 1;
      }
      offset = Math.max(offset, page.events.at(-1)?.offset ?? -1);
      if (!isUnfiltered(selection))
        offset = Math.max(offset, await lastOffsetUpTo(streamIds[0] as number, page.reached));
    }
    if (member.state === "ended") return;
    const reached = { position: page.reached, offset };
    emit(member, page.events, reached);
    if (member.state !== ("ended" as FollowerState)) member.cursor = reached;
  }

  async function lastOffsetUpTo(streamId: number, position: number): Promise<number> {
    const rows = await pool.run(
      (sql) => sql<{ offset: string }[]>`
        select e."offset" from events e where e.stream_id = ${streamId} and e.position <= ${position}
        order by e.position desc limit 1`,
    );
    return Number(rows[0]?.offset ?? -1);
  }

  type Evaluator = { push: (batch: TailBatch) => void };

  /** Evaluates one predicate for everything live, one statement for all that has come since the last. */
  function evaluatorOf(where: string): Evaluator {
    const existing = evaluators.get(where);
    if (existing !== undefined) return existing;
    let pending: TailBatch[] = [];
    let running = false;
    let newest: TailBatch | null = null;

    async function run(): Promise<void> {
      while (pending.length > 0) {
        const batches = pending;
        pending = [];
        const merged: TailBatch = {
          after: (batches[0] as TailBatch).after,
          upTo: (batches.at(-1) as TailBatch).upTo,
          events: batches.flatMap((batch) => batch.events),
        };
        try {
          const satisfying = await matchPositions(pool, where, merged.after, merged.upTo);
          for (const group of using()) pass(group, merged, satisfying);
        } catch (error) {
          // Catching up tries again, or tells the reader that its path cannot be evaluated.
          log.debug({ err: error }, "a predicate could not be evaluated for the live end");
          for (const group of using()) for (const member of [...group.members]) leave(member);
        }
      }
      running = false;
      if (using().length === 0) evaluators.delete(where);
    }

    const using = () =>
      [...groups.values()].filter((group) => group.selection.where === where && group.members.size > 0);
    const evaluator: Evaluator = {
      push(batch) {
        // Several groups of one predicate pass the same batch on.
        if (newest === batch) return;
        newest = batch;
        pending.push(batch);
        if (running) return;
        running = true;
        void run();
      },
    };
    evaluators.set(where, evaluator);
    return evaluator;
  }

  return {
    follow(request) {
      const member: Member = {
        request,
        cursor: request.start,
        sent: 0,
        state: "catching-up",
        abort: new AbortController(),
        group: groupOf(request),
        held: null,
      };
      members.add(member);
      void catchUp(member);
      return {
        cursor: () =>
          member.state === "live" && member.cursor.position < member.group.cursor.position
            ? member.group.cursor
            : member.cursor,
        state: () => member.state,
        stop: () => remove(member),
      };
    },
    heartbeat(visit) {
      for (const group of groups.values()) {
        visit(group.encodingKey, group.cursor, (chunk) => {
          for (const member of group.members) {
            if (member.cursor.position <= group.cursor.position && !member.request.outlet.write(chunk)) leave(member);
          }
        });
      }
      for (const member of members) {
        if (member.state === "live" && member.cursor.position <= member.group.cursor.position) continue;
        visit(member.group.encodingKey, member.cursor, (chunk) => member.request.outlet.write(chunk));
      }
    },
    counts() {
      let live = 0;
      for (const group of groups.values()) live += group.members.size;
      return { live, catchingUp: members.size - live, groups: groups.size };
    },
    stop() {
      unsubscribe();
      for (const member of [...members]) remove(member);
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
