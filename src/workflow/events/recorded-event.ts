// An event of the log as handlers see it: its data as the newest version of its type, and what it bears besides.
import type { StoredEvent } from "../../stream/event.ts";

/** What is known of an event besides its data. */
export type EventContext = {
  readonly id: string;
  readonly type: string;
  readonly stream: string;
  /** In its stream, from 0. */
  readonly offset: number;
  /** In the log. */
  readonly position: number;
  /** When it was recorded: RFC 3339, UTC. */
  readonly recordedTime: string;
  readonly correlationId: string | null;
  readonly partitionKey: string | null;
  /** Its other attributes, such as source, subject, time and causationid. */
  readonly attributes: Readonly<Record<string, unknown>>;
};

/** What a handler is told of an event; the attributes are read when somebody asks for them. */
export function contextOf(event: StoredEvent): EventContext {
  const { id, type, stream, offset, position, recordedTime, correlationId, partitionKey } = event;
  let attributes: Record<string, unknown> | null = null;
  return {
    id,
    type,
    stream,
    offset,
    position,
    recordedTime,
    correlationId,
    partitionKey,
    get attributes() {
      attributes ??= JSON.parse(event.attributes) as Record<string, unknown>;
      return attributes;
    },
  };
}

/**
 * The same of an event that is not stored yet: its position and the time of its recording nobody knows. `onUnknown` is told
 * when a handler asks for them, and what it is given then must not be used.
 */
export function foreseenContextOf(event: StoredEvent, onUnknown: () => void): EventContext {
  return Object.defineProperties(contextOf(event), {
    position: unknown(-1, onUnknown),
    recordedTime: unknown(new Date().toISOString(), onUnknown),
  });
}

function unknown(standIn: unknown, onUnknown: () => void): PropertyDescriptor {
  return {
    enumerable: true,
    get() {
      onUnknown();
      return standIn;
    },
  };
}

/** The data of an event; undefined where it has none that is JSON. */
export function dataOf(event: StoredEvent): unknown {
  return event.data === null ? undefined : JSON.parse(event.data);
}
