// What each follower was told, connection by connection.
import type { Connected, Entry, Frame, ReaderDeclared } from "../history.ts";

export type Journal = { reader: ReaderDeclared; entries: (Connected | Frame)[] };

export function journalsOf(history: readonly Entry[]): Journal[] {
  const journals = new Map<string, Journal>();
  for (const entry of history) {
    if (entry.kind === "reader" && entry.form === "sse") journals.set(entry.reader, { reader: entry, entries: [] });
    else if (entry.kind === "connected" || entry.kind === "frame") journals.get(entry.reader)?.entries.push(entry);
  }
  return [...journals.values()];
}

/** The number by which a reader goes: its ids are of this kind. */
export const placeOf = (reader: ReaderDeclared) => (reader.single ? "offset" : "position");

export const isBounded = (reader: ReaderDeclared) => reader.to !== null || reader.limit !== null;

/** Offsets that a reader is told to be missing, both inclusive. */
export type Gap = { from: number; to: number };

/** What a `sluice.gap` says; null for any other entry. */
export function gapOf(entry: Connected | Frame | undefined): Gap | null {
  if (entry?.kind !== "frame" || entry.name !== "sluice.gap") return null;
  const { from, to } = JSON.parse(entry.data ?? "{}") as { from?: string; to?: string };
  return { from: Number(from), to: Number(to) };
}
