// What this process knows of the streams that commands are decided on: the ones last used, bounded by number and by bytes.
import type { DeciderDefinition } from "./decider.ts";
import { type Fold, foldOf, type Point } from "./fold.ts";

/** The line of commands on one stream. */
export type Line = {
  readonly decider: DeciderDefinition;
  readonly fold: Fold;
  readonly stream: string;
  /** The newest point that is known to be stored. */
  base: Point | null;
  /** What the next command is decided on: the base, or what will follow on it; null when the log has to be asked. */
  tip: Point | null;
  /** Rises when a foreseen point turns out wrong: those decided behind it fail too, and change nothing more. */
  generation: number;
  /** Why the last generation ended; null before. */
  lastEnd: "conflict" | "failure" | null;
  /** Decisions that are sent to be stored. */
  inFlight: number;
  /** Told when nothing is in flight any more. */
  onQuiet: (() => void)[];
  /** The wait for the next turn, while there is one. */
  turn: Turn | null;
  /** Whether commands of the present turn may still be sent; of lines that take turns with another process. */
  isOpen: boolean;
  /** When somebody else was first, by `performance.now`. */
  conflictAtMs: number;
  /** Until when this process takes turns with others. */
  contendedUntilMs: number;
  /** When something was stored last, and how long that took. */
  storedAtMs: number;
  storingMs: number;
  /** The look at the log that is under way, and the one that begins behind it. */
  look: Promise<Point> | null;
  nextLook: Promise<Point> | null;
  /** Of the last snapshot that is known, or was tried; null before the log was looked at. */
  snapshotOffset: number | null;
  isSaving: boolean;
  /** Bytes of the state when they were last counted. */
  countedBytes: number;
  /** Commands that are under way: as long as there are some, it is not dropped. */
  users: number;
};

/** Commands wait together until they may be decided; `isLooking`: the look at the log that it ends with has begun. */
export type Turn = { promise: Promise<Point | null>; isLooking: boolean };

export type Lines = {
  /** The line of a stream, with one more user. */
  enter: (decider: DeciderDefinition, stream: string) => Line;
  leave: (line: Line) => void;
  /** The lines of a stream, one for each decider. */
  of: (stream: string) => Line[];
  /** Bytes of states that are kept, roughly. */
  bytes: () => number;
  count: () => number;
};

/** What a line takes besides its state. */
const lineBytes = 1_000;
const countedFrom = 10_000;

export function createLines(maxLines: number, maxBytes: number): Lines {
  // In the order of their last use: a map keeps the order of insertion.
  const kept = new Map<string, { line: Line; bytes: number }>();
  let bytes = 0;

  function trim(): void {
    if (kept.size <= maxLines && bytes <= maxBytes) return;
    for (const [key, entry] of kept) {
      if (entry.line.users > 0 || entry.line.isSaving) continue;
      kept.delete(key);
      bytes -= entry.bytes;
      if (kept.size <= maxLines && bytes <= maxBytes) return;
    }
  }

  const keyOf = (decider: string, stream: string) => `${stream}\n${decider}`;

  return {
    enter(decider, stream) {
      const key = keyOf(decider.name, stream);
      let entry = kept.get(key);
      if (entry === undefined) {
        entry = { line: newLine(decider, stream), bytes: lineBytes };
        bytes += lineBytes;
      } else kept.delete(key);
      kept.set(key, entry);
      entry.line.users++;
      return entry.line;
    },
    leave(line) {
      line.users--;
      const entry = kept.get(keyOf(line.decider.name, line.stream));
      if (entry?.line !== line) return;
      const now = lineBytes + stateBytes(line);
      bytes += now - entry.bytes;
      entry.bytes = now;
      trim();
    },
    of: (stream) => [...kept.values()].map(({ line }) => line).filter((line) => line.stream === stream),
    bytes: () => bytes,
    count: () => kept.size,
  };
}

/** Events add theirs, as if each made the state larger: where that comes to much, it is counted. */
function stateBytes(line: Line): number {
  const { base } = line;
  if (base === null) return 0;
  if (base.bytes > 2 * line.countedBytes + countedFrom) {
    base.bytes = JSON.stringify(base.state).length;
    line.countedBytes = base.bytes;
  }
  return base.bytes;
}

function newLine(decider: DeciderDefinition, stream: string): Line {
  return {
    decider,
    fold: foldOf(decider),
    stream,
    base: null,
    tip: null,
    generation: 0,
    lastEnd: null,
    inFlight: 0,
    onQuiet: [],
    turn: null,
    isOpen: false,
    conflictAtMs: Number.NEGATIVE_INFINITY,
    contendedUntilMs: Number.NEGATIVE_INFINITY,
    storedAtMs: Number.NEGATIVE_INFINITY,
    storingMs: 0,
    look: null,
    nextLook: null,
    snapshotOffset: null,
    isSaving: false,
    countedBytes: 0,
    users: 0,
  };
}
