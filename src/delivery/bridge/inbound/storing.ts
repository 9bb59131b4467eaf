// Stores messages of a remote stream in order: events and the mirror's move in one transaction, whoever else is at it.
import { Problem } from "../../../base/errors.ts";
import { pause } from "../../../base/pause.ts";
import { classify } from "../../../storage/pg-errors.ts";
import type { Pool } from "../../../storage/pool.ts";
import type { Appender } from "../../../stream/append.ts";
import { advanceMirror, isMoved, type RefusedMessage } from "../../../stream/remote/move.ts";
import { findRemoteStream, type RemoteStream, readOrigins } from "../../../stream/remote/remote-streams.ts";
import { readLogId } from "../../../stream/stream-head.ts";
import { type Entry, guiltyOf, type MirrorPlace, type Plan, planOf } from "./batch.ts";
import { originsOf } from "./origins.ts";

export type StoringOptions = {
  pool: Pool;
  appender: Pick<Appender, "append">;
  /** What kept it from storing, for now. */
  onFailure: (error: unknown) => void;
};

export type Stored = {
  place: MirrorPlace;
  events: number;
  /** What could not become events. */
  setAside: readonly RefusedMessage[];
};

const retryMs = 50;
const maxRetryMs = 2_000;

/** The place of a mirror as the database has it, and which history of this log that is; null where it was removed. */
export async function readPlace(
  pool: Pool,
  id: number,
): Promise<{ remote: RemoteStream; origins: MirrorPlace["origins"]; logId: string } | null> {
  const origins = originsOf(await readOrigins(pool, id));
  const logId = await pool.run(readLogId);
  // Read last: whatever moves in between is found out by its revision.
  const remote = await findRemoteStream(pool, id);
  return remote === null ? null : { remote, origins, logId };
}

/**
 * Stores entries, which follow one another behind the place, all of them or up to where it stops. Waits outages out, in which
 * nothing is lost and nothing counts as a try. Resolves with the new place; null when somebody else moved the mirror or removed
 * it: who mirrors then looks again where it stands. Throws the signal's reason.
 */
export async function storeEntries(
  { pool, appender, onFailure }: StoringOptions,
  remote: RemoteStream,
  entries: readonly Entry[],
  place: MirrorPlace,
  signal: AbortSignal,
): Promise<Stored | null> {
  for (let delayMs = retryMs; ; ) {
    signal.throwIfAborted();
    const plan = planOf(entries, place, remote);
    try {
      await storePlan(plan);
      return { place: plan.next, events: plan.events.length, setAside: plan.move.letters };
    } catch (error) {
      if (isMovedElsewhere(error)) return null;
      const refusal = refusalOf(error);
      if (refusal !== null) {
        const guilty = new Set(guiltyOf(refusal, plan.from));
        if (guilty.size === 0) return storeHalves(entries, plan, signal);
        for (const entry of guilty) entry.refusal = refusal;
        continue;
      }
      signal.throwIfAborted();
      onFailure(error);
      await pause(delayMs, signal);
      delayMs = Math.min(delayMs * 2, maxRetryMs);
      const outcome = await outcomeOf(plan);
      if (outcome === "moved") return null;
    }
  }

  function storePlan({ events, move }: Plan): Promise<unknown> {
    if (events.length === 0) return advanceMirror(pool, move);
    const { name: stream } = remote;
    const isList = events.length > 1;
    return appender.append({ stream, events, expected: "any", idempotency: null, isList, mirror: move });
  }

  /** Up to the middle of the events, and the rest behind it. */
  async function storeHalves(all: readonly Entry[], { from }: Plan, until: AbortSignal): Promise<Stored | null> {
    const middle = all.indexOf(from[from.length >> 1] as Entry);
    const options = { pool, appender, onFailure };
    const first = await storeEntries(options, remote, all.slice(0, middle), place, until);
    if (first === null) return null;
    const second = await storeEntries(options, remote, all.slice(middle), first.place, until);
    return (
      second && {
        place: second.place,
        events: first.events + second.events,
        setAside: [...first.setAside, ...second.setAside],
      }
    );
  }

  /** A statement that got no answer may have been committed, and then its repetition is refused. */
  async function outcomeOf({ move }: Plan): Promise<"moved" | "unmoved"> {
    try {
      const found = await findRemoteStream(pool, remote.id);
      return found === null || found.revision !== move.revision ? "moved" : "unmoved";
    } catch {
      return "unmoved";
    }
  }
}

/** Why what was asked for can never be stored as it is; null where that is not said, and trying again is worth it. */
export function refusalOf(error: unknown): Problem | null {
  if (!(error instanceof Problem)) return null;
  if (error.code !== "internal-error") return error.retryable ? null : error;
  const { kind, message } = classify(error.cause);
  return kind === "refused" ? new Problem("invalid-event", `The database refuses it: ${message}`) : null;
}

/** Whether the mirror is somewhere else than where the statement expected it. */
export function isMovedElsewhere(error: unknown): boolean {
  return isMoved(error) || (error instanceof Problem && isMoved(error.cause));
}
