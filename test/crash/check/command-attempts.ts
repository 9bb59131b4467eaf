// The attempts to run commands, each with its answer, and by request; and the events by the request that they are of.
import type { Entry } from "../history.ts";
import type { CommandAnswered, CommandInvoked } from "../process-history.ts";
import type { ProcessEvent } from "../process-snapshot.ts";

/** The answer is null where the run ended before it. */
export type CommandAttempt = CommandInvoked & { answer: CommandAnswered | null };

/** By mark: all attempts of a request. */
export function commandRequests(history: readonly Entry[]): Map<string, CommandAttempt[]> {
  const answers = new Map<number, CommandAnswered>();
  for (const entry of history) if (entry.kind === "command-answered") answers.set(entry.op, entry);
  const attempts = history.flatMap((entry): CommandAttempt[] =>
    entry.kind === "command-invoked" ? [{ ...entry, answer: answers.get(entry.op) ?? null }] : [],
  );
  return Map.groupBy(attempts, ({ mark }) => mark);
}

export const isAcknowledged = ({ answer }: CommandAttempt) => answer?.outcome === "acknowledged";

/** The events of requests: those whose data bear a mark and say which of how many they are, in the order of the log. */
export function eventsByMark(events: readonly ProcessEvent[]): Map<string, ProcessEvent[]> {
  return Map.groupBy(
    events.filter(({ data }) => typeof data.of === "number"),
    ({ data }) => String(data.mark),
  );
}
