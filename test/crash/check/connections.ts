// Invariant 5: each connection of a follower begins where its reader stands, and tells nothing that cannot be.
import type { Connected, Entry, Frame, ReaderDeclared } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { gapOf, isBounded, journalsOf } from "./journals.ts";
import { acknowledgedReach } from "./reads.ts";
import { nothingRemoved, type RemovalOf } from "./removals.ts";

/**
 * A connection begins where the reader said that it stands, or behind a deletion that it is told of in the next frame, and
 * one that begins at the end, at what was known to be its end.
 */
export function connectionsBeginRight(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  removalOf: RemovalOf = nothingRemoved,
): string[] {
  const violations: string[] = [];
  const reach = acknowledgedReach(history);
  for (const { reader, entries } of journalsOf(history)) {
    let connection: Connected | null = null;
    const name = reader.reader;
    const stream = reader.single ? (reader.streams?.[0] as string) : null;
    const deletedUpTo = (offset: number, at: number) => {
      const removal = stream === null ? null : removalOf(stream, offset);
      return removal !== null && removal.to === offset && removal.earliest <= at;
    };
    entries.forEach((entry, i) => {
      if (entry.kind === "connected") {
        connection = entry;
        const isOver = isBounded(reader) && (entry.lastEventId?.startsWith("end:") ?? false);
        if (entry.status !== (isOver ? 204 : 200))
          violations.push(
            `${name} was answered ${entry.status} for ${entry.lastEventId}: EventSource would ${isOver ? "come back" : "give up"}`,
          );
        return;
      }
      if (entry.name !== "sluice.ready" || connection === null) return;
      const id = Number(entry.id);
      const { lastEventId, invokedAt } = connection;
      const asked =
        lastEventId !== null ? Number(lastEventId) : typeof reader.from === "number" ? reader.from - 1 : null;
      if (asked !== null) {
        const gap = gapOf(entries[i + 1]);
        const isToldGap = gap !== null && gap.from === asked + 1 && gap.to === id && deletedUpTo(id, entry.at);
        if (id !== asked && !isToldGap)
          violations.push(`${name} ${lastEventId === null ? "began" : "resumed"} after ${asked} and was set to ${id}`);
      } else if (reader.from === "beginning") {
        if (id !== -1 && !deletedUpTo(id, entry.at))
          violations.push(`${name} began at the beginning and was set to ${id}`);
      } else {
        const known = reach(invokedAt, stream);
        const end = log.find((event) => event.position === known);
        const least = reader.single ? (end?.offset ?? -1) : known;
        if (id < least)
          violations.push(
            `${name} began at the latest event and was set to ${id}, though ${least} had been acknowledged`,
          );
      }
    });
  }
  return violations;
}

/** No follower is told of another history; only one of a single stream of gaps, and only one that asked for it of an end. */
export function followersWereNotLost(history: readonly Entry[]): string[] {
  const readers = new Map<string, ReaderDeclared>();
  for (const entry of history) if (entry.kind === "reader") readers.set(entry.reader, entry);
  const isRight = ({ reader, id, name }: Frame) => {
    const declared = readers.get(reader);
    if (name === "sluice.reset") return false;
    if (name === "sluice.gap") return declared?.single ?? false;
    return !id?.startsWith("end:") || (declared !== undefined && isBounded(declared));
  };
  return history
    .filter((entry): entry is Frame => entry.kind === "frame" && !isRight(entry))
    .map(({ reader, at, name, id, data }) => `${reader} at ${at} ms was told ${name} ${id ?? ""} ${data ?? ""}`);
}
