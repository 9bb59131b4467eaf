// Attempts to mark events as processed, each with what became of it.
import type { Entry } from "../history.ts";
import { declining } from "./attempts.ts";

/** One attempt to mark an event. */
export type Mark = {
  op: number;
  subscription: string;
  consumer: string;
  position: number;
  token: string;
  invokedAt: number;
  answeredAt: number;
  /** Unknown: it may have been carried out. */
  outcome: "marked" | "repeated" | "already" | "stale" | "unknown";
};

/** What was declined has done nothing, and is left out. */
export function marksOf(history: readonly Entry[]): Mark[] {
  const answers = new Map(
    history.flatMap((entry) => (entry.kind === "marking-answered" ? [[entry.op, entry] as const] : [])),
  );
  return history.flatMap((entry) => {
    if (entry.kind !== "marking") return [];
    const answer = answers.get(entry.op);
    if (answer !== undefined && answer.status !== null && declining.has(answer.reason ?? "")) return [];
    const outcome = outcomeOf(answer?.status ?? null, answer?.reason ?? null);
    const { op, at, subscription, consumer, position, token } = entry;
    const answeredAt = answer?.at ?? Number.POSITIVE_INFINITY;
    return [{ op, subscription, consumer, position, token, invokedAt: at, answeredAt, outcome }];
  });
}

function outcomeOf(status: number | null, reason: string | null): Mark["outcome"] {
  if (status === 201) return "marked";
  if (status === 200) return "repeated";
  if (status === 409) return reason === "already-processed" ? "already" : "stale";
  return "unknown";
}

/** Its event is marked, by the word of the answer. */
export const isMarked = ({ outcome }: Mark) => outcome === "marked" || outcome === "repeated";
/** It marked the event, or may have. */
export const mayMark = (mark: Mark) => isMarked(mark) || mark.outcome === "unknown";
