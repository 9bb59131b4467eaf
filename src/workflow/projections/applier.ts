// What both kinds of projections do with events: they handle them, and write what came of that together with the checkpoint.
import type { StoredEvent, UpcastFailure } from "../../stream/event.ts";
import { dataOf } from "../events/recorded-event.ts";
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

/** A handler failed on the nth event of a batch, from 0: nothing of the batch was written. */
export class HandlerFailed extends Error {
  readonly at: number;
  /** Events that the handler was given together, from this one on: any of them may be at fault. */
  readonly among: number;
  /** Not for want of the event or its handler: it is worth trying without end. */
  readonly passing: boolean;

  constructor(at: number, cause: unknown, { among = 1, passing = false } = {}) {
    super(messageOf(cause), { cause });
    this.name = "HandlerFailed";
    this.at = at;
    this.among = among;
    this.passing = passing;
  }
}

/** The event itself. Throws `HandlerFailed` where it could not be upcast. */
export function requireEvent({ item }: Incoming, at: number): StoredEvent {
  if ("failure" in item) throw new HandlerFailed(at, item.failure, { passing: item.passing });
  return item;
}

/** The data that a handler gets; one that knows the type is never given an event that has none. */
export function handledData(event: StoredEvent, knowsType: boolean): unknown {
  if (event.data === null && knowsType) throw new Error("the event has no JSON data");
  return dataOf(event);
}
