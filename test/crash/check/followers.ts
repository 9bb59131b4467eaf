// Invariants 2, 3 and 5: what a follower saw over all its connections is exactly the log from where it started.
import type { Entry, Frame, SeenEvent } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { type Gap, gapOf, isBounded, type Journal, journalsOf, placeOf } from "./journals.ts";
import { isRemovedBy, wants } from "./reads.ts";
import { nothingRemoved, type RemovalOf } from "./removals.ts";

/**
 * The events of all connections, one after the other, are the wanted events behind the start, to the byte, up to the end
 * of the log; and no cursor that a frame carries has passed a wanted event that was not shown before it. What was deleted
 * may be missing, if the follower of one stream was told of the gap.
 */
export function followersSawTheLog(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  removalOf: RemovalOf = nothingRemoved,
): string[] {
  return journalsOf(history).flatMap((journal) => whatWentWrong(journal, log, removalOf));
}

function whatWentWrong({ reader, entries }: Journal, log: readonly LoggedEvent[], removalOf: RemovalOf): string[] {
  const violations: string[] = [];
  const place = placeOf(reader);
  const { to } = reader;
  const wanted = log.filter((event) => wants(reader, event) && (to === null || event[place] <= to));
  const report = (frame: Frame, what: string) => violations.push(`${reader.reader} at ${frame.at} ms: ${what}`);
  const told: Gap[] = [];
  let at: number | null = null;
  let cursor = -1;
  let connectedAt = 0;
  let toldWithStart = -1;

  const isExcused = (event: LoggedEvent, when: number) =>
    isRemovedBy(removalOf, event, when) &&
    (!reader.single || told.some((gap) => gap.from <= event.offset && event.offset <= gap.to));

  /** Passes over what need not be shown any more; the index of the first event behind it. */
  function passed(from: number, upTo: number, when: number): number {
    let index = from;
    for (let event = wanted[index]; event !== undefined && event[place] <= upTo; event = wanted[index]) {
      if (!isExcused(event, when)) break;
      index++;
    }
    return index;
  }

  function takeEvent(frame: Frame, event: SeenEvent, id: number, from: number): number {
    if (event[place] !== id) report(frame, `the frame of ${place} ${event[place]} has the id ${id}`);
    const index = passed(from, event[place] - 1, frame.at);
    const next = wanted[index];
    const hiddenAt = removalOf(event.stream, event.offset)?.hiddenAt ?? Number.POSITIVE_INFINITY;
    if (hiddenAt < connectedAt)
      report(
        frame,
        `it was shown position ${event.position} (${event.stream} ${event.offset}) on a connection of ${connectedAt} ms, though its deletion had been acknowledged at ${hiddenAt} ms`,
      );
    if (next?.position === event.position) {
      if (next.hash !== event.hash) report(frame, `position ${event.position} has other bytes than a replay`);
      return index + 1;
    }
    const known = wanted.findIndex((candidate) => candidate.position === event.position);
    const skipped = `and skipped ${known - index} from position ${next?.position} (${next?.stream} ${next?.offset})`;
    const how = known === -1 ? "which it did not ask for" : known < index ? "again" : skipped;
    report(frame, `it was shown position ${event.position} (${event.stream} ${event.offset}) ${how}`);
    return known < index ? index : known + 1;
  }

  function takeGap(frame: Frame, gap: Gap, start: number): void {
    const removal = removalOf(reader.streams?.[0] ?? "", gap.to);
    // Of a stream always the oldest events are deleted: where the last one of the gap is, all are.
    if (!reader.single || removal === null || removal.earliest > frame.at)
      report(frame, `it was told a gap from ${gap.from} to ${gap.to}, where nothing had been deleted`);
    // Without a filter everything between two frames is either shown or missing.
    const isExact = reader.types === null && reader.above === null ? gap.from === start + 1 : gap.from > start;
    if (!isExact || gap.to < gap.from || Number(frame.id) !== gap.to)
      report(frame, `it stood at ${start} and was told a gap from ${gap.from} to ${gap.to}, with the id ${frame.id}`);
    told.push(gap);
  }

  entries.forEach((frame, i) => {
    if (frame.kind === "connected") {
      connectedAt = frame.invokedAt;
      return;
    }
    if (frame.id === null) return;
    const id = Number(frame.id.replace("end:", ""));
    // The end that was asked for may lie within a gap that was told before.
    const isEnd = frame.id.startsWith("end:") && isBounded(reader);
    if (at === null) {
      cursor = typeof reader.from === "number" ? reader.from - 1 : id;
      at = wanted.findIndex((event) => event[place] > cursor);
      if (at === -1) at = wanted.length;
    }
    // A connection that begins behind a gap tells of it in its second frame.
    const following = frame.name === "sluice.ready" && id > cursor ? gapOf(entries[i + 1]) : null;
    if (following !== null) takeGap(entries[i + 1] as Frame, following, cursor);
    if (following !== null) toldWithStart = i + 1;
    const gap = i === toldWithStart ? null : gapOf(frame);
    if (gap !== null) takeGap(frame, gap, cursor);
    if (frame.event !== null) at = takeEvent(frame, frame.event, id, at);
    else {
      at = passed(at, id, frame.at);
      const next = wanted[at];
      if (next !== undefined && next[place] <= id)
        report(
          frame,
          `${frame.name ?? "a heartbeat"} carries the cursor ${id}, and position ${next.position} (${next.stream} ${next.offset}) was not shown${removalOf(next.stream, next.offset) === null ? "" : ", nor its deletion told"}`,
        );
    }
    if (id < cursor && !isEnd)
      report(
        frame,
        `its cursor went back from ${cursor} to ${id} (${frame.name ?? (frame.event === null ? "heartbeat" : "event")})`,
      );
    cursor = Math.max(id, isEnd ? cursor : id);
  });
  if (isBounded(reader)) return violations;
  if (at === null) return [...violations, `${reader.reader} was never told where it starts`];
  const missing = wanted.slice(at).filter((event) => !isRemovedBy(removalOf, event, Number.POSITIVE_INFINITY));
  if (missing.length > 0)
    violations.push(`${reader.reader} never saw ${missing.length} events, from position ${missing[0]?.position} on`);
  return violations;
}
