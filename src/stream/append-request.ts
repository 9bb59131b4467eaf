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
};
