// What clients saw in a run: each request and its outcome, each frame and page, as lines of JSON.
import { appendFileSync } from "node:fs";
import type { BridgeEntry } from "./bridge-history.ts";
import type { ConsumerEntry } from "./consumer-history.ts";
import type { ProcessEntry } from "./process-history.ts";

/** One attempt to append. Attempts that repeat one request (same ids or key) share their `group`. */
export type AppendInvoked = {
  kind: "invoked";
  op: number;
  at: number;
  group: string;
  stream: string;
  /** The last offset that the request expects; -1: nothing was ever appended; null: any. */
  expected: number | null;
  key: string | null;
  /** One an event: the id that the client gave. */
  ids: (string | null)[];
  /** One an event: a text in its data that no other event has. */
  marks: string[];
};

/** `acknowledged`: a 2xx was read; `refused`: a 4xx; `unknown`: the connection broke, or a 5xx was read. */
export type AppendAnswered = {
  kind: "answered";
  op: number;
  at: number;
  outcome: "acknowledged" | "refused" | "unknown";
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
  stored: { id: string; offset: number; duplicate: boolean }[];
  lastPosition: number | null;
  /** Of a 412: the version that the stream has. */
  actual: number | null;
  /** The answer's body, to compare with that of a repetition. */
  body: string | null;
};

/** One attempt to delete a stream. */
export type DeletionInvoked = { kind: "deleting"; op: number; at: number; stream: string };

export type DeletionAnswered = {
  kind: "deleted";
  op: number;
  at: number;
  outcome: AppendAnswered["outcome"];
  status: number | null;
  /** The problem's code, or what broke. */
  reason: string | null;
};

/** A read of a stream from the event with an id on, which its producer had been told. */
export type LookedUp = {
  kind: "looked-up";
  at: number;
  stream: string;
  id: string;
  /** The offset that the producer was told. */
  offset: number;
  /** Null when the connection broke. */
  status: number | null;
  /** The first event of the answer. */
  first: SeenEvent | null;
};

/** What a reader asks for. */
export type ReaderDeclared = {
  kind: "reader";
  reader: string;
  form: "sse" | "json" | "ndjson";
  /** The streams; null for all. */
  streams: string[] | null;
  /** One stream is read by its offsets. */
  single: boolean;
  types: string[] | null;
  /** Only events whose `data.n` is greater. */
  above: number | null;
  /** A number is an offset where one stream is read, else a position. */
  from: "beginning" | "latest" | number;
  /** Where an event stream ends, inclusive: an offset or a position as in `from`. */
  to: number | null;
  /** After how many events a connection ends. */
  limit: number | null;
};

/** A follower's connection; `lastEventId` is what it sent. */
export type Connected = {
  kind: "connected";
  reader: string;
  at: number;
  invokedAt: number;
  lastEventId: string | null;
  status: number;
};

export type SeenEvent = { stream: string; offset: number; position: number; hash: string };

export type Frame = {
  kind: "frame";
  reader: string;
  at: number;
  id: string | null;
  /** The name of one of the service's own frames. */
  name: string | null;
  /** The data of one of the service's own frames. */
  data: string | null;
  event: SeenEvent | null;
};

/** A page of JSON, or a replay of NDJSON; `walk` counts how often the reader began anew. */
export type PageRead = {
  kind: "page";
  reader: string;
  walk: number;
  invokedAt: number;
  at: number;
  events: SeenEvent[];
  /** Nothing follows: no next page, or the replay ended as it should. */
  last: boolean;
};

/** Something that must not happen and was noticed while the run went on. */
export type Alarm = { kind: "alarm"; at: number; what: string };
export type Fault = { kind: "fault"; at: number; what: string; phase: "begins" | "ends" };

export type Entry =
  | AppendInvoked
  | AppendAnswered
  | DeletionInvoked
  | DeletionAnswered
  | LookedUp
  | ReaderDeclared
  | Connected
  | Frame
  | PageRead
  | Alarm
  | Fault
  | ConsumerEntry
  | ProcessEntry
  | BridgeEntry;

export type History = {
  entries: Entry[];
  /** Milliseconds since the run began. */
  now: () => number;
  /** A time of day in milliseconds since 1970, by the same count. */
  at: (time: number) => number;
  add: (entry: Entry) => void;
  alarm: (what: string) => void;
  /** Writes what is left to the file. */
  flush: () => void;
};

const flushEvery = 2_000;

export function createHistory(file: string | null): History {
  const entries: Entry[] = [];
  const startedAt = performance.now();
  let written = 0;
  const flush = () => {
    if (file === null || written === entries.length) return;
    const lines = entries.slice(written).map((entry) => `${JSON.stringify(entry)}\n`);
    written = entries.length;
    appendFileSync(file, lines.join(""));
  };
  const now = () => Math.round((performance.now() - startedAt) * 1_000) / 1_000;
  const add = (entry: Entry) => {
    entries.push(entry);
    if (entries.length - written >= flushEvery) flush();
  };
  const offset = timeOfDayAtStart(startedAt);
  const at = (time: number) => time - offset;
  return { entries, now, at, add, alarm: (what) => add({ kind: "alarm", at: now(), what }), flush };
}

/** The time of day, in fractions of milliseconds, at a moment of the steady clock: taken where the one's millisecond changes. */
function timeOfDayAtStart(startedAt: number): number {
  const before = Date.now();
  let time = before;
  while (time === before) time = Date.now();
  return time - (performance.now() - startedAt);
}

/** What identifies an envelope to the byte. */
export function hashOf(line: string): string {
  return Bun.hash(line).toString(36);
}

/** Reads an envelope as a reader saw it. */
export function seenEvent(line: string): SeenEvent {
  const { stream, offset, position } = JSON.parse(line) as Record<string, string>;
  return { stream: stream as string, offset: Number(offset), position: Number(position), hash: hashOf(line) };
}
