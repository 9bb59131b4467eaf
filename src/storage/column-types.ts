// How values of the columns come from Postgres, where postgres.js would make more of them than is wanted.

// Events of one append follow one another and have one time.
let last = { text: "", rfc3339: "" };

function toRfc3339(text: string): string {
  // `infinity` is no time, and stays what it is.
  if (text.endsWith("infinity")) return text;
  if (text !== last.text) last = { text, rfc3339: new Date(text).toISOString() };
  return last.rfc3339;
}

/** Type numbers are those of Postgres's pg_type. */
export const columnTypes = {
  /** `json` stays the text that it is. */
  json: { to: 114, from: [114], serialize: (text: string) => text, parse: (text: string) => text },
  /** `timestamptz` becomes RFC 3339: UTC, milliseconds. */
  time: {
    to: 1184,
    from: [1184],
    serialize: (time: Date | string) => (time instanceof Date ? time.toISOString() : time),
    parse: toRfc3339,
  },
};
