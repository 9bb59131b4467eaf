// Checks values against the schemas of modules.
import type { TSchema } from "@sinclair/typebox";
import type { Violation } from "../../base/errors.ts";
import type { JsonSchema } from "../../stream/schema/json-schema/keywords.ts";
import { compileSchema, violationsOf } from "../../stream/schema/sandbox/json-schemas.ts";

/** What of a value violates a schema; null when nothing does. */
export type Checker = (value: unknown) => Violation[] | null;

const checkers = new WeakMap<TSchema, Checker>();

/** The checker of a schema, which is compiled once. Throws where it cannot be. */
export function checkerOf(schema: TSchema): Checker {
  let checker = checkers.get(schema);
  if (checker === undefined) {
    // As the registry has it: JSON Schema of draft 2020-12, without what only TypeBox knows.
    const validate = compileSchema(JSON.parse(JSON.stringify(schema)) as JsonSchema);
    checker = (value) => (validate(value) ? null : violationsOf(validate.errors));
    checkers.set(schema, checker);
  }
  return checker;
}
