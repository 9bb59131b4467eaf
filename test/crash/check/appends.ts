// Invariant 1: acknowledged appends are there, refused ones are not, unknown ones are there once or not at all.
import type { Entry } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { type Attempt, attemptsOf, byGroup, byMark, declining, nameOf } from "./attempts.ts";
import { type LifeOf, onlyLife } from "./lives.ts";

/** Each acknowledged event stands at the offset that its producer was told, with its id, and the answer's position is right. */
export function acknowledgedArePresent(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
  const marks = byMark(log);
  const violations: string[] = [];
  for (const attempt of attemptsOf(history)) {
    const { answer, marks: sent } = attempt;
    if (answer === null || answer.outcome !== "acknowledged") continue;
    if (answer.stored.length !== sent.length)
      violations.push(`${nameOf(attempt)} was answered ${answer.stored.length} of ${sent.length} events`);
    // A request that was repeated after a deletion is stored once more: the answer tells of one of them.
    const storedAt = (i: number) => {
      const events = marks.get(sent.at(i) as string);
      return events?.find((event) => event.offset === answer.stored.at(i)?.offset) ?? events?.[0];
    };
    sent.forEach((mark, i) => {
      const told = answer.stored[i];
      const found = storedAt(i);
      if (told === undefined) return;
      if (found === undefined) violations.push(`${nameOf(attempt)} was acknowledged, and ${mark} is missing`);
      else if (found.offset !== told.offset || found.stream !== attempt.stream)
        violations.push(
          `${nameOf(attempt)} was told offset ${told.offset}, and ${mark} is ${found.stream} ${found.offset}`,
        );
      else if (found.id !== told.id)
        violations.push(`${nameOf(attempt)} was told id ${told.id}, and ${mark} has ${found.id}`);
      else if (attempt.ids[i] !== null && attempt.ids[i] !== found.id)
        violations.push(`${nameOf(attempt)} gave id ${attempt.ids[i]}, and ${mark} has ${found.id}`);
    });
    const last = storedAt(-1);
    if (last !== undefined && last.position !== answer.lastPosition)
      violations.push(
        `${nameOf(attempt)} was told position ${answer.lastPosition}, and its last event has ${last.position}`,
      );
  }
  return violations;
}

/** A request that was refused, or declined with the word that nothing was stored, has left nothing. */
export function refusedAreAbsent(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
  const marks = byMark(log);
  const violations: string[] = [];
  for (const group of byGroup(attemptsOf(history)).values()) {
    const judged = group.filter((attempt) => attempt.answer?.reason !== "idempotency-key-in-use");
    const refused = judged.find((attempt) => attempt.outcome === "refused");
    const declined = group.every((attempt) => declining.has(attempt.answer?.reason ?? "")) ? group[0] : undefined;
    const attempt = refused ?? declined;
    if (attempt === undefined) continue;
    for (const mark of attempt.marks) {
      const found = marks.get(mark)?.[0];
      if (found !== undefined)
        violations.push(
          `${nameOf(attempt)} was answered ${attempt.answer?.status} ${attempt.answer?.reason}, and ${mark} is at ${found.offset}`,
        );
    }
  }
  return violations;
}

/**
 * No event is stored twice in one life of its stream, nothing is stored that nobody sent, and of a request all events are
 * there, in order, or none.
 */
export function nothingTwiceOrTorn(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  lifeOf: LifeOf = onlyLife,
): string[] {
  const marks = byMark(log);
  const violations: string[] = [];
  const lives = (events: readonly LoggedEvent[]) => Map.groupBy(events, (event) => lifeOf(event.stream, event.offset));
  for (const [mark, events] of marks) {
    for (const same of lives(events).values()) {
      if (same.length > 1)
        violations.push(`${mark} is stored ${same.length} times, at ${same.map((e) => e.position).join(", ")}`);
    }
  }
  const sent = new Set<string>();
  for (const [name, group] of byGroup(attemptsOf(history))) {
    const [first] = group as [Attempt, ...Attempt[]];
    for (const mark of first.marks) sent.add(mark);
    for (const life of lives(first.marks.flatMap((mark) => marks.get(mark) ?? [])).values()) {
      const found = first.marks.flatMap((mark) => life.find((event) => event.mark === mark) ?? []);
      violations.push(...tornApart(name, found, first.marks.length));
    }
  }
  for (const mark of marks.keys()) if (!sent.has(mark)) violations.push(`${mark} is stored, and nobody sent it`);
  return violations;
}

function tornApart(request: string, found: readonly LoggedEvent[], sent: number): string[] {
  const violations: string[] = [];
  if (found.length !== sent) violations.push(`of request ${request} only ${found.length} of ${sent} events are stored`);
  for (let i = 1; i < found.length; i++) {
    const [before, after] = [found[i - 1] as LoggedEvent, found[i] as LoggedEvent];
    if (after.position !== before.position + 1 || after.offset !== before.offset + 1)
      violations.push(`request ${request} is torn apart between positions ${before.position} and ${after.position}`);
  }
  return violations;
}

/** Repetitions of one request are stored at most once in a life of the stream, and those with a key get the same answer to the byte. */
export function repetitionsAgree(history: readonly Entry[], lifeOf: LifeOf = onlyLife): string[] {
  const violations: string[] = [];
  for (const group of byGroup(attemptsOf(history)).values()) {
    const acknowledged = group.filter((attempt) => attempt.outcome === "acknowledged");
    const lives = Map.groupBy(acknowledged, ({ stream, answer }) => lifeOf(stream, answer?.stored[0]?.offset ?? -1));
    for (const repetitions of lives.values()) violations.push(...disagreements(repetitions));
  }
  return violations;
}

function disagreements([first, ...others]: readonly Attempt[]): string[] {
  if (first === undefined) return [];
  if (first.key !== null)
    return others
      .filter((other) => other.answer?.body !== first.answer?.body)
      .map(
        (other) =>
          `${nameOf(other)} was answered ${other.answer?.body}, and op ${first.op} of the same key ${first.answer?.body}`,
      );
  const offsets = (attempt: Attempt) => attempt.answer?.stored.map((event) => event.offset).join(",");
  const violations = others
    .filter((other) => offsets(other) !== offsets(first))
    .map(
      (other) =>
        `${nameOf(other)} was told offsets ${offsets(other)}, and op ${first.op} of the same ids ${offsets(first)}`,
    );
  const fresh = [first, ...others].filter((attempt) => attempt.answer?.stored.some((event) => !event.duplicate));
  if (fresh.length > 1)
    violations.push(`${nameOf(fresh[1] as Attempt)} and op ${fresh[0]?.op} were both told that they stored it`);
  return violations;
}
