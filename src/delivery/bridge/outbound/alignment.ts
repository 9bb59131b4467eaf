// Where to go on publishing: what JetStream has of a stream is found out from its last message and from the cursor. Pure but for its questions.
import { unlessAborted } from "../../../base/unless-aborted.ts";
import type { NatsStream, StoredMessage } from "../jetstream.ts";
import type { Cursor } from "./cursor.ts";
import { logIdHeader, offsetHeader, streamHeader } from "./message.ts";

/** Everything up to this offset is in JetStream, whose last sequence is this one. */
export type Place = {
  offset: number;
  sequence: number;
  /** It begins at the first event: JetStream's stream is new, or has nothing of ours. */
  anew: boolean;
};

export type Mine = { stream: string; logId: string };

export type Last = {
  /** Of the newest message of ours that is still there; null where there is none. */
  offset: number | null;
  /** The log that the newest message belongs to that any log has published, where that is not ours. */
  otherLog: string | null;
};

/** Messages that are looked through, at most, where there is no cursor to end at. */
const lookedThrough = 1_000;
/** One question is enough as a rule; with each answer that says nothing there are twice as many at once. */
const mostQuestions = 32;

/**
 * What the newest messages say, no further down than the cursor and the first of ours. Messages that are gone say nothing. Rejects with the signal's reason, and with what a question rejects with.
 */
export async function findLast(
  jetstream: NatsStream,
  cursor: Cursor | null,
  mine: Mine,
  message: (sequence: number) => Promise<StoredMessage | null>,
  signal: AbortSignal,
): Promise<Last> {
  let otherLog: string | null = null;
  const { firstSequence, lastSequence } = jetstream;
  const end = endsAt(jetstream, cursor) ? cursor.sequence : lastSequence - lookedThrough + 1;
  const lowest = Math.max(firstSequence, end, 1);
  for (let from = lastSequence, width = 1; from >= lowest; from -= width, width = Math.min(2 * width, mostQuestions)) {
    const sequences = Array.from({ length: Math.min(width, from - lowest + 1) }, (_, n) => from - n);
    for (const found of await unlessAborted(Promise.all(sequences.map(message)), signal)) {
      if (found === null) continue;
      const offset = offsetOf(found, mine);
      if (offset !== null) return { offset, otherLog };
      const logId = found.headers.get(logIdHeader) ?? mine.logId;
      if (logId !== mine.logId) otherLog ??= logId;
    }
  }
  return { offset: null, otherLog };
}

/** Null where the message is not one of ours. */
function offsetOf({ headers }: StoredMessage, { stream, logId }: Mine): number | null {
  const offset = headers.get(offsetHeader) ?? "";
  const isOurs = headers.get(logIdHeader) === logId && headers.get(streamHeader) === stream;
  return isOurs && /^\d{1,16}$/.test(offset) ? Number(offset) : null;
}

/**
 * Decides where to go on, so that nothing is left out. What the last message of ours says is true, whatever the cursor says: a crash
 * between the two, or a JetStream restored from a backup, changes nothing. Without it the cursor is all that is sure: what stood
 * behind it and is gone may have been anybody's.
 */
export function placeOf(
  jetstream: NatsStream,
  cursor: Cursor | null,
  last: number | null,
  logId: string,
  withheld: ReadonlySet<number>,
): Place {
  const sequence = jetstream.lastSequence;
  if (last !== null) return { offset: last, sequence, anew: false };
  if (!isSame(jetstream, cursor)) return { offset: -1, sequence, anew: true };
  let { offset } = cursor;
  // Of another history of the log only the cursor is sure. Of this one, no more events are lost than sequences.
  if (cursor.logId === logId)
    for (let n = cursor.sequence; n > sequence && offset >= 0; n--) {
      while (withheld.has(offset)) offset--;
      offset--;
    }
  return { offset: Math.max(offset, -1), sequence, anew: false };
}

/** Whether the cursor speaks of this JetStream stream: one made at another time is another one, for it was wiped. */
function isSame({ name, created }: NatsStream, cursor: Cursor | null): cursor is Cursor {
  return cursor !== null && cursor.jetstream === name && cursor.created === created;
}

/** Whether what stands below the cursor says no more than the cursor does: not where JetStream has lost what the cursor speaks of. */
function endsAt(jetstream: NatsStream, cursor: Cursor | null): cursor is Cursor {
  return isSame(jetstream, cursor) && cursor.sequence <= jetstream.lastSequence;
}
