// Invariants 3 and 5: what a follower saw over all its connections is exactly the log from where it started.
import type { Connected, Entry, Frame, ReaderDeclared } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { acknowledgedReach, wants } from "./reads.ts";

type Journal = { reader: ReaderDeclared; entries: (Connected | Frame)[] };

function journalsOf(history: readonly Entry[]): Journal[] {
  const journals = new Map<string, Journal>();
  for (const entry of history) {
    if (entry.kind === "reader" && entry.form === "sse") journals.set(entry.reader, { reader: entry, entries: [] });
    else if (entry.kind === "connected" || entry.kind === "frame") journals.get(entry.reader)?.entries.push(entry);
  }
  return [...journals.values()];
}

const places = (reader: ReaderDeclared) => (reader.single ? "offset" : "position");

/**
 * The events of all connections, one after the other, are the wanted events behind the start, to the byte, up to the end
 * of the log; and no cursor that a frame carries has passed a wanted event that was not shown before it.
 */
export function followersSawTheLog(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
  const violations: string[] = [];
  for (const { reader, entries } of journalsOf(history)) {
    const place = places(reader);
    const wanted = log.filter((event) => wants(reader, event));
    const report = (frame: Frame, what: string) => violations.push(`${reader.reader} at ${frame.at} ms: ${what}`);
    let at: number | null = null;
    let cursor = -1;
    for (const frame of entries) {
      if (frame.kind !== "frame" || frame.id === null || frame.id.startsWith("end:")) continue;
      const id = Number(frame.id);
      if (at === null) {
        at = wanted.findIndex((event) => event[place] > id);
        if (at === -1) at = wanted.length;
        cursor = id;
      }
      const next = wanted[at];
      if (frame.event !== null) {
        const { event } = frame;
        if (event[place] !== id) report(frame, `the frame of ${place} ${event[place]} has the id ${id}`);
        if (next === undefined || next.position !== event.position) {
          const known = wanted.findIndex((candidate) => candidate.position === event.position);
          const how =
            known === -1
              ? "which it did not ask for"
              : known < at
                ? "again"
                : `and skipped ${known - at} from position ${next?.position}`;
          report(frame, `it was shown position ${event.position} (${event.stream} ${event.offset}), ${how}`);
          if (known === -1) continue;
          at = known;
        }
        if (wanted[at]?.hash !== event.hash)
          report(frame, `position ${event.position} looks otherwise than in a replay`);
        at++;
      } else if (next !== undefined && next[place] <= id) {
        report(
          frame,
          `${frame.name ?? "a heartbeat"} carries the cursor ${id}, and position ${next.position} (${next.stream} ${next.offset}) was not shown`,
        );
      }
      if (id < cursor)
        report(
          frame,
          `its cursor went back from ${cursor} to ${id} (${frame.name ?? (frame.event === null ? "heartbeat" : "event")})`,
        );
      cursor = id;
    }
    if (at === null) violations.push(`${reader.reader} was never told where it starts`);
    else if (at < wanted.length)
      violations.push(
        `${reader.reader} never saw ${wanted.length - at} events, from position ${wanted[at]?.position} on`,
      );
  }
  return violations;
}

/** A connection begins where the reader said that it stands, and one that begins at the end, at what was known to be its end. */
export function connectionsBeginRight(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
  const violations: string[] = [];
  const reach = acknowledgedReach(history);
  for (const { reader, entries } of journalsOf(history)) {
    let connection: Connected | null = null;
    for (const entry of entries) {
      if (entry.kind === "connected") {
        connection = entry;
        if (entry.status !== 200)
          violations.push(`${reader.reader} was answered ${entry.status}: EventSource would give up`);
        continue;
      }
      if (entry.name !== "sluice.ready" || connection === null) continue;
      const id = Number(entry.id);
      const sent = connection.lastEventId;
      if (sent !== null && id !== Number(sent))
        violations.push(`${reader.reader} resumed after ${sent} and was set to ${id}`);
      if (sent !== null) continue;
      if (reader.from === "beginning" && id !== -1)
        violations.push(`${reader.reader} began at the beginning and was set to ${id}`);
      if (reader.from === "latest") {
        const known = reach(connection.invokedAt, reader.single ? (reader.streams?.[0] as string) : null);
        const end = log.find((event) => event.position === known);
        const least = reader.single ? (end?.offset ?? -1) : known;
        if (id < least)
          violations.push(
            `${reader.reader} began at the latest event and was set to ${id}, though ${least} had been acknowledged`,
          );
      }
    }
  }
  return violations;
}

/** Nothing was removed and nothing failed for good, so no follower is told of gaps, other histories or an end. */
export function followersWereNotLost(history: readonly Entry[]): string[] {
  return history
    .filter((entry): entry is Frame => entry.kind === "frame")
    .filter(({ id, name }) => name === "sluice.gap" || name === "sluice.reset" || id?.startsWith("end:"))
    .map(({ reader, at, name, id, data }) => `${reader} at ${at} ms was told ${name} ${id ?? ""} ${data ?? ""}`);
}
