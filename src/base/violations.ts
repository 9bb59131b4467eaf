// Says where a value is not what it must be.
import type { Violation } from "./errors.ts";

/** Violations in one line. */
export function inWords(violations: readonly Violation[]): string {
  return violations
    .slice(0, 5)
    .map(({ path, message }) => `${path || "/"} ${message}`)
    .join("; ");
}
