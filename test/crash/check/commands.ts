// Commands with a key: their events are there once, all or none; refused ones are invisible; one key has one answer.
import type { Entry } from "../history.ts";
import type { ProcessEvent, ProcessSnapshot } from "../process-snapshot.ts";
import { commandRequests, eventsByMark, isAcknowledged } from "./command-attempts.ts";

/** Acknowledged: all events are there once. Refused at every attempt: none is. Else all of them or none. */
export function commandsAreWhole(history: readonly Entry[], { events }: ProcessSnapshot): string[] {
  const marks = eventsByMark(events);
  const violations: string[] = [];
  for (const [mark, attempts] of commandRequests(history)) {
    const found = marks.get(mark) ?? [];
    const of = attempts[0]?.of as number;
    const isDone = attempts.some(isAcknowledged);
    const isRefused = attempts.every(({ answer, isRefused: always }) => always || answer?.outcome === "refused");
    if (isDone && attempts[0]?.isRefused) violations.push(`${mark} was to be refused, and was acknowledged`);
    if (found.length > 0 && isRefused) violations.push(`${mark} was refused, and ${placesOf(found)} is there`);
    else if (isDone && found.length === 0 && of > 0) violations.push(`${mark} was acknowledged, and is missing`);
    if (found.length > 0) violations.push(...partsOf(mark, found, of));
  }
  return violations;
}

function partsOf(mark: string, found: readonly ProcessEvent[], of: number): string[] {
  const violations: string[] = [];
  for (let n = 0; n < of; n++) {
    const times = found.filter(({ data }) => data.n === n).length;
    if (times !== 1) violations.push(`${mark} has its event ${n} of ${of} ${times} times: ${placesOf(found)}`);
  }
  if (found.length > of) violations.push(`${mark} has ${found.length} of ${of} events: ${placesOf(found)}`);
  if (new Set(found.map(({ data }) => data.nonce)).size > 1)
    violations.push(`${mark} has events of several calls of its handler: ${placesOf(found)}`);
  for (const [stream, own] of Map.groupBy(found, (event) => event.stream))
    for (let i = 1; i < own.length; i++)
      if ((own[i]?.data.n as number) < (own[i - 1]?.data.n as number))
        violations.push(`${mark} has its events in ${stream} out of order: ${placesOf(own)}`);
  return violations;
}

const placesOf = (events: readonly ProcessEvent[]) =>
  events.map(({ stream, offset, data }) => `${stream} ${offset} (${data.n})`).join(", ");

/** Each answer names the events as they stand in the log, in the order in which they were emitted. */
export function answersTellTheLog(history: readonly Entry[], { events }: ProcessSnapshot): string[] {
  const marks = eventsByMark(events);
  const violations: string[] = [];
  for (const [mark, attempts] of commandRequests(history)) {
    const found = [...(marks.get(mark) ?? [])].sort((a, b) => Number(a.data.n) - Number(b.data.n));
    const stored = found.map(({ stream, offset, id }) => `${stream} ${offset} ${id}`).join(", ");
    for (const { answer } of attempts.filter(isAcknowledged)) {
      if (answer === null) continue;
      const told = answer.events.map(({ stream, offset, id }) => `${stream} ${offset} ${id}`).join(", ");
      if (told !== stored) violations.push(`${mark} was told ${told || "no event"}, and is ${stored || "not there"}`);
      const nonce = found[0]?.data.nonce;
      if (nonce !== undefined && nonce !== answer.nonce)
        violations.push(`${mark} was told the result of another call than the one whose events are stored`);
    }
  }
  return violations;
}

/** The same key always had the same answer; once it was acknowledged, no later attempt is refused. */
export function answersAgree(history: readonly Entry[]): string[] {
  const violations: string[] = [];
  for (const [mark, attempts] of commandRequests(history)) {
    const done = attempts.filter(isAcknowledged);
    const answers = new Set(done.map(({ answer }) => answer?.answer));
    if (answers.size > 1)
      violations.push(`${mark} was answered in ${answers.size} ways: ${[...answers].join(" and ")}`);
    const first = Math.min(...done.map(({ answer }) => answer?.at as number));
    const late = attempts.find(({ at, answer }) => at > first && answer?.outcome === "refused");
    if (late !== undefined)
      violations.push(`${mark} was acknowledged at ${first} ms, and refused when it was asked at ${late.at} ms`);
  }
  return violations;
}

/** Every event of a request was asked for, by a client or by a saga. */
export function nobodyElseWrote(history: readonly Entry[], { events, sagas }: ProcessSnapshot): string[] {
  const asked = commandRequests(history);
  const known = new Set(sagas.map(({ sagaId }) => sagaId));
  return [...eventsByMark(events)].flatMap(([mark, found]) => {
    const [, sagaId] = /^saga (\S+) /.exec(mark) ?? [];
    if (sagaId === undefined ? asked.has(mark) : known.has(sagaId) && found.length === 1) return [];
    return [`nobody asked for ${mark}: ${placesOf(found)}`];
  });
}
