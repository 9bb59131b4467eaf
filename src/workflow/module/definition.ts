// What all definitions of modules have: names and durations that are checked where they are written.
import { parseDuration } from "../../base/duration.ts";

const namePattern = /^[a-z][a-z0-9-]{0,62}$/;

/** Throws a plain sentence where a name is none: lower-case letters, digits and hyphens. */
export function requireName(what: string, name: string): string {
  if (!namePattern.test(name))
    throw new Error(
      `a ${what} is named by 1 to 63 lower-case letters, digits and hyphens, not ${JSON.stringify(name)}`,
    );
  return name;
}

/** A duration in milliseconds. Throws a plain sentence. */
export function requireDuration(what: string, text: string, minMs: number, maxMs: number): number {
  const ms = parseDuration(text);
  if (ms === null || ms < minMs || ms > maxMs)
    throw new Error(`${what} must be a duration such as 500ms, 30s or 5m, from ${minMs}ms to ${maxMs}ms, not ${text}`);
  return ms;
}
