// What both kinds of projections do with events: they handle them, and write what came of that together with the checkpoint.
import type { StoredEvent, UpcastFailure } from "../../stream/event.ts";
import type { EventType } from "../events/event-type.ts";
import { dataOf } from "../events/recorded-event.ts";
import { typedData } from "../events/typed-data.ts";
import { messageOf } from "../handlers/message-of.ts";
import type { Step } from "./checkpoint.ts";

/** An event as its handlers want it, or why it cannot be had so. */
export type Incoming = { position: number; item: StoredEvent | UpcastFailure };

/**
 * Handles events and moves the checkpoint, all or nothing. Returns how far it came: what takes long ends before its time. Throws
 * `HandlerFailed` where one of the events is at fault.
 */
export type Apply = (
  events: readonly Incoming[],
  step: Step,
  signal: AbortSignal,
) => Promise<Pick<Step, "to" | "events">>;

/**
 * How often what failed is tried. `as-said`: as the projection's definition says; `without-end`: it is not for want of the event or
 * its handler; `once`: another try would come to the same.
 */
export type Tries = "as-said" | "without-end" | "once";

/** A handler failed on the nth event of a batch, from 0: nothing of the batch was written. */
export class HandlerFailed extends Error {
  readonly at: number;
  /** Events that the handler was given together, from this one on: any of them may be at fault. */
  readonly among: number;
  readonly tries: Tries;

  constructor(at: number, cause: unknown, { among = 1, tries = "as-said" }: { among?: number; tries?: Tries } = {}) {
    super(messageOf(cause), { cause });
    this.name = "HandlerFailed";
    this.at = at;
    this.among = among;
    this.tries = tries;
  }
}

/** The event itself. Throws `HandlerFailed` where it could not be upcast. */
export function requireEvent({ item }: Incoming, at: number): StoredEvent {
  if ("failure" in item) throw new HandlerFailed(at, item.failure, { tries: item.passing ? "without-end" : "as-said" });
  return item;
}

/** The data that a handler of the type gets; of one that knows none, whatever there is. Throws `HandlerFailed` where the type denies them. */
export function handledData(event: StoredEvent, type: EventType | null, at: number): unknown {
  if (type === null) return dataOf(event);
  try {
    return typedData(event, type);
  } catch (error) {
    throw new HandlerFailed(at, error, { tries: "once" });
  }
}
