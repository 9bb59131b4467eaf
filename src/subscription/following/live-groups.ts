// The live set: groups of equal followers, to whom the tail's batches are passed on as they come.
import { type StoredEvent, sizeOf } from "../../stream/event.ts";
import type { Cursor } from "../../stream/resolve.ts";
import { asStored, type Target } from "../../stream/schema/target.ts";
import { createMatcher, selectionKey } from "../../stream/selection.ts";
import type { TailBatch } from "../../stream/tail.ts";
import {
  capped,
  type EndReason,
  type FollowRequest,
  farther,
  type Group,
  isReached,
  type Member,
  type Step,
  standsAt,
  walk,
} from "./follower.ts";
import { next } from "./follower-state.ts";
import type { StageKey } from "./upcast-stage.ts";

export type LiveGroupsOptions = {
  /** The last position that the tail has. */
  head: () => number;
  /** Hands a batch to the evaluator of a predicate; it comes back through `passFor`. */
  evaluate: (where: string, batch: TailBatch) => void;
  /** Hands a batch over to be brought to the versions that are wanted; it comes back through `passShown`. */
  upcast: (key: StageKey, batch: TailBatch, satisfying: Set<number> | null) => void;
  /** A live follower's reader has fallen behind, or its predicate could not be evaluated: it has to catch up. */
  onBehind: (member: Member) => void;
};

export type LiveGroups = ReturnType<typeof createLiveGroups>;

/** Bytes of events that are held back for one follower while it reads its last pages. */
const maxHeldBytes = 1_000_000;

