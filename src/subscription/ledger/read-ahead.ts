// What has been read behind a cursor and is not handed out yet.
import { type Removals, type StoredEvent, sizeOf } from "../../stream/event.ts";
import type { Candidates } from "./candidates.ts";

export function createReadAhead() {
  let ahead: Candidates | null = null;
  /** Those ahead and those passed, in the order in which they were read. */
  const events = new Map<number, StoredEvent>();
  let place = -1;
  let bytes = 0;
  let passedBytes = 0;

  function take(position: number): StoredEvent | undefined {
    const event = events.get(position);
    if (event === undefined) return undefined;
    events.delete(position);
    bytes -= sizeOf(event);
    if (position <= place) passedBytes -= sizeOf(event);
    return event;
  }

  function drop(): void {
    for (const { position } of ahead?.events ?? []) take(position);
    ahead = null;
  }

  return {
    /** All that lies ahead; null: it is to be read. */
    candidates: () => ahead,
    /** What was read behind what lies ahead already, or anew. */
    add(next: Candidates): void {
      if (ahead !== null && ahead.upTo === next.after)
        ahead = { after: ahead.after, upTo: next.upTo, events: [...ahead.events, ...next.events] };
      else {
        drop();
        ahead = next;
      }
      for (const event of next.events) {
        take(event.position);
        events.set(event.position, event);
        bytes += sizeOf(event);
        if (event.position <= place) passedBytes += sizeOf(event);
      }
    },
    /** What lies ahead is to be read anew. */
    drop,
    /** The cursor stands here now. What it has passed is there still, until it is taken or forgotten. */
    moveTo(to: number): void {
      if (to < place) {
        // It was reset.
        ahead = null;
        events.clear();
        bytes = 0;
        passedBytes = 0;
      } else if (ahead !== null && to > ahead.after) {
        const next = ahead.events.findIndex((event) => event.position > to);
        const rest = next === -1 ? [] : ahead.events.slice(next);
        const passed = next === -1 ? ahead.events : ahead.events.slice(0, next);
        for (const event of passed) if (events.has(event.position)) passedBytes += sizeOf(event);
        // Another process may have moved it beyond what was read.
        ahead = to > ahead.upTo ? null : { after: to, upTo: ahead.upTo, events: rest };
      }
      place = to;
    },
    /** Of what was passed so many bytes are kept, of what was read last: it may be handed out later, to another. */
    forgetPassed(keptBytes: number): void {
      for (const position of events.keys()) {
        if (position > place || passedBytes <= keptBytes) break;
        take(position);
      }
    },
    has: (position: number) => events.has(position),
    peek: (position: number) => events.get(position),
    /** An event that was read, to be handed out; it is not kept any longer. */
    take,
    /** Events of the log are gone. */
    remove(removals: Removals): void {
      const isGone = ({ stream, offset }: StoredEvent) => offset <= (removals.get(stream) ?? -1);
      for (const [position, event] of events) if (isGone(event)) take(position);
      if (ahead !== null) ahead = { ...ahead, events: ahead.events.filter((event) => !isGone(event)) };
    },
    /** About the memory that what lies ahead takes, in bytes. */
    aheadBytes: () => bytes - passedBytes,
    /** The same of what was passed. */
    passedBytes: () => passedBytes,
  };
}

/** The first of the candidates. */
export function first(found: Candidates, count: number): Candidates {
  const last = found.events[count - 1];
  if (last === undefined || found.events.length === count) return found;
  return { after: found.after, upTo: last.position, events: found.events.slice(0, count) };
}
