// Invariant 3: pages and replays show the log in order, without gap or repetition, and all that was acknowledged before.
import type { Entry, PageRead, ReaderDeclared } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { attemptsOf } from "./attempts.ts";
import { differences } from "./order.ts";

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

/** Every walk is a prefix of the log as the reader filters it; one that came to its end holds what was acknowledged before. */
export function walksArePrefixes(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
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
      const seen = parts.flatMap((page) => page.events);
      const text = (event: { position: number; stream: string; offset: number; hash: string }) =>
        `${event.position} (${event.stream} ${event.offset}) ${event.hash}`;
      violations.push(...differences(name, wanted.slice(0, seen.length).map(text), seen.map(text)));
      const final = parts.at(-1) as PageRead;
      if (!final.last) continue;
      const stream = reader.single ? (reader.streams?.[0] as string) : null;
      const known = reach(final.invokedAt, stream);
      const missing = wanted.slice(seen.length).find((event) => event.position <= known);
      if (missing !== undefined)
        violations.push(
          `${name} ended without position ${missing.position}, which had been acknowledged before it was asked for`,
        );
    }
  }
  return violations;
}
