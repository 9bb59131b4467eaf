// What a request to append consists of.
import type { NewEvent } from "./event.ts";
import type { MirrorMove } from "./remote/move.ts";

/** The version a request expects: any, nothing ever appended, something appended, a last offset, or all that is known of one. */
export type Expected = "any" | "nothing" | "something" | number | ExactVersion;

/**
 * A version of which a stream has only one, ever. An offset alone is the same before and after a deletion; and while the event
 * at it is still under way, it can turn out to be another one.
 */
export type ExactVersion = {
  /** -1 before the first event. */
  offset: number;
  /** First offset of the stream's present life: 0, or the one behind its last deletion. */
  bornOffset: number;
  /** Id of the event at the offset, where it may still be under way; null where it is known to be stored. */
  eventId: string | null;
};

export type AppendRequest = {
  stream: string;
  events: readonly NewEvent[];
  expected: Expected;
  /** Scoped key of an idempotent request and the hash of that request. */
  idempotency: { key: string; requestHash: string } | null;
  /** The events came as a list, so that what is said of one has to name its place. */
  isList?: boolean;
  /** The rows of the outbox that these events were; they go in the statement that stores the events. */
  outbox?: readonly number[];
  /** The mirror whose messages these events were; it is moved in the statement that stores them, or nothing is stored. */
  mirror?: MirrorMove;
};

/** What is answered to a command with an Idempotency-Key, kept in the transaction that stores its events. */
export type CommandAnswer = {
  /** The scoped key. */
  key: string;
  requestHash: string;
  /** As JSON text, without line breaks. */
  answer: string;
};

/** A client's key belongs to who asks and to the stream: the stream's lock orders the requests of one key on all processes. */
export function scopeKey(principal: string, stream: string, key: string): string {
  return `${principal}\n${stream}\n${key}`;
}

/** The key as the client gave it. */
export function clientKey(scoped: string): string {
  return scoped.slice(scoped.lastIndexOf("\n") + 1);
}
