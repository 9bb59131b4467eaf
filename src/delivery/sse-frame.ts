// Writes frames of the event stream (WHATWG HTML, section 9.2.5 and 9.2.6).
import { envelope, type SchemaLinks, type StoredEvent } from "../stream/event.ts";

/** Which number is the id of a frame: the offset where one stream is followed, the position where several are. */
export type IdKind = "offset" | "position";

const encoder = new TextEncoder();

// They mean something to EventSource itself: such events stay unnamed.
const unnamed = new Set(["error", "open", "message"]);

/** The name of an event's frame where frames are named. */
export function nameOf({ type }: StoredEvent): string | null {
  return unnamed.has(type) ? null : type;
}

/** The frames of events, as one chunk of bytes. An envelope is one line; ids and types hold no line break. */
export function encodeEvents(
  events: readonly StoredEvent[],
  idKind: IdKind,
  named: boolean,
  schemas: SchemaLinks,
): Uint8Array {
  let text = "";
  for (const event of events) {
    text += `id: ${idKind === "offset" ? event.offset : event.position}\n`;
    if (named && nameOf(event) !== null) text += `event: ${event.type}\n`;
    text += `data: ${envelope(event, schemas)}\n\n`;
  }
  return encoder.encode(text);
}

export type Frame = {
  /** Becomes the reader's Last-Event-ID; without it that stays what it was. */
  id?: string | number;
  event?: string;
  /** Serialised as JSON on one line. */
  data?: unknown;
  retryMs?: number;
  comment?: string;
};

/** A frame of the service's own. Throws on an id or a name that would break the frame. */
export function encodeFrame(frame: Frame): Uint8Array {
  let text = "";
  if (frame.comment !== undefined) text += `: ${line(frame.comment)}\n`;
  if (frame.retryMs !== undefined) text += `retry: ${Math.round(frame.retryMs)}\n`;
  if (frame.id !== undefined) text += `id: ${line(String(frame.id))}\n`;
  if (frame.event !== undefined) text += `event: ${line(frame.event)}\n`;
  if (frame.data !== undefined) text += `data: ${JSON.stringify(frame.data)}\n`;
  return encoder.encode(`${text}\n`);
}

function line(value: string): string {
  if (/[\r\n\0]/.test(value)) throw new Error("a field of a frame is one line");
  return value;
}
