// Followers of the log: each catches up from where it stands, joins the live set, and leaves it when its reader falls behind.
import type { Log } from "../../base/log.ts";
import { createSemaphore, type Semaphore } from "../../base/semaphore.ts";
import type { Pool } from "../../storage/pool.ts";
import { evaluatePath } from "../../stream/path-filter.ts";
import type { Cursor } from "../../stream/resolve.ts";
import type { Upcasting } from "../../stream/schema/upcasting.ts";
import type { StreamStart } from "../../stream/stream-head.ts";
import type { Tail } from "../../stream/tail.ts";
import { createCatchUp } from "./catch-up.ts";
import { type Encoder, type FollowRequest, type Group, standsAt } from "./follower.ts";
import type { FollowerState } from "./follower-state.ts";
import { createLiveGroups } from "./live-groups.ts";
import { createPredicateEvaluator } from "./predicate-evaluator.ts";
import { createUpcastStage } from "./upcast-stage.ts";

export type Follower = {
  /** The point up to which everything has been written. */
  cursor: () => Cursor;
  state: () => FollowerState;
  /** Leaves; nothing is written afterwards. */
  stop: () => void;
};

export type FollowersOptions = {
  tail: Pick<Tail, "since" | "head" | "subscribe">;
  pool: Pool;
  upcasting: Pick<Upcasting, "show" | "showShared" | "isShownAsStored">;
  /** Bounds the pages that all followers together read from the database at once. */
  catchUps: Semaphore;
  streamStarts: (names: readonly string[]) => Promise<StreamStart[]>;
  log: Log;
};

export type Followers = {
  follow: (request: FollowRequest) => Follower;
  /** Writes a frame with its cursor to every follower that has nothing else to read; equal ones share the frame. */
  heartbeat: (frameOf: (encoder: Encoder, cursor: Cursor) => Uint8Array) => void;
  counts: () => { live: number; catchingUp: number; groups: number };
  stop: () => void;
};

/** Bytes of events that may wait for the evaluation of one predicate, or to be brought to other versions. */
const maxWaitingBytes = 8_000_000;
const evaluationsAtOnce = 2;

export function createFollowers({ tail, pool, upcasting, catchUps, streamStarts, log }: FollowersOptions): Followers {
  // However slow the predicates are, they leave connections to everyone else.
  const evaluations = createSemaphore(evaluationsAtOnce);
  const live = createLiveGroups({
    head: tail.head,
    evaluate: (where, batch) => evaluator.push(where, batch),
    upcast: (key, batch, satisfying) => stage.push(key, batch, satisfying),
    onBehind: (member) => void catchUp(member),
  });
  const evaluator = createPredicateEvaluator({
    evaluate: (where, after, upTo) => evaluations.run(() => evaluatePath(pool, where, after, upTo)),
    onEvaluated: live.passFor,
    onGivenUp: (where) => live.dispersed(where, null),
    maxWaitingBytes,
    log,
  });
  const stage = createUpcastStage({
    upcasting,
    isWanted: live.wants,
    onShown: live.passShown,
    onGivenUp: ({ where, target }) => live.dispersed(where, target),
    maxWaitingBytes,
    log,
  });
  const catchUp = createCatchUp({ tail, pool, upcasting, catchUps, streamStarts, live, log });
  const unsubscribe = tail.subscribe(live.onBatch);

  return {
    follow(request) {
      const member = live.enter(request);
      void catchUp(member);
      return { cursor: () => standsAt(member), state: () => member.state, stop: () => live.remove(member) };
    },
    heartbeat(frameOf) {
      const shared = new Map<Group, Uint8Array>();
      for (const member of live.members()) {
        if (member.waiting || member.request.outlet.silent) continue;
        const { group } = member;
        const cursor = standsAt(member);
        let frame = cursor === group.cursor ? shared.get(group) : undefined;
        frame ??= frameOf(group.encoder, cursor);
        if (cursor === group.cursor) shared.set(group, frame);
        if (!member.request.outlet.write(frame)) live.leave(member);
      }
    },
    counts() {
      let atTheEnd = 0;
      for (const { state } of live.members()) if (state === "live") atTheEnd++;
      return { live: atTheEnd, catchingUp: live.members().size - atTheEnd, groups: live.size() };
    },
    stop() {
      unsubscribe();
      for (const member of [...live.members()]) live.remove(member);
    },
  };
}