export function createLiveGroups({ head, evaluate, upcast, onBehind }: LiveGroupsOptions) {
  const groups = new Map<string, Group>();
  const members = new Set<Member>();
  let boundedGroups = 0;

  function groupOf(request: FollowRequest): Group {
    const { selection, target, outlet, principal, upTo } = request;
    // A bounded follower counts its own events: it shares with nobody.
    const bounded = request.limit !== null || upTo !== null;
    const own = bounded ? String(++boundedGroups) : "";
    const key = `${selectionKey(selection)} ${target.key} ${outlet.encoder.key} ${principal.name} ${own}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = {
        key,
        selection,
        target,
        stream: request.single ? (selection.streams?.[0] ?? null) : null,
        matches: createMatcher(selection, principal),
        encoder: outlet.encoder,
        bounded,
        upTo,
        cursor: request.start,
        members: new Set(),
        users: 0,
      };
      groups.set(key, group);
    }
    group.users++;
    return group;
  }

  /** Takes a follower in; it begins outside the live set. */
  function enter(request: FollowRequest): Member {
    const member: Member = {
      request,
      cursor: request.start,
      sent: 0,
      state: "catching-up",
      abort: null,
      group: groupOf(request),
      waiting: false,
      held: null,
    };
    members.add(member);
    return member;
  }

  function remove(member: Member): void {
    if (member.state === "ended") return;
    member.cursor = standsAt(member);
    member.state = next(member.state, "stopped");
    member.abort?.abort();
    members.delete(member);
    const { group } = member;
    member.held = null;
    group.members.delete(member);
    group.users--;
    if (group.users === 0) groups.delete(group.key);
  }

  function end(member: Member, reason: EndReason, cursor: Cursor, error?: unknown): void {
    if (member.state === "ended") return;
    remove(member);
    member.cursor = cursor;
    member.request.outlet.onEnd(reason, cursor, error);
  }

  /** Writes events to one follower, as far as its bounds allow. False when its reader must be waited for or it has ended. */
  function emit(member: Member, events: readonly StoredEvent[], reached: Cursor): boolean {
    const { limit, upTo, outlet } = member.request;
    let wanted = upTo === null ? events : events.filter((event) => event[upTo.kind] <= upTo.value);
    // What the database told to be removed can still come from a tail that is behind it.
    if (member.group.stream !== null) wanted = wanted.filter((event) => event.offset > member.cursor.offset);
    if (limit !== null) wanted = wanted.slice(0, limit - member.sent);
    member.sent += wanted.length;
    const room = wanted.length === 0 || outlet.write(outlet.encoder.encode(wanted));
    const last = wanted.at(-1);
    if (limit !== null && member.sent >= limit) {
      end(member, "limit", last === undefined ? reached : { position: last.position, offset: last.offset });
    } else if (isReached(upTo, reached)) end(member, "to", capped(upTo, reached));
    else member.cursor = farther(reached, member.cursor);
    return room && member.state !== "ended";
  }

  function onBatch(batch: TailBatch): void {
    const paths = new Set<string>();
    const stages = new Map<string, StageKey>();
    for (const group of groups.values()) {
      if (group.members.size === 0) continue;
      if (group.selection.where !== null) paths.add(group.selection.where);
      else if (group.target === asStored) pass(group, batch, null);
      else stages.set(group.target.key, { where: null, target: group.target });
    }
    for (const key of stages.values()) upcast(key, batch, null);
    for (const where of paths) evaluate(where, batch);
  }

  /** Passes an evaluated batch on to the groups with its predicate. */
  function passFor(where: string, batch: TailBatch, satisfying: Set<number>): void {
    const stages = new Map<string, StageKey>();
    for (const group of groups.values()) {
      if (group.members.size === 0 || group.selection.where !== where) continue;
      if (group.target === asStored) pass(group, batch, satisfying);
      else stages.set(group.target.key, { where, target: group.target });
    }
    for (const key of stages.values()) upcast(key, batch, satisfying);
  }

  /** Passes a batch on to the groups that want it in these versions. */
  function passShown({ where, target }: StageKey, batch: TailBatch, satisfying: Set<number> | null): void {
    for (const group of groups.values())
      if (group.selection.where === where && group.target.key === target.key) pass(group, batch, satisfying);
  }

  function pass(group: Group, batch: TailBatch, satisfying: Set<number> | null): void {
    if (group.members.size === 0 || batch.upTo <= group.cursor.position) return;
    for (const step of walk(group.cursor, batch, group.stream, group.upTo)) {
      const events = step.events.filter(
        (event) => group.matches(event) && (satisfying === null || satisfying.has(event.position)),
      );
      passStep(group, { ...step, events });
    }
  }

  function passStep(group: Group, step: Step): void {
    const before = group.cursor;
    const { gap, events, reached } = step;
    if (gap !== null) for (const member of group.members) tell(member, gap.to);
    group.cursor = reached;
    if (events.length === 0 && gap === null && !group.bounded) return;
    let shared: Uint8Array | null = null;
    for (const member of group.members) {
      if (member.held !== null) {
        hold(member, step);
        continue;
      }
      if (events.length === 0 && !group.bounded) continue;
      // Who joined ahead of the tail has read further already.
      const ahead =
        member.cursor.position > before.position ||
        (group.stream !== null && events.length > 0 && (events[0] as StoredEvent).offset <= member.cursor.offset);
      if (ahead || group.bounded) {
        const rest = ahead ? events.filter((event) => event.position > member.cursor.position) : events;
        if (!emit(member, rest, reached)) leave(member);
        continue;
      }
      shared ??= group.encoder.encode(events);
      member.sent += events.length;
      if (!member.request.outlet.write(shared)) leave(member);
    }
  }

  /** Tells a live follower of the offsets up to `to` that it will not get; for one that still reads pages that is held back too. */
  function tell(member: Member, to: number): void {
    const { offset } = standsAt(member);
    if (member.held === null && to > offset) member.request.outlet.onGap(offset + 1, to);
  }

  function hold(member: Member, step: Step): void {
    const { held } = member;
    if (held === null || (step.gap === null && step.events.length === 0)) return;
    held.steps.push(step);
    for (const event of step.events) held.bytes += sizeOf(event);
    // A reader that is too slow for what comes meanwhile must not fill the memory.
    if (held.bytes > maxHeldBytes) drop(member);
  }

  /** Ends holding back for a follower, which is still catching up. */
  function drop(member: Member): void {
    member.held = null;
    member.group.members.delete(member);
  }

  /** The follower has to catch up from the ring or the database, as one that starts late does. */
  function leave(member: Member): void {
    if (member.state !== "live") return;
    member.cursor = standsAt(member);
    member.group.members.delete(member);
    member.state = next(member.state, "fell-behind");
    onBehind(member);
  }

  /**
   * A group that begins to live goes on from the tail's head, wherever its first member stands: what the tail has yet to
   * pass on of what is before must not come again. The member may know from the database of a deletion to which the
   * tail has yet to come, and others not: no offset is known to all.
   */
  function begin(group: Group): void {
    group.cursor = { position: head(), offset: -1 };
  }

  /** Makes a follower live that has read up to the tail's head or beyond. */
  function join(member: Member): void {
    const { group } = member;
    if (group.members.size === 0) begin(group);
    group.members.add(member);
    const first = member.state === "catching-up";
    member.state = next(member.state, "caught-up");
    if (first) member.request.outlet.onCaughtUp(standsAt(member));
  }

  return {
    enter,
    remove,
    end,
    emit,
    leave,
    join,
    onBatch,
    passFor,
    passShown,
    /** Whether a group of this kind wants the event. */
    wants({ where, target }: StageKey, event: StoredEvent): boolean {
      for (const group of groups.values())
        if (
          group.members.size > 0 &&
          group.selection.where === where &&
          group.target.key === target.key &&
          group.matches(event)
        )
          return true;
      return false;
    },
    members: (): ReadonlySet<Member> => members,
    size: () => groups.size,
    /** Enters the group of a follower that is still reading; from the returned position on, what comes is held back for it. */
    beginHolding(member: Member): number {
      const { group } = member;
      if (group.members.size === 0) begin(group);
      member.held = { steps: [], bytes: 0 };
      group.members.add(member);
      return group.cursor.position;
    },
    drop,
    /** Writes what was held back. True when the follower is live now, false when its reader has to be waited for. */
    release(member: Member): boolean {
      const { group } = member;
      const steps = member.held?.steps ?? [];
      member.held = null;
      let room = true;
      for (const { gap, events, reached } of steps) {
        const { position, offset } = member.cursor;
        if (gap !== null && gap.to > offset) member.request.outlet.onGap(offset + 1, gap.to);
        const rest = events.filter((event) => event.position > position);
        room = emit(member, rest, reached);
        if (!room) break;
      }
      room = room && emit(member, [], farther(group.cursor, member.cursor));
      if (room) join(member);
      else group.members.delete(member);
      return room;
    },
    /** Sends all that wait for a predicate, or for events in their versions, to catch up by themselves. */
    dispersed(where: string | null, target: Target | null): void {
      for (const group of groups.values()) {
        if (group.selection.where !== where || (target !== null && group.target.key !== target.key)) continue;
        for (const member of [...group.members]) {
          if (member.held !== null) drop(member);
          else leave(member);
        }
      }
    },
  };
}
