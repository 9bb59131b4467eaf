// Where to go on publishing: what JetStream has of a stream is found out from its last message and from the cursor. Pure but for its questions.
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

/** The newest message of ours, and how far the search for it came. */
export type Last =
  | { kind: "ours"; offset: number }
  /** The message with this sequence is gone: limits of JetStream, or a person, have removed it. */
  | { kind: "gone"; sequence: number }
  | { kind: "none" };

/** Messages of strangers that are looked through, at most, where there is no cursor to end at. */
const strangersPassed = 1_000;

/** Looks from the last message down for one of ours, no further than the cursor. */
export async function findLast(
  jetstream: NatsStream,
  cursor: Cursor | null,
  { stream, logId }: Mine,
  message: (sequence: number) => Promise<StoredMessage | null>,
): Promise<Last> {
  const { firstSequence, lastSequence } = jetstream;
  const down = isSame(jetstream, cursor)
    ? Math.min(cursor.sequence, lastSequence)
    : Math.max(firstSequence, lastSequence - strangersPassed, 1) - 1;
  for (let sequence = lastSequence; sequence > down; sequence--) {
    const found = sequence < firstSequence ? null : await message(sequence);
    if (found === null) return { kind: "gone", sequence };
    const { headers } = found;
    const offset = headers.get(offsetHeader) ?? "";
    if (headers.get(logIdHeader) === logId && headers.get(streamHeader) === stream && /^\d{1,16}$/.test(offset))
      return { kind: "ours", offset: Number(offset) };
  }
  return { kind: "none" };
}

/**
 * Decides where to go on. What the last message of ours says is true, whatever the cursor says: a crash between the two, or a
 * JetStream restored from a backup, changes nothing. Where that message is gone, its sequence says how many events behind the
 * cursor were published, for each is one message, but for the withheld ones.
 */
export function placeOf(
  jetstream: NatsStream,
  cursor: Cursor | null,
  last: Last,
  logId: string,
  withheld: ReadonlySet<number>,
): Place {
  const sequence = jetstream.lastSequence;
  if (last.kind === "ours") return { offset: last.offset, sequence, anew: false };
  if (!isSame(jetstream, cursor)) return { offset: -1, sequence, anew: true };
  // Of another history of the log only the cursor is sure.
  if (cursor.logId !== logId) return { offset: cursor.offset, sequence, anew: false };
  const reached = last.kind === "gone" ? last.sequence : Math.min(sequence, cursor.sequence);
  let { offset } = cursor;
  for (let n = cursor.sequence; n < reached; n++) {
    do offset++;
    while (withheld.has(offset));
  }
  for (let n = cursor.sequence; n > reached && offset >= 0; n--) {
    do offset--;
    while (withheld.has(offset));
  }
  return { offset: Math.max(offset, -1), sequence, anew: false };
}

/** Whether the cursor speaks of this JetStream stream: one made at another time is another one, for it was wiped. */
function isSame({ name, created }: NatsStream, cursor: Cursor | null): cursor is Cursor {
  return cursor !== null && cursor.jetstream === name && cursor.created === created;
}
