// The grammar of places: where a read begins and ends.
import { invalidPlace } from "../base/errors.ts";
import { isDateTime } from "../base/rfc3339.ts";

/** A place as a user writes it, in `from`, `to` and `after`. */
export type Place =
  | { kind: "beginning" }
  | { kind: "latest" }
  /** An offset in a stream; a position when several streams are read. */
  | { kind: "number"; value: number; text: string }
  | { kind: "time"; at: Date; text: string }
  | { kind: "event"; id: string };

// No event is recorded outside of these, and not every database can express what lies beyond.
const firstTimeMs = 0;
const lastTimeMs = Date.UTC(9999, 0);

/**
 * Reads `beginning`, `latest`, a number, `time:` with an RFC 3339 time, or `event:` with an id. Throws `invalid-place`.
 * A space in a time's offset is taken for the `+` that it was before form decoding.
 */
export function parsePlace(parameter: string, text: string): Place {
  if (text === "beginning") return { kind: "beginning" };
  if (text === "latest") return { kind: "latest" };
  if (/^\d{1,19}$/.test(text)) return { kind: "number", value: toNumber(text), text };
  if (text.startsWith("time:")) {
    const given = text.slice(5).replace(/ (\d{2}:\d{2})$/, "+$1");
    const ms = Date.parse(given);
    if (Number.isNaN(ms) || !isDateTime(given)) {
      throw invalidPlace(parameter, text, "time: is followed by an RFC 3339 time such as 2026-11-21T10:00:00Z");
    }
    return { kind: "time", at: new Date(Math.min(Math.max(ms, firstTimeMs), lastTimeMs)), text: given };
  }
  if (text.startsWith("event:") && text.length > 6 && text.length <= 262 && !text.includes("\0"))
    return { kind: "event", id: text.slice(6) };
  throw invalidPlace(
    parameter,
    text,
    `${parameter} is beginning, latest, a number, time: with an RFC 3339 time, or event: with an id`,
  );
}

/** A cursor as `Last-Event-ID` carries it: the number reached, -1 before the first event. Null when it is none. */
export function parseCursor(text: string): number | null {
  if (text === "-1") return -1;
  return /^\d{1,19}$/.test(text) ? toNumber(text) : null;
}

// Beyond 2^53 no position can be: it is clamped, and lies beyond the head as written.
function toNumber(text: string): number {
  return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
}
