// What handlers return.
import type { TSchema } from "@sinclair/typebox";
import type { Violation } from "../../base/errors.ts";
import { checkerOf, inWords } from "../handlers/checker.ts";

/** A handler returned what its schema refuses: a defect of the module. */
export class ResultRefused extends Error {
  readonly violations: readonly Violation[];

  constructor(violations: readonly Violation[]) {
    super(`it returned what the schema of its result refuses: ${inWords(violations)}`);
    this.name = "ResultRefused";
    this.violations = violations;
  }
}

/** The result as it is answered; null for a command that has none. Throws `ResultRefused`. */
export function resultOf(schema: TSchema | null, returned: unknown): unknown {
  if (schema === null) return null;
  const violations = checkerOf(schema)(returned);
  if (violations !== null) throw new ResultRefused(violations);
  return returned;
}
