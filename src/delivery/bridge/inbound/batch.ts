// What is done with a batch of messages: which become events, which are passed over, which are set aside. Pure.
import type { Problem } from "../../../base/errors.ts";
import type { NewEvent } from "../../../stream/event.ts";
import { type RemoteDefinition, retryPauseMs } from "../../../stream/remote/definition.ts";
import type { MirrorCursor, MirrorMove, OriginOffset, RefusedMessage } from "../../../stream/remote/move.ts";
import type { StoredMessage } from "./body.ts";
import type { ReadMessage } from "./message.ts";
import { isKnown, type Origins, withOrigin } from "./origins.ts";

/** A message as it came, and what it was read as; `refusal`: why the log does not take its event. */
export type Entry = ReadMessage & { message: StoredMessage; refusal?: Problem };

/** Where a mirror stands in the database. */
export type MirrorPlace = { remote: number; revision: number; cursor: MirrorCursor; origins: Origins };

export type Plan = {
  /** The events to store, and the entry of each. */
  events: NewEvent[];
  from: Entry[];
  move: MirrorMove;
  /** Where the mirror stands afterwards. */
  next: MirrorPlace;
};

/** What to store of entries, which follow one another behind the place. */
export function planOf(entries: readonly Entry[], place: MirrorPlace, definition: RemoteDefinition): Plan {
  const events: NewEvent[] = [];
  const from: Entry[] = [];
  const letters: RefusedMessage[] = [];
  const reached = new Map(place.origins);
  const changed = new Map<string, OriginOffset>();
  for (const entry of entries) {
    const { origin, event, isReturned, message } = entry;
    if (isReturned) continue;
    if (origin !== null && isKnown(reached, origin)) continue;
    // What no event says of where it stood is not believed either: it would hide what really stands there.
    if (event instanceof Error) {
      letters.push(refused(message, event, definition));
      continue;
    }
    if (origin !== null) {
      withOrigin(reached, origin);
      changed.set(`${origin.logId}/${origin.stream}`, origin);
    }
    if (entry.refusal !== undefined) {
      letters.push(refused(message, entry.refusal, definition));
      continue;
    }
    events.push(event);
    from.push(entry);
  }
  const last = entries.at(-1)?.message;
  const cursor =
    last === undefined ? place.cursor : { ...place.cursor, sequence: last.sequence, storedMs: last.storedMs };
  const { remote, revision } = place;
  return {
    events,
    from,
    move: { remote, revision, cursor, origins: [...changed.values()], letters, settled: [] },
    next: { remote, revision: revision + 1, cursor, origins: reached },
  };
}

function refused(message: StoredMessage, problem: Problem, definition: RemoteDefinition): RefusedMessage {
  const { data: payload, ...rest } = message;
  return { ...rest, payload, ...failureOf(problem, definition, 1) };
}

/** Why a message was refused, and when to try again: null after the last try, and where no other try can go better. */
export function failureOf(
  problem: Problem,
  definition: RemoteDefinition,
  attempts: number,
): Pick<RefusedMessage, "reason" | "detail" | "retryMs"> {
  const { code: reason, message: detail } = problem;
  return { reason, detail, retryMs: mayMend(problem) ? retryPauseMs(definition, attempts) : null };
}

/** Whether something else than the message can be at fault: a schema that is mended, or registered late. */
function mayMend({ code }: Problem): boolean {
  return code === "schema-mismatch";
}

/** The entries that a refusal of their events names; none where it names none. */
export function guiltyOf(problem: Problem, from: readonly Entry[]): Entry[] {
  if (from.length === 1) return [...from];
  if (problem.code === "event-id-conflict") {
    const ids = new Set(problem.fields.ids as readonly string[]);
    const named = from.filter(({ event }) => !(event instanceof Error) && ids.has(event.id));
    // Of several that share an id, it is not said which is meant.
    return named.length === ids.size ? named : [];
  }
  const errors = (problem.fields.errors ?? []) as readonly { path: string }[];
  const numbers = errors.map(({ path }) => Number(/^\/(\d+)(?:\/|$)/.exec(path)?.[1]));
  return [...new Set(numbers)].flatMap((n) => from[n] ?? []);
}
