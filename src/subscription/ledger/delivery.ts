// An event that was handed out.
import type { StoredEvent } from "../../stream/event.ts";

export type Delivery = {
  event: StoredEvent;
  /** Settles it, extends it, or gives it back. */
  token: string;
  /** How often it has been handed out, this time included. */
  attempt: number;
  /** Until when it is the consumer's, RFC 3339; null where it was given away for good. */
  deadline: string | null;
};

/** The rest of a portion that was too much to be sent at once; `keys` are the hashes of its events' keys in a group. */
export type Rest = { part: number; leased: boolean; positions: number[]; keys: number[] | null };

/** The deliveries of one claim, and the leases that hold them. */
export type Handout = {
  deliveries: Delivery[];
  leases: { step: number; part: number }[];
  /** There is nothing to come any more. */
  completed?: true;
  /** With an answer at once that there is nothing: up to here everything has been handed out or does not match. */
  place?: number;
};
