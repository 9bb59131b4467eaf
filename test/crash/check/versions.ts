// Invariant 4: appends are linearizable per stream: the log's order agrees with real time and with every version told.
import type { Entry } from "../history.ts";
import type { LoggedEvent } from "../log-snapshot.ts";
import { attemptsOf, nameOf } from "./attempts.ts";
import { type LifeOf, onlyLife } from "./lives.ts";
import { type Operation, operationsOf } from "./operations.ts";

/** An append that was acknowledged before another was invoked stands before it in the log. */
export function logAgreesWithRealTime(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  lifeOf: LifeOf = onlyLife,
): string[] {
  const violations: string[] = [];
  // From the end: the earliest acknowledgement of what stands behind.
  let earliest: Operation | null = null;
  for (const operation of operationsOf(history, log, lifeOf).reverse()) {
    if (earliest !== null && earliest.acknowledgedAt < operation.invokedAt)
      violations.push(
        `${nameOf(earliest.attempt)} was acknowledged before ${nameOf(operation.attempt)} was invoked, and stands behind it: ${earliest.first.position} > ${operation.first.position}`,
      );
    if (earliest === null || operation.acknowledgedAt < earliest.acknowledgedAt) earliest = operation;
  }
  return violations;
}

/** What was appended at an expected version v, by whatever outcome, is the event at offset v + 1. */
export function versionsWereMet(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  lifeOf: LifeOf = onlyLife,
): string[] {
  return operationsOf(history, log, lifeOf)
    .filter(({ attempt, first }) => attempt.expected !== null && first.offset !== attempt.expected + 1)
    .map(
      ({ attempt, first }) =>
        `${nameOf(attempt)} expected version ${attempt.expected} and was stored at offset ${first.offset}`,
    );
}

/** The version that a 412 tells is not the expected one, not older than what was known before it was asked for, and not newer than what can have happened by its answer. */
export function refusalsToldTheTruth(
  history: readonly Entry[],
  log: readonly LoggedEvent[],
  lifeOf: LifeOf = onlyLife,
): string[] {
  const violations: string[] = [];
  const operations = Map.groupBy(operationsOf(history, log, lifeOf), (operation) => operation.first.stream);
  for (const attempt of attemptsOf(history)) {
    const actual = attempt.answer?.actual ?? null;
    if (attempt.answer?.status !== 412 || actual === null) continue;
    const ofStream = operations.get(attempt.stream) ?? [];
    if (actual === attempt.expected)
      violations.push(`${nameOf(attempt)} expected ${actual}, was refused, and told ${actual}`);
    const known = ofStream.findLast((operation) => operation.acknowledgedAt < attempt.invokedAt);
    if (known !== undefined && known.last.offset > actual)
      violations.push(
        `${nameOf(attempt)} was told version ${actual} after offset ${known.last.offset} had been acknowledged`,
      );
    if (actual === -1) continue;
    const told = ofStream.find((operation) => operation.last.offset === actual);
    if (told === undefined) violations.push(`${nameOf(attempt)} was told version ${actual}, where no request ends`);
    else if (told.invokedAt > attempt.answeredAt)
      violations.push(
        `${nameOf(attempt)} was told version ${actual} before ${nameOf(told.attempt)}, which made it, was invoked`,
      );
  }
  return violations;
}
