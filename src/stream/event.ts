// An event, before and after it is stored, and its envelope: CloudEvents 1.0 in JSON, on one line.

/** What a producer appends, checked and normalised. */
export type NewEvent = {
  id: string;
  /** The producer gave the id (or a key it derives from): a second event of this id is a duplicate. */
  known: boolean;
  /** Hash of type, data and attributes, where `known`; else null. */
  hash: string | null;
  source: string;
  type: string;
  schemaVersion: number;
  correlationId: string | null;
  partitionKey: string | null;
  /** The other attributes as a JSON object: source, time, subject, datacontenttype, extensions. */
  attributes: string;
  /** JSON text as it came, without line breaks; null when there is none. */
  data: string | null;
  binary: Uint8Array | null;
  /** Size that counts for the stream, in bytes. */
  bytes: number;
};

/** An event of the log. */
export type StoredEvent = {
  position: number;
  stream: string;
  /** Of an ephemeral stream: only who names the stream is shown it. */
  ephemeral: boolean;
  offset: number;
  /** RFC 3339, UTC, milliseconds. */
  recordedTime: string;
  id: string;
  type: string;
  schemaVersion: number;
  correlationId: string | null;
  partitionKey: string | null;
  attributes: string;
  data: string | null;
  binary: Uint8Array | null;
  /** The envelope, once somebody asked for it, as of a revision of the schema registry. */
  line: string | null;
  lineRevision: number;
  /** As other versions of its type, once somebody asked for it. */
  shown: ShownAs | null;
};

/** An event as another version of its type, as of a revision of the schema registry. */
export type ShownAs = { revision: number; version: number; as: StoredEvent | UpcastFailure; next: ShownAs | null };

/** What cannot be upcast: a plain sentence says why. `passing`: not for want of this event or its upcaster, but of this process. */
export type UpcastFailure = { failure: string; passing: boolean };

/** Where schemas are served. */
export type SchemaLinks = {
  /** Another number when what `linkOf` says may have changed. */
  revision: () => number;
  /** As a JSON string; null where the version of a type has no schema. */
  linkOf: (type: string, version: number) => string | null;
};

/** The stream of the service's own records; its name is outside the grammar of public names. */
export const controlStream = "$control";

/** What a control record says is gone: of each stream the events up to and including an offset. */
export type Removals = ReadonlyMap<string, number>;

const nothing: Removals = new Map();
// Groups of followers ask for the same record one after the other.
const parsed = new WeakMap<StoredEvent, Removals>();

/** What an event says is gone; nothing unless it is a record of a deletion or a trim. */
export function removalsOf(event: StoredEvent): Removals {
  if (event.stream !== controlStream) return nothing;
  let removals = parsed.get(event);
  if (removals === undefined) {
    removals = new Map(removedStreams(event).map(({ stream, to }) => [stream, Number(to)]));
    parsed.set(event, removals);
  }
  return removals;
}

function removedStreams({ type, data }: StoredEvent): { stream: string; to: string }[] {
  const record = JSON.parse(data ?? "{}");
  if (type === "sluice.stream-deleted") return [record];
  return type === "sluice.streams-trimmed" ? record.streams : [];
}

/** About the memory that an event takes, in bytes. */
export function sizeOf(event: StoredEvent): number {
  return 300 + event.attributes.length + (event.data?.length ?? 0) + (event.binary?.byteLength ?? 0);
}

/** Names of streams: 1 to 200 of `A-Z a-z 0-9 . _ - :`, but for `.` and `..`, which no URL can carry (WHATWG URL, 4.4). */
export const streamName = /^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,200}$/;

/**
 * The envelope (CloudEvents 1.0 JSON format, section 3) on one line, joined from the stored texts and kept, so that an
 * event is encoded once however many read it, and equally live and replayed. It links to the schema of its data.
 */
export function envelope(event: StoredEvent, schemas: SchemaLinks): string {
  const revision = schemas.revision();
  if (event.line === null || event.lineRevision !== revision) {
    event.line = encode(event, schemas.linkOf(event.type, event.schemaVersion));
    event.lineRevision = revision;
  }
  return event.line;
}

/** A JSON string of a text without control characters and lone surrogates, as those of events are (CloudEvents 1.0, section 2). */
function quoted(text: string): string {
  return text.includes('"') || text.includes("\\") ? JSON.stringify(text) : `"${text}"`;
}

function encode(event: StoredEvent, schema: string | null): string {
  const { attributes } = event;
  let line = `{"specversion":"1.0","id":${quoted(event.id)},"type":${quoted(event.type)},`;
  line += attributes.slice(1, -1);
  // A key of the object is the only place where this sequence can stand: within a string its quotes are escaped.
  if (!attributes.includes('"time":')) line += `,"time":"${event.recordedTime}"`;
  if (event.data !== null && !attributes.includes('"datacontenttype":'))
    line += ',"datacontenttype":"application/json"';
  if (schema !== null && !attributes.includes('"dataschema":')) line += `,"dataschema":${schema}`;
  line += `,"stream":"${event.stream}","offset":"${event.offset}","position":"${event.position}"`;
  line += `,"recordedtime":"${event.recordedTime}","schemaversion":"${event.schemaVersion}"`;
  if (event.correlationId !== null) line += `,"correlationid":${quoted(event.correlationId)}`;
  if (event.partitionKey !== null) line += `,"partitionkey":${quoted(event.partitionKey)}`;
  if (event.data !== null) line += `,"data":${event.data}`;
  if (event.binary !== null) line += `,"data_base64":"${Buffer.from(event.binary).toString("base64")}"`;
  return `${line}}`;
}
