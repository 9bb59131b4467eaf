// Invariant 1: acknowledged appends are there, refused ones are not, unknown ones are there once or not at all.
import type { Entry } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { type Attempt, attemptsOf, byGroup, byMark, nameOf } from "./attempts.ts";

/** Each acknowledged event stands at the offset that its producer was told, with its id, and the answer's position is right. */
export function acknowledgedArePresent(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
  const marks = byMark(log);
  const violations: string[] = [];
  for (const attempt of attemptsOf(history)) {
    const { answer, marks: sent } = attempt;
    if (answer === null || answer.outcome !== "acknowledged") continue;
    if (answer.stored.length !== sent.length)
      violations.push(`${nameOf(attempt)} was answered ${answer.stored.length} of ${sent.length} events`);
    sent.forEach((mark, i) => {
      const told = answer.stored[i];
      const found = marks.get(mark)?.[0];
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
    const last = marks.get(sent.at(-1) as string)?.[0];
    if (last !== undefined && last.position !== answer.lastPosition)
      violations.push(
        `${nameOf(attempt)} was told position ${answer.lastPosition}, and its last event has ${last.position}`,
      );
  }
  return violations;
}

// Answers that say that nothing was stored, though they are 5xx.
const declining = new Set(["storage-unavailable", "overloaded", "shutting-down"]);

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

/** No event is stored twice, nothing is stored that nobody sent, and of a request all events are there, in order, or none. */
export function nothingTwiceOrTorn(history: readonly Entry[], log: readonly LoggedEvent[]): string[] {
  const marks = byMark(log);
  const violations: string[] = [];
  for (const [mark, events] of marks) {
    if (events.length > 1)
      violations.push(`${mark} is stored ${events.length} times, at ${events.map((e) => e.position).join(", ")}`);
  }
  const sent = new Set<string>();
  for (const [name, group] of byGroup(attemptsOf(history))) {
    const [first] = group as [Attempt, ...Attempt[]];
    for (const mark of first.marks) sent.add(mark);
    const found = first.marks.flatMap((mark) => marks.get(mark)?.slice(0, 1) ?? []);
    if (found.length !== 0 && found.length !== first.marks.length)
      violations.push(`of request ${name} only ${found.length} of ${first.marks.length} events are stored`);
    for (let i = 1; i < found.length; i++) {
      const [before, after] = [found[i - 1] as LoggedEvent, found[i] as LoggedEvent];
      if (after.position !== before.position + 1 || after.offset !== before.offset + 1)
        violations.push(`request ${name} is torn apart between positions ${before.position} and ${after.position}`);
    }
  }
  for (const mark of marks.keys()) if (!sent.has(mark)) violations.push(`${mark} is stored, and nobody sent it`);
  return violations;
}

/** Repetitions of one request are stored at most once, and those with a key get the same answer to the byte. */
export function repetitionsAgree(history: readonly Entry[]): string[] {
  const violations: string[] = [];
  for (const group of byGroup(attemptsOf(history)).values()) {
    const acknowledged = group.filter((attempt) => attempt.outcome === "acknowledged");
    const [first, ...others] = acknowledged;
    if (first === undefined) continue;
    if (first.key !== null) {
      for (const other of others) {
        if (other.answer?.body !== first.answer?.body)
          violations.push(
            `${nameOf(other)} was answered ${other.answer?.body}, and op ${first.op} of the same key ${first.answer?.body}`,
          );
      }
      continue;
    }
    const offsets = (attempt: Attempt) => attempt.answer?.stored.map((event) => event.offset).join(",");
    for (const other of others) {
      if (offsets(other) !== offsets(first))
        violations.push(
          `${nameOf(other)} was told offsets ${offsets(other)}, and op ${first.op} of the same ids ${offsets(first)}`,
        );
    }
    const fresh = acknowledged.filter((attempt) => attempt.answer?.stored.some((event) => !event.duplicate));
    if (fresh.length > 1)
      violations.push(`${nameOf(fresh[1] as Attempt)} and op ${fresh[0]?.op} were both told that they stored it`);
  }
  return violations;
}
