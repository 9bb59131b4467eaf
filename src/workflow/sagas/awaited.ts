// What a wait waits for: the type of an event, and by which of its attributes it is found.
import type { Matching, SagaStep } from "./saga.ts";

type Wait = Extract<SagaStep, { kind: "wait" }>;

export type Match = { by: Matching; key: string };

export type Awaited = {
  type: string;
  /** Null: by the saga's correlation id. */
  match: Match | null;
};

// As much as the longest of those attributes may have, and nothing that separates texts on their way.
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
const keyPattern = /^[^\u0000-\u001f]{1,1024}$/;

/** What a wait waits for, by the saga's data. Throws a sentence where the code of the module names no key. */
export function awaitedOf({ event, match }: Wait, data: unknown): Awaited {
  if (match === null) return { type: event.name, match: null };
  const key = match.key(data);
  if (typeof key !== "string" || !keyPattern.test(key))
    throw new Error(`it waits for the ${match.by} ${JSON.stringify(key)}, which is none`);
  return { type: event.name, match: { by: match.by, key } };
}

/** Of waits that have the same, each takes the next event. */
export function awaitedKey({ type, match }: Awaited): string {
  return match === null ? type : JSON.stringify([type, match.by, match.key]);
}

const separator = "\u001d";

/** As saga_record takes it. */
export function awaitedText({ type, match }: Awaited): string {
  return match === null ? type : [type, match.by, match.key].join(separator);
}
