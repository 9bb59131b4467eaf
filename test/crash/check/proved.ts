// A run in which something never happened has proved nothing about it.
import type { Entry } from "../history.ts";
import type { ProcessSnapshot } from "../process-snapshot.ts";
import { commandRequests, isAcknowledged } from "./command-attempts.ts";

export function somethingWasProved(history: readonly Entry[], { sagas, models, events }: ProcessSnapshot): string[] {
  const happened = (kind: Entry["kind"], test: (entry: never) => boolean = () => true) =>
    history.some((entry) => entry.kind === kind && test(entry as never));
  const requests = [...commandRequests(history).values()];
  const ended = (state: string) => sagas.some((saga) => saga.state === state);
  const written = (outcome: string) =>
    happened("outbox-written", (entry: { outcome: string }) => entry.outcome === outcome);
  const facts: Record<string, boolean> = {
    "a fault": happened("fault", ({ what }: { what: string }) => !what.startsWith("skew-clock")),
    "an outcome that was unknown": happened(
      "command-answered",
      (answer: { outcome: string }) => answer.outcome === "unknown",
    ),
    "a command with events in several streams": requests.some((attempts) =>
      attempts.some(({ answer }) => new Set(answer?.events.map(({ stream }) => stream)).size > 1),
    ),
    "a command that was acknowledged twice": requests.some((attempts) => attempts.filter(isAcknowledged).length > 1),
    "a command that its handler refused": requests.some((attempts) => attempts.some(({ isRefused }) => isRefused)),
    "a command that a state refused": requests.some((attempts) =>
      attempts.some(({ answer }) => answer?.balance != null),
    ),
    "a saga that was Completed": ended("Completed"),
    "a saga that was Compensated": ended("Compensated"),
    "a saga that has Failed": ended("Failed"),
    "a step that was tried again": events.some(
      ({ type, data }) => type === "sluice.saga-step-failed" && data.until !== undefined,
    ),
    "a saga of several compensations": sagas.some(({ compensatedSteps }) => compensatedSteps.length > 1),
    "a transaction that was committed": written("committed"),
    "a transaction that was rolled back": written("rolled-back"),
    "a read of every projection while it was behind": models.every(({ projection, position }) =>
      happened(
        "model-read",
        (read: { projection: string; position: number }) => read.projection === projection && read.position < position,
      ),
    ),
  };
  return Object.entries(facts).flatMap(([what, isSo]) => (isSo ? [] : [`the run has not seen ${what}`]));
}
