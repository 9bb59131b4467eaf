// What a request to append consists of.
import type { NewEvent } from "./event.ts";

/** The version a request expects: any, nothing ever appended, something appended, or a last offset. */
export type Expected = "any" | "nothing" | "something" | number;

export type AppendRequest = {
  stream: string;
  events: readonly NewEvent[];
  expected: Expected;
  /** Scoped key of an idempotent request and the hash of that request. */
  idempotency: { key: string; requestHash: string } | null;
  /** The events came as a list, so that what is said of one has to name its place. */
  isList?: boolean;
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
