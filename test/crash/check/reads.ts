// Invariant 3: pages and replays show the log in order, without gap or repetition, and all that was acknowledged before.
import type { Entry, PageRead, ReaderDeclared, SeenEvent } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { attemptsOf } from "./attempts.ts";
import { nothingRemoved, type RemovalOf } from "./removals.ts";

/** Whether a reader's filters let an event through. */
export function wants(reader: ReaderDeclared, event: LoggedEvent): boolean {
  return (
    (reader.streams === null || reader.streams.includes(event.stream)) &&
    (reader.types === null || reader.types.includes(event.type)) &&
    (reader.above === null || event.n > reader.above)
  );
}

/** When and where: how far what had been acknowledged reached. */
export function acknowledgedReach(history: readonly Entry[]): (at: number, stream: string | null) => number {
  const answers = attemptsOf(history)
    .filter((attempt) => attempt.outcome === "acknowledged")
    .map(({ answeredAt, stream, answer }) => ({ answeredAt, stream, position: answer?.lastPosition ?? -1 }));
  return (at, stream) => {
    let reach = -1;
    for (const answer of answers) {
      if (answer.answeredAt < at && (stream === null || answer.stream === stream) && answer.position > reach)
        reach = answer.position;
    }
    return reach;
  };
}

/**
 * Every walk is a prefix of the log as the reader filters it, without what was deleted meanwhile; one that came to its end
 * holds what was acknowledged before. No request is shown what it had been acknowledged before it to be deleted.
 */
export function walksArePrefixes(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  removalOf: RemovalOf = nothingRemoved,
): string[] {
  const violations: string[] = [];
  const reach = acknowledgedReach(history);
  const readers = history.filter((entry): entry is ReaderDeclared => entry.kind === "reader");
  const pages = Map.groupBy(
    history.filter((entry): entry is PageRead => entry.kind === "page"),
    (page) => page.reader,
  );
  for (const reader of readers) {
    const wanted = log.filter((event) => wants(reader, event));
    const walks = Map.groupBy(pages.get(reader.reader) ?? [], (page) => page.walk);
    for (const [walk, parts] of walks) {
      const name = `walk ${walk} of ${reader.reader}`;
      const { next, violation } = walked(name, parts, wanted, removalOf);
      if (violation !== null) violations.push(violation);
      const final = parts.at(-1) as PageRead;
      if (!final.last) continue;
      const stream = reader.single ? (reader.streams?.[0] as string) : null;
      const known = reach(final.invokedAt, stream);
      const missing = wanted
        .slice(next)
        .find((event) => event.position <= known && !isRemovedBy(removalOf, event, final.at));
      if (missing !== undefined)
        violations.push(
          `${name} ended without position ${missing.position}, which had been acknowledged before it was asked for`,
        );
    }
  }
  return violations;
}

/** Whether an event can have been deleted by a moment. */
export function isRemovedBy(removalOf: RemovalOf, { stream, offset }: LoggedEvent, at: number): boolean {
  const removal = removalOf(stream, offset);
  return removal !== null && removal.earliest <= at;
}

/** How far a walk came among the wanted events, and where it left the path. */
function walked(
  name: string,
  pages: readonly PageRead[],
  wanted: readonly LoggedEvent[],
  removalOf: RemovalOf,
): { next: number; violation: string | null } {
  const text = (event: SeenEvent) => `${event.position} (${event.stream} ${event.offset}) ${event.hash}`;
  let next = 0;
  for (const page of pages) {
    for (const event of page.events) {
      const isPassed = (passed: LoggedEvent) =>
        passed.position < event.position && isRemovedBy(removalOf, passed, page.at);
      while (next < wanted.length && isPassed(wanted[next] as LoggedEvent)) next++;
      const expected = wanted[next];
      if (expected === undefined || text(expected) !== text(event)) {
        const instead = expected === undefined ? "nothing" : text(expected);
        return { next, violation: `${name} has ${text(event)} instead of ${instead}, at ${page.at} ms` };
      }
      const hiddenAt = removalOf(event.stream, event.offset)?.hiddenAt ?? Number.POSITIVE_INFINITY;
      if (hiddenAt < page.invokedAt) {
        const violation = `${name} was shown ${text(event)} on a request of ${page.invokedAt} ms, though its deletion had been acknowledged at ${hiddenAt} ms`;
        return { next, violation };
      }
      next++;
    }
  }
  return { next, violation: null };
}
