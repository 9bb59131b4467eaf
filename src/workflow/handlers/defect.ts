// What code of modules must not do.
import type { Violation } from "../../base/errors.ts";

/** Code of a module did what it must not do: trying again comes to the same. The message is a plain sentence that begins with "it". */
export class Defect extends Error {
  /** Where a schema is violated, if one is. */
  readonly violations: readonly Violation[];

  constructor(message: string, violations: readonly Violation[] = []) {
    super(message);
    this.name = "Defect";
    this.violations = violations;
  }
}
